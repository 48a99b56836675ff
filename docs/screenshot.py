"""Take the pictures of reports: ``python docs/screenshot.py build/demo/report.html docs/images/report.png``.

``--from TEXT`` begins the picture at the heading with this text; ``--height`` is the picture's height in pixels. A PNG
instead of a page, as ``edgewright run --save-images`` draws it, is enlarged three times.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTH = 1100
COLORS = 128
"""Of the PNG's palette: a page of text and plots needs no more, and the file is a third as large."""


def main() -> None:
    """Render a part of an HTML report in the system's Chromium and write a PNG."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--from", dest="heading", default="", help="heading to begin at")
    parser.add_argument("--height", type=int, default=1290)
    asked = parser.parse_args()
    if asked.page.suffix == ".png":
        enlarge(asked.page, asked.picture)
        return
    with sync_playwright() as library:
        browser = library.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": asked.height}, device_scale_factor=1)
        page.goto(asked.page.resolve().as_uri())
        page.wait_for_selector("svg")
        top = 0.0
        if asked.heading:
            box = page.locator("h2, h3").filter(has_text=asked.heading).first.bounding_box()
            top = box["y"] - 10 if box else 0.0
        clip = {"x": 0, "y": top, "width": WIDTH, "height": asked.height}
        page.screenshot(path=asked.picture, full_page=True, clip=clip)
        browser.close()
    smaller(asked.picture)


def enlarge(drawn: Path, picture: Path) -> None:
    """Store a small image three times as wide and high, pixel by pixel."""
    from PIL import Image

    with Image.open(drawn) as image:
        image.resize((3 * image.width, 3 * image.height), Image.Resampling.NEAREST).save(picture, optimize=True)


def smaller(picture: Path) -> None:
    """Store the PNG with a palette."""
    from PIL import Image

    with Image.open(picture) as image:
        image.convert("RGB").quantize(COLORS).save(picture, optimize=True)


if __name__ == "__main__":
    main()
