"""Measure what needs a GPU and write it down: ``make gpu``, which runs ``python tests/gpu/measure.py PAGE``.

Each part runs in a process of its own, within a time limit: one that fails, hangs or crashes says so in a line, and the
others go on. Ends with 5 where there is no CUDA device (nothing is written then), and with 6 where no part worked.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from gpu_models import CLASSIFIERS, RANDOM, Setting, why
from gpu_parts import PARTS, Table

from edgewright.cli.console import print_error
from edgewright.core import files
from edgewright.core.errors import RuntimeFailed, Unavailable
from edgewright.core.text import one_line

LIMIT_S = 570.0
"""All parts together: a machine with a GPU is lent for ten minutes."""


MARGIN = 0.8
"""The share of a part's time in which rows are begun."""


class Outcome(msgspec.Struct):
    """What came of a part: its table, or why there is none."""

    table: Table | None = None
    failed: str = ""


def main() -> int:
    """Run the command line; returns its exit code."""
    given = _arguments()
    zoo = Path(os.environ["EDGEWRIGHT_ZOO"]).absolute() if os.environ.get("EDGEWRIGHT_ZOO") else None
    if given.part:
        models, until = (*CLASSIFIERS, *RANDOM) if zoo else RANDOM, time.monotonic() + MARGIN * given.limit
        _run_part(given.part, Setting(zoo=zoo, work=given.work, models=models, until=until), given.result)
        return 0
    try:
        require_cuda()
    except Unavailable as error:
        print_error(error)
        return error.exit_code
    with tempfile.TemporaryDirectory(prefix="edgewright-gpu-") as work:
        outcomes = run_all(Path(work))
    files.write(given.page, page(machine(), outcomes, zoo))
    print(f"{given.page}: {sum(bool(o.table) for o in outcomes.values())} of {len(outcomes)} parts")
    return 0 if any(outcome.table for outcome in outcomes.values()) else RuntimeFailed.exit_code


def require_cuda() -> None:
    """Raise `Unavailable` where torch has no CUDA device."""
    import torch

    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        raise Unavailable(
            "There is no CUDA device: nothing was measured.",
            f"torch {torch.__version__} is {built} and finds no GPU with a driver.",
            "Run `make gpu` on a machine with an NVIDIA GPU; `nvidia-smi` must list it.",
        )


def run_all(work: Path) -> dict[str, Outcome]:
    """Every part in a process of its own."""
    begin, outcomes = time.monotonic(), {}
    for name, part in PARTS.items():
        left = min(part.limit_s, LIMIT_S - (time.monotonic() - begin))
        print(f"{time.monotonic() - begin:5.0f} s  {part.title}, {left:.0f} s at most", flush=True)
        outcomes[name] = run_one(name, work, left)
        if outcomes[name].failed:
            print(f"         {outcomes[name].failed}", flush=True)
    return outcomes


def run_one(name: str, work: Path, limit_s: float) -> Outcome:
    """One part in a process of its own, for so many seconds at most."""
    if limit_s < 1:
        return Outcome(failed="The time was up.")
    result, log = work / f"{name}.json", work / f"{name}.log"
    words = [sys.executable, __file__, "--part", name, "--work", str(work), "--result", str(result)]
    words += ["--limit", str(limit_s)]
    extra = os.environ.get("EDGEWRIGHT_GPU_PACKAGES") if name == "providers" else None
    env = {**os.environ, "EDGEWRIGHT_CACHE": str(work / "store")}
    if extra and Path(extra).is_dir():  # onnxruntime-gpu, which takes the place of onnxruntime
        env["PYTHONPATH"] = extra
    with log.open("wb") as out:
        try:
            done = subprocess.run(words, stdout=out, stderr=out, env=env, timeout=limit_s, check=False)
        except subprocess.TimeoutExpired:
            return Outcome(failed=f"It took longer than {limit_s:.0f} s and was ended.")
    if result.exists():
        return msgspec.json.decode(result.read_bytes(), type=Outcome)
    last = [line for line in log.read_text(errors="replace").splitlines() if line.strip()][-1:]
    return Outcome(failed=f"Its process ended with {done.returncode}: {one_line(' '.join(last))[:300]}")


def _run_part(name: str, setting: Setting, result: Path) -> None:
    try:
        outcome = Outcome(table=PARTS[name].run(setting))
    except Exception as error:
        outcome = Outcome(failed=why(error))
    files.write(result, msgspec.json.encode(outcome))


def machine() -> list[tuple[str, str]]:
    """What the figures are of."""
    import torch

    from edgewright.targets.detect import this_machine

    about = torch.cuda.get_device_properties(0)
    asked = ["nvidia-smi", "--query-gpu=driver_version,clocks.max.sm,power.limit", "--format=csv,noheader"]
    try:
        driver = subprocess.run(asked, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        driver = why(error)
    return [
        ("GPU", f"{about.name}, compute capability {about.major}.{about.minor}, {about.total_memory / 1e9:.0f} GB"),
        ("driver, largest clock, power limit", driver),
        ("CPU", f"{this_machine().model}, {os.cpu_count()} cores"),
        ("software", f"Python {platform.python_version()}, torch {torch.__version__}, CUDA {torch.version.cuda}, "
                     f"cuDNN {torch.backends.cudnn.version()}"),
        ("date", f"{dt.datetime.now(dt.timezone.utc):%Y-%m-%d %H:%M} UTC"),
        ("command", "make gpu"),
    ]  # fmt: skip


def page(about: list[tuple[str, str]], outcomes: dict[str, Outcome], zoo: Path | None) -> str:
    """The page in Markdown."""
    lines = ["# On a GPU", "", "Written by `make gpu`; nothing here is typed by hand.", ""]
    lines += _table(["", ""], [list(pair) for pair in about])
    if zoo is None:
        lines += ["Without `EDGEWRIGHT_ZOO`: weights and images are random, and there is no accuracy.", ""]
    for name, outcome in outcomes.items():
        lines += [f"## {PARTS[name].title}", ""]
        if outcome.table:
            lines += [outcome.table.note, "", *_table(outcome.table.head, outcome.table.rows)]
        else:
            lines += [f"Not run: {one_line(outcome.failed)}", ""]
    return "\n".join(lines)


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    cells = [[one_line(cell).replace("|", "\\|") for cell in row] for row in [head, ["---"] * len(head), *rows]]
    return [*(f"| {' | '.join(row)} |" for row in cells), ""]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", nargs="?", type=Path, default=Path("docs/benchmarks/gpu.md"))
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--limit", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
