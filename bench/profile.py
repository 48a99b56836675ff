"""Measure the time of an artifact's kernels with the runtime's own profiler, several artifacts in turn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import median

import msgspec

from edgewright.core.child import Progress
from edgewright.runtimes import artifact as artifacts
from edgewright.runtimes import bundle, registry
from edgewright.runtimes.options import Kernel
from edgewright.vision import feeds

FILE = "profile.json"


def has_profiler(runtime: str) -> bool:
    """Whether a runtime has a function `profile`. TensorRT has none: its layer times were never read on a GPU."""
    return hasattr(registry.module(runtime), "profile")


def profile(
    profiled: Mapping[str, str],
    image: str,
    folder: str,
    rounds: int = 5,
    count: int = 12,
    progress: Progress | None = None,
) -> None:
    """Profile each artifact (id -> folder) and write ``profile.json`` to `folder`. Runs in a child process.

    The artifacts take turns for `rounds` rounds with `count` inferences on `image` each, so that drift of the machine
    affects all equally. A kernel's time is the median of the rounds' medians.
    """
    found: dict[str, list[list[Kernel]]] = {id: [] for id in profiled}
    for number in range(rounds):
        for id, path in profiled.items():
            contents = bundle.verified(Path(path))
            about = artifacts.parse(contents)
            x = feeds.batch([image] * (about.spec.batch or 1), about.spec)
            runtime = registry.module(about.options.runtime)
            found[id].append(runtime.profile(contents, about.options, x, count))  # type: ignore[attr-defined]
        if progress:
            progress(number + 1, rounds, "profile")
    kernels = {
        id: [Kernel(row[0].names, row[0].kind, median(k.microseconds for k in row)) for row in zip(*turns)]
        for id, turns in found.items()
    }
    Path(folder, FILE).write_bytes(msgspec.json.encode(kernels))


def read(folder: Path) -> dict[str, list[Kernel]]:
    """Read the ``profile.json`` of a stage."""
    return msgspec.json.decode((folder / FILE).read_bytes(), type=dict[str, list[Kernel]])


def attribute(kernels: list[Kernel], owners: Mapping[str, int], parts: int) -> list[float]:
    """Return the microseconds of each of `parts` parts of a model. `owners`: the part of each node and tensor, by name.

    Runtimes name a kernel after a node or tensor of the model and add a suffix ("conv1/WithoutBiases", "conv1_nchwc").
    Therefore the longest known prefix counts. A kernel without a known name (a reorder of memory) belongs to the next
    kernel that has one, or at the end to the last.
    """
    times, waiting, last = [0.0] * parts, 0.0, None
    for kernel in kernels:
        part = next((owner for name in kernel.names if (owner := _owner(name, owners)) is not None), None)
        if part is None:
            waiting += kernel.microseconds
            continue
        times[part] += waiting + kernel.microseconds
        waiting, last = 0.0, part
    if last is not None:
        times[last] += waiting
    return times


def _owner(name: str, owners: Mapping[str, int]) -> int | None:
    while name:
        if name in owners:
            return owners[name]
        name = name[: max(name.rfind("/"), name.rfind("_"), 0)]
    return None
