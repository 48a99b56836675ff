"""How our processes start: without the working directory among the folders that modules are imported from.

A file called ``onnx.py`` beside a downloaded model must not be imported in place of the library. Python's own switch
for this (``-P``) came with 3.11; `child` runs this file as a script instead, which holds on 3.10 too.
"""

import os
import sys


def import_path() -> list[str]:
    """The folders that ``PYTHONPATH`` names, made absolute; the working directory only where it is named in full.

    An empty entry, as in ``PYTHONPATH=:lib``, and ``.`` mean the working directory to Python.
    """
    entries = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return [os.path.abspath(e) for e in entries if os.path.isabs(e) or os.path.abspath(e) != _here()]  # noqa: PTH100, PTH117


def leave_working_directory() -> None:
    """Take the working directory off ``sys.path``, where nobody asked for it by its full path in ``PYTHONPATH``.

    ``python -m`` and ``-c`` put it there, and so does an empty entry in ``PYTHONPATH``. What stands behind the standard
    library comes from installed packages and stays.
    """
    here, named = _here(), import_path()
    standard = os.path.dirname(os.__file__)  # noqa: PTH120
    front = sys.path.index(standard) if standard in sys.path else len(sys.path)
    sys.path[:front] = [p for p in sys.path[:front] if p and (p in named or os.path.abspath(p) != here)]  # noqa: PTH100


def _here() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - pathlib is not imported yet
    except OSError:  # it was removed
        return ""


if __name__ == "__main__":
    own = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != own]  # noqa: PTH100
    leave_working_directory()
    root = os.path.dirname(os.path.dirname(own))  # noqa: PTH120
    if root not in sys.path:  # edgewright itself, where it was found through the working directory
        sys.path.append(root)
    if sys.argv[1] == "fork":
        from edgewright.core.fork_server import main

        main()
    from edgewright.core.serve import serve

    serve()
