"""Run command lines one after another in one process, as `edgewright` starts it; their exit codes go into a file.

Its arguments: the file for the exit codes, a JSON list of command lines, and "nobody" for a user whom the system does
not know.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path


def main() -> None:
    out, commands, who = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3]
    if who == "nobody":
        import pwd

        def unknown(uid: int) -> None:
            raise KeyError(f"getpwuid(): uid not found: {uid}")

        pwd.getpwuid = unknown  # type: ignore[assignment]
    from edgewright.cli import main as cli

    codes = []
    for words in commands:
        try:
            cli.main(words)
        except SystemExit as end:
            codes.append(end.code or 0)
    out.write_text(json.dumps(codes))
    os._exit(0)


if __name__ == "__main__":
    main()
