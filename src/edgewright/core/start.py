"""How our processes start: Python must not import modules from the working directory.

A file ``onnx.py`` next to a downloaded model must not replace the library. Python's own switch for this (``-P``) exists
from 3.11 on; `child` runs this file as a script instead, which works on 3.10, too.
"""

import os
import sys


def import_path() -> list[str]:
    """The folders in ``PYTHONPATH`` as absolute paths; the working directory only if its full path is there.

    For Python, an empty entry, as in ``PYTHONPATH=:lib``, and ``.`` mean the working directory.
    """
    entries = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return [os.path.abspath(e) for e in entries if os.path.isabs(e) or os.path.abspath(e) != _here()]  # noqa: PTH100, PTH117


def leave_working_directory() -> None:
    """Remove the working directory from ``sys.path``, unless ``PYTHONPATH`` has its full path.

    ``python -m``, ``-c`` and an empty entry in ``PYTHONPATH`` put it there. Entries after the standard library belong
    to installed packages and stay.
    """
    here, named = _here(), import_path()
    standard = os.path.dirname(os.__file__)  # noqa: PTH120
    front = sys.path.index(standard) if standard in sys.path else len(sys.path)
    sys.path[:front] = [p for p in sys.path[:front] if p and (p in named or os.path.abspath(p) != here)]  # noqa: PTH100


def _here() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - pathlib is not imported yet
    except OSError:  # the working directory was removed
        return ""


if __name__ == "__main__":
    own = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != own]  # noqa: PTH100
    leave_working_directory()
    root = os.path.dirname(os.path.dirname(own))  # noqa: PTH120
    if root not in sys.path:  # edgewright was found through the working directory
        sys.path.append(root)
    if sys.argv[1] == "fork":
        from edgewright.core.fork_server import main

        main()
    from edgewright.core.serve import serve

    serve()
