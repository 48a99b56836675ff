"""The `edgewright` command: registers the verbs and turns errors into one line of what, why, what to do, and a code."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated

import typer

from edgewright.cli import (
    audit,
    bench,
    bundle,
    cache,
    compile,
    demo,
    distill,
    doctor,
    export,
    gate,
    optimize,
    prune,
    quantize,
    report,
    run,
    sensitivity,
    streams,
    targets,
)
from edgewright.cli.console import Screen, output, print_error, print_traceback
from edgewright.core import errors

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
MAIN, STEPS, DEVICE, TOOLS = "The main job", "One step at a time", "On a device", "Around it"
app.command(rich_help_panel=MAIN)(demo.demo)
app.command(rich_help_panel=MAIN)(optimize.optimize)
app.command(rich_help_panel=STEPS)(export.export)
app.command(rich_help_panel=STEPS)(quantize.quantize)
app.command(rich_help_panel=STEPS)(prune.prune)
app.command(rich_help_panel=STEPS)(distill.distill)
app.command(rich_help_panel=STEPS)(sensitivity.sensitivity)
app.command(rich_help_panel=STEPS)(compile.compile)
app.command(rich_help_panel=STEPS)(audit.audit)
app.command(rich_help_panel=STEPS)(bench.bench)
app.command(rich_help_panel=STEPS)(report.report)
app.command(rich_help_panel=STEPS)(gate.gate)
app.command(rich_help_panel=DEVICE)(run.run)
app.command(rich_help_panel=DEVICE)(doctor.doctor)
app.add_typer(targets.app, name="targets", rich_help_panel=TOOLS)
app.add_typer(bundle.app, name="bundle", rich_help_panel=TOOLS)
app.add_typer(cache.app, name="cache", rich_help_panel=TOOLS)


def _print_version(wanted: bool) -> None:
    if wanted:
        from edgewright import __version__

        output().print_line(f"edgewright {__version__}")
        raise typer.Exit


@app.callback()
def common(
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


def _explain(error: Exception, debug: bool) -> int:
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
