"""The built-in descriptions: one TOML file a device, each a `edgewright.targets.target.Target`."""

from __future__ import annotations

import importlib.resources

from edgewright.targets.target import Target, parse


def names() -> tuple[str, ...]:
    """The names of the built-in descriptions, sorted."""
    folder = importlib.resources.files(__package__)
    return tuple(sorted(entry.name[: -len(".toml")] for entry in folder.iterdir() if entry.name.endswith(".toml")))


def read(name: str) -> Target:
    """The built-in description of this name, which must be one of `names`."""
    source = importlib.resources.files(__package__).joinpath(f"{name}.toml")
    return parse(source.read_text(encoding="utf-8"), f"target {name}")


def every() -> tuple[Target, ...]:
    """Every built-in description."""
    return tuple(read(name) for name in names())
