"""The `edgewright` command: registers the verbs and turns errors into one line of what, why, what to do, and a code."""

from __future__ import annotations

import functools
import importlib
import sys
import warnings
from typing import Annotated

import typer

from edgewright.cli import streams
from edgewright.core import errors

MAIN, STEPS, DEVICE, TOOLS = "The main job", "One step at a time", "On a device", "Around it"
PANELS = {
    MAIN: ("demo", "optimize"),
    STEPS: ("export", "quantize", "prune", "distill", "sensitivity", "compile", "audit", "bench", "report", "gate"),
    DEVICE: ("run", "doctor"),
    TOOLS: ("targets", "bundle", "cache"),
}
"""The verbs in the order of the help; each is a module here. Those of `TOOLS` have verbs of their own."""
VERBS = tuple(verb for verbs in PANELS.values() for verb in verbs)


@functools.cache
def application(verbs: tuple[str, ...] = VERBS) -> typer.Typer:
    """The command with these verbs. A command line asks for its own alone: to import and to read all takes longer."""
    app = typer.Typer(
        name="edgewright",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
        help="From a trained vision model to the fastest bundle for a device that stays inside an accuracy budget, "
        "with the evidence.",
        epilog="Exit codes: 0 done · 1 a gate failed · 2 usage · 3 invalid input · 4 integrity · 5 runtime or device "
        "missing · 6 a runtime failed · 7 timed out · 8 out of memory or disk · 9 not compared · 70 a bug of ours · "
        "130 interrupted",
    )
    app.callback()(_common)
    for panel, all_of_it in PANELS.items():
        for verb in all_of_it:
            if verb in verbs:
                module = importlib.import_module(f"edgewright.cli.{verb}")
                if panel == TOOLS:
                    app.add_typer(module.app, name=verb, rich_help_panel=panel)
                else:
                    app.command(rich_help_panel=panel)(getattr(module, verb))
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from edgewright import __version__
        from edgewright.cli import console

        console.output().print_line(f"edgewright {__version__}")
        raise typer.Exit


def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of every error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options that stand before the verb."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with the documented exit code."""
    streams.prepare()
    arguments = sys.argv[1:] if arguments is None else arguments
    sys.exit(run_command(arguments))


def run_command(arguments: list[str]) -> int:
    """Run one command line; returns its exit code and prints errors to standard error."""
    debug = "--debug" in arguments
    arguments = [word for word in arguments if word != "--debug"]
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # of users' images: we have findings
    try:
        app = application(_asked_for(arguments))
        code = typer.main.get_command(app).main(arguments, prog_name="edgewright", standalone_mode=False)
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


def _asked_for(arguments: list[str]) -> tuple[str, ...]:
    """The verb of a command line; all of them where it has none, or one that does not exist."""
    word = next((word for word in arguments if not word.startswith("-")), "")
    return (word,) if word in VERBS else VERBS


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
        print_error(errors.UsageError(show(), "", f"See: {path} --help"))
        return errors.UsageError.exit_code
    print_traceback(error)
    Screen(stderr=True).print_line("This is a bug of edgewright; please report it with the lines above.")
    return errors.BUG
