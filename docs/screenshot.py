"""Take the README's picture of a report: ``python docs/screenshot.py build/demo/report.html docs/report.png``."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright


def main(page_file: str, picture: str) -> None:
    """Render the top of the HTML report in the system's Chromium and write a PNG."""
    with sync_playwright() as library:
        browser = library.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 1290}, device_scale_factor=1)
        page.goto(Path(page_file).resolve().as_uri())
        page.wait_for_selector("svg")
        page.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
