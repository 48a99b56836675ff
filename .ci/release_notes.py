"""Prints the notes of the version to release, from CHANGELOG.md; ends with 1 where the release is not ready.

    python .ci/release_notes.py [TAG]

With TAG (v1.2.3) the version must be the same, and CHANGELOG.md must have a section of it. Without TAG the unreleased
section is printed.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def version() -> str:
    """The one place that says it."""
    found = re.search(r'^__version__ = "(.+)"$', (ROOT / "src/edgewright/__init__.py").read_text(), re.MULTILINE)
    assert found
    return found.group(1)


def notes(changelog: str, heading: str) -> str:
    """The text below ``## heading``, up to the next one; empty where there is none."""
    found = re.search(rf"^## \[?{re.escape(heading)}(?![.\w]).*?$(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL)
    return found.group(1).strip() if found else ""


def main(arguments: list[str]) -> int:
    """Print the notes, or say on standard error what is missing."""
    tag = arguments[0] if arguments else ""
    if tag and tag != f"v{version()}":
        print(f"The tag is {tag}, the version is {version()}. Set __version__ or choose another tag.", file=sys.stderr)
        return 1
    heading = version() if tag else "Unreleased"
    text = notes((ROOT / "CHANGELOG.md").read_text(), heading)
    if not text:
        print(f'CHANGELOG.md says nothing under "## {heading}".', file=sys.stderr)
        return 1
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
