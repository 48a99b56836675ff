"""Pictures of the terminal: ``python docs/terminal.py`` draws docs/images/terminal/*.svg from the recordings there.

``python docs/terminal.py record`` runs the commands of `SESSION` and stores their output with its colors, once for each
width, in docs/images/terminal/recordings.json. It takes some minutes: it trains, optimizes, prunes and distills the
demo's classifier. The pictures use no font or file from a network.
"""

from __future__ import annotations

import argparse
import html
import io
import json
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

FOLDER = Path(__file__).parent / "images" / "terminal"
RECORDINGS = FOLDER / "recordings.json"
PAGE = Path(__file__).parent / "reference" / "terminal.md"
MARK = "<!-- Pictures: `python docs/terminal.py` writes the rest of this page. -->"
WIDTHS = (80, 120)
PROGRAM = "edgewright"
SOURCE = '"timm:resnet10t?num_classes=10&pretrained=false" --checkpoint best.safetensors --spec best.toml'
SESSION = {
    "demo": f"{PROGRAM} demo",
    "optimize": f"{PROGRAM} optimize {SOURCE} --data photos/ --effort quick -o out/",
    "report": f"{PROGRAM} report out/",
    "gate": f'{PROGRAM} gate out/ --budget "top1 >= -1.0, p90 <= 0.01ms"',
    "export": f"{PROGRAM} export {SOURCE} --data photos/ -o model.onnx",
    "quantize": f"{PROGRAM} quantize model.onnx --calibration photos/train -o int8.onnx",
    "compile": f"{PROGRAM} compile int8.onnx --runtime openvino -o int8.edge",
    "audit": f"{PROGRAM} audit int8.onnx --data photos/ --reference model.onnx --runtime openvino",
    "bench": f"{PROGRAM} bench out/digits.edge int8.edge --data photos/ -o compared/",
    "run": f"{PROGRAM} run int8.edge photos/val/zero/0048.png photos/val/one/0021.png",
    "sensitivity": f"{PROGRAM} sensitivity model.onnx --data photos/ --method minmax",
    "prune": f"{PROGRAM} prune {SOURCE} --data photos/ --ratio 0.3 --epochs 2 -o slim",
    "distill": f'{PROGRAM} distill {SOURCE} --student "timm:resnet10t?num_classes=10&pretrained=false" '
    "--data photos/ --epochs 1 -o small",
    "doctor": f"{PROGRAM} doctor",
    "targets": f"{PROGRAM} targets show jetson-orin-nano",
    "bundle": f"{PROGRAM} bundle inspect int8.edge",
    "cache": f"{PROGRAM} cache prune",
    "help": f"{PROGRAM} --help",
    "error": f'{PROGRAM} gate out/ --budget "top1 => -1.0, latency <= 10ms"',
}
"""Name of the picture -> command. They run in this order in one folder, after ``edgewright demo --save-data .``."""

