"""The command line's verbs, put together."""

from __future__ import annotations

import functools
import importlib
from typing import Annotated

import typer

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
