"""The `edgewright` command, assembled from one module per verb."""

from __future__ import annotations

import functools
import importlib
from typing import Annotated

import typer

from edgewright.cli.help_page import Command, Group

MAIN, STEPS, DEVICE, TOOLS = "The whole job", "One step at a time", "On a device", "Devices, bundles and the store"
PANELS = {
    MAIN: ("demo", "optimize"),
    STEPS: ("export", "quantize", "prune", "distill", "sensitivity", "compile", "audit", "bench", "report", "gate"),
    DEVICE: ("run", "doctor"),
    TOOLS: ("targets", "bundle", "history", "cache"),
}
"""The verbs by panel, in the order of the help; each is a module here. Those of `TOOLS` have commands of their own."""
VERBS = tuple(verb for verbs in PANELS.values() for verb in verbs)


@functools.cache
def application(verbs: tuple[str, ...] = VERBS) -> typer.Typer:
    """The command with these verbs. A command line imports only its own verb, because importing all takes longer."""
    app = typer.Typer(
        name="edgewright",
        cls=Group,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Turn a trained vision model into the fastest bundle for a device, within an accuracy budget. Every "
        "result is measured.",
        epilog="Exit codes: 0 done, 1 gate failed, 2 usage, 3 invalid input, 4 integrity or signature, 5 runtime or "
        "device missing, 6 runtime failed, 7 timed out, 8 out of memory or disk, 9 not compared, 70 bug in edgewright, "
        "130 interrupted.",
    )
    app.callback()(_common)
    for panel, all_of_it in PANELS.items():
        for verb in all_of_it:
            if verb in verbs:
                module = importlib.import_module(f"edgewright.cli.{verb}")
                if panel == TOOLS:
                    app.add_typer(module.app, name=verb, rich_help_panel=panel)
                else:
                    app.command(cls=Command, rich_help_panel=panel)(getattr(module, verb))
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from edgewright import __version__
        from edgewright.cli import console

        console.output().print_line(f"edgewright {__version__}")
        raise typer.Exit


def _common(
    debug: Annotated[bool, typer.Option("--debug", help="Print the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Take the options of every command."""
