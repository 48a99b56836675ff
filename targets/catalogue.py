"""Find a target by name: this machine, a built-in description, or the user's TOML file. Suggest similar names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

from edgewright.core import files
from edgewright.core.errors import InvalidInput, UsageError

from . import detect, devices, unsupported
from .target import THIS_MACHINE, Target, parse


def names() -> tuple[str, ...]:
    """Return the names that `load` accepts: ``this-machine`` and the built-in targets, sorted."""
    return (THIS_MACHINE, *devices.names())


def load(name: str) -> Target:
    """Return the target `name`: this machine, a built-in target, or the path of a TOML file.

    Raises `UsageError` with similar names for an unknown target, and `InvalidInput` for a file that is not a target.
    """
    if name == THIS_MACHINE:
        return detect.this_machine()
    if name.endswith(".toml") or "/" in name:
        return _from_file(files.absolute(name))
    if name not in names():
        aliases = _aliases()
        if name in aliases:
            return load(aliases[name])
        if device := unsupported.find(name):
            raise UsageError(f"Target '{name}': {device.what}.", device.why, device.fix)
        *others, last = [f"'{near}'" for near in _near(name, aliases)] or [""]
        near = f"{', '.join(others)} or {last}" if others else last
        raise UsageError(
            f"Unknown target '{name}'.",
            f"Known targets: {', '.join(names())}.",
            (f"Did you mean {near}? " if near else "") + "For your own device, give the path of its TOML file.",
        )
    return devices.read(name)


def _near(name: str, aliases: dict[str, str]) -> list[str]:
    """Return the targets that contain all words of `name`, else the target with the most similar spelling.

    A number distinguishes devices ("raspberry-pi-3"), so a target without one of the numbers is not similar.
    """
    words = _words(name)
    if within := [target for target in names() if words and words <= _words(target)]:
        return within
    near = difflib.get_close_matches(name.lower(), [*names(), *aliases], n=1, cutoff=0.4)
    return [one for one in near if {word for word in words if word.isdigit()} <= _words(f"{one}-{aliases.get(one)}")]


def _words(name: str) -> set[str]:
    return set(re.findall(r"[a-z]+|[0-9]+", name.lower()))


def _aliases() -> dict[str, str]:
    return {alias: target.name for target in devices.every() for alias in target.aliases}


def _from_file(path: Path) -> Target:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidInput(
            f"Cannot read the target file {path}: {reason}.",
            "A target is one of the built-in names or a TOML file.",
            f"Built-in targets: {', '.join(names())}.",
        ) from None
    target = parse(text, str(path))
    described = [runtime for one in devices.every() for runtime in one.runtimes]
    runtimes, schemes = {r.name for r in described}, {scheme for r in described for scheme in r.schemes}
    for number, runtime in enumerate(target.runtimes):
        if runtime.name not in runtimes:
            raise _unknown(path, f"runtimes[{number}].name", runtime.name, runtimes)
        if unknown := sorted(set(runtime.schemes) - schemes):
            raise _unknown(path, f"runtimes[{number}].schemes", unknown[0], schemes)
    return target


def _unknown(path: Path, field: str, name: str, known: Iterable[str]) -> InvalidInput:
    return InvalidInput(
        f"{path} is not a valid target: unknown name '{name}' - at `$.{field}`.",
        f"Known names: {', '.join(sorted(known))}.",
        "Correct this field. `edgewright targets show x86-vnni` shows an example.",
    )