LIGHT = TerminalTheme(
    (255, 255, 255), (31, 35, 40),
    [(36, 41, 47), (179, 29, 40), (17, 99, 41), (121, 78, 0), (9, 80, 174), (102, 57, 186), (5, 95, 110),
     (87, 96, 106)],
    [(87, 96, 106), (164, 14, 38), (17, 99, 41), (121, 78, 0), (9, 80, 174), (102, 57, 186), (5, 95, 110),
     (31, 35, 40)],
)  # fmt: skip
DARK = TerminalTheme(
    (13, 17, 23), (230, 237, 243),
    [(72, 79, 88), (255, 123, 114), (63, 185, 80), (210, 153, 34), (88, 166, 255), (188, 140, 255), (57, 197, 207),
     (177, 186, 196)],
    [(110, 118, 129), (255, 161, 152), (86, 211, 100), (227, 179, 65), (121, 192, 255), (210, 168, 255), (86, 212, 221),
     (240, 246, 252)],
)  # fmt: skip
THEMES = {"light": LIGHT, "dark": DARK}
"""Text colors with a contrast of 4.5 and more to the background."""
FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<title>TITLE</title>
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace;
font-size: {char_height}px; line-height: {line_height}px; white-space: pre; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
<rect width="{width}" height="{height}" rx="8" fill="BACKGROUND" stroke="#8b949e" stroke-opacity="0.4" />
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def main() -> None:
    """Draw the pictures; with ``record`` run the commands first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="?", choices=["draw", "record"], default="draw")
    parser.add_argument("names", nargs="*", help="record only these commands of the session")
    asked = parser.parse_args()
    if asked.what == "record":
        record(asked.names or list(SESSION))
    for name, picture in pictures().items():
        (FOLDER / name).write_text(picture, encoding="utf-8")
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(text.partition(MARK)[0] + MARK + "\n\n" + shown(), encoding="utf-8")


def record(names: list[str]) -> None:
    """Run the session's commands `names` in a new folder and store what they print, with command, machine and date."""
    import datetime as dt

    FOLDER.mkdir(parents=True, exist_ok=True)
    stored = json.loads(RECORDINGS.read_text()) if RECORDINGS.exists() else {}
    folder = Path(os.environ.get("EDGEWRIGHT_TERMINAL_FOLDER") or tempfile.mkdtemp(prefix="edgewright-terminal-"))
    folder.mkdir(exist_ok=True)
    if not (folder / "photos").exists():
        _run(f"{PROGRAM} demo --save-data .", folder, WIDTHS[0])
    machine = f"{os.cpu_count()} cores, {platform.machine()}"
    for name in names:
        shown = {}
        for width in reversed(WIDTHS):
            run = _run(SESSION[name], folder, width)
            text = run.stdout + (run.stderr if name == "error" else "")
            shown[str(width)] = text.strip("\n").replace(f"{folder}/", "")
            sys.stderr.write(f"{name} {width}: exit code {run.returncode}, {len(shown[str(width)])} characters\n")
        about = {"command": SESSION[name], "date": dt.date.today().isoformat(), "machine": machine}
        stored[name] = {**about, "output": shown}
        RECORDINGS.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _run(command: str, folder: Path, width: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": str(width), "LINES": "50", "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    words = [sys.executable, "-m", *shlex.split(command)]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def pictures() -> dict[str, str]:
    """File name -> SVG of every recording, in each width and theme."""
    found = json.loads(RECORDINGS.read_text(encoding="utf-8"))
    return {
        f"{name}-{width}-{theme}.svg": draw(one["command"], output, int(width), theme)
        for name, one in found.items()
        for width, output in one["output"].items()
        for theme in THEMES
    }


def shown() -> str:
    """The part of the page with the pictures: each at both widths, light or dark as the reader's system is."""
    found = json.loads(RECORDINGS.read_text(encoding="utf-8"))
    parts = []
    for name in (name for name in SESSION if name in found):
        parts.append(f"### {name}")
        for width in WIDTHS:
            path = f"../images/terminal/{name}-{width}"
            alt = html.escape(f"{found[name]['command']} at {width} columns")
            parts.append(
                f'<picture><source media="(prefers-color-scheme: dark)" srcset="{path}-dark.svg">'
                f'<img src="{path}-light.svg" alt="{alt}"></picture>'
            )
    return "\n\n".join(parts) + "\n"


def draw(command: str, output: str, width: int, theme: str) -> str:
    """The SVG of a terminal with `width` columns in which `command` printed `output` (with ANSI colors)."""
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.assemble(("$ ", "bold green"), (command, "bold")), soft_wrap=False)
    console.print(Text.from_ansi(output), "")  # an empty line below, for the frame
    svg = console.export_svg(title=command, theme=THEMES[theme], code_format=FORMAT, unique_id=f"t{width}{theme[0]}")
    background = "#{:02x}{:02x}{:02x}".format(*THEMES[theme].background_color)
    return "\n".join(_smaller(svg.replace("BACKGROUND", background).replace("TITLE", html.escape(command)))) + "\n"


def _smaller(svg: str) -> Iterator[str]:
    """Its lines, with short numbers and without spaces at the ends."""
    for line in svg.splitlines():
        yield re.sub(r"(\d+\.\d{2})\d+", r"\1", line).rstrip()


if __name__ == "__main__":
    main()
