"""The `edgewright` command: finds the verb, and turns errors into what, why and what to do, with an exit code."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from edgewright.cli import streams
from edgewright.core import errors


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with the documented exit code."""
    streams.prepare()
    arguments = sys.argv[1:] if arguments is None else arguments
    sys.exit(run_command(arguments))


def run_command(arguments: list[str]) -> int:
    """Run one command line; returns its exit code and prints errors to standard error."""
    debug = "--debug" in arguments
    arguments = [word for word in arguments if word != "--debug"]
    warnings.filterwarnings(
        "ignore", category=UserWarning, module=r"PIL\."
    )  # about users' images: findings report them
    try:
        code = _run_verb(arguments)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except KeyboardInterrupt:
        return errors.INTERRUPTED
    except SystemExit as end:
        if not isinstance(end.__context__, BrokenPipeError):
            raise
        return _explain(end.__context__, debug)  # typer would exit with 1; standard output's never gets here
    except Exception as error:
        return _explain(error, debug)


def _run_verb(arguments: list[str]) -> object:
    verb, *words = arguments or [""]
    if verb == "run" and len(words) > 1 and not any(word.startswith("-") for word in words):
        # On a device this runs for each image. Without options no parser is needed, which is a third of the start-up.
        from edgewright.cli.answer import answer, opened

        answer(opened(Path(words[0])), [Path(word) for word in words[1:]])
        return 0
    import typer

    from edgewright.cli.application import VERBS, application

    asked = next((word for word in arguments if not word.startswith("-")), "")
    app = application((asked,) if asked in VERBS else VERBS)
    return typer.main.get_command(app).main(arguments, prog_name="edgewright", standalone_mode=False)


def _explain(error: Exception, debug: bool) -> int:
    from edgewright.cli.console import Screen, print_error, print_traceback

    known = errors.from_exception(error)
    if known is not None:
        if debug:
            print_traceback(error)
        print_error(known)
        return known.exit_code
    kind = type(error).__name__
    if kind == "Abort":
        return errors.INTERRUPTED
    if kind == "Exit":
        return int(getattr(error, "exit_code", 0))
    show = getattr(error, "format_message", None)
    if show is not None:  # click's usage errors, whichever click typer carries
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "edgewright"
        if what := show():  # empty without a verb: then the help was printed
            print_error(errors.UsageError(what, "", f"See: {path} --help"))
        return errors.UsageError.exit_code
    print_traceback(error)
    Screen(stderr=True).print_line("This is a bug in edgewright. Please report it with the lines above.")
    return errors.BUG
