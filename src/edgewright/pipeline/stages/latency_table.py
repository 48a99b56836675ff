"""The latency table as stages: quantize layers that are not in the store, as in a network, and time them in a child.

Each layer is a result of its own in the store. Models share results, and a killed run continues after the last chunk
of layers that it finished.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from edgewright.bench.layer_table import Cost, Table, grid, time_layers
from edgewright.core import child
from edgewright.core.store import Entry
from edgewright.graph.layers import Layer
from edgewright.pipeline.stages.runner import StageRunner, made_by
from edgewright.runtimes import registry
from edgewright.runtimes.options import Options

STAGE, FILE = "layer", "cost.json"
CHUNK = 32
"""The number of layers in one probe: it stays small, and a kill loses little."""


def measure(
    runner: StageRunner,
    layers: Iterable[Layer],
    options: Options,
    scheme: str | None,
    machine: str,
    isa: Sequence[str] = (),
) -> Table:
    """The latency table of `layers` on this machine, each at several channel counts.

    `options`: of the artifacts to predict. `scheme`: their Q/DQ scheme (None: float). `machine`: names this machine in
    the keys. `isa`: its instruction sets, which set the step of channel counts. Measures only layers that are not in
    the store. Raises `Unavailable` for a runtime without a profiler, and the runtime's errors.
    """
    block = registry.traits(options.runtime).channel_block("int8" if scheme else options.precision, isa)
    wanted = list(dict.fromkeys(point for layer in layers for point in grid(layer, block)))
    how = {
        "options": msgspec.to_builtins(options), "scheme": scheme, "machine": machine,
        "made_by": made_by("measure", "bench", "runtimes", "quantize", "graph"),
    }  # fmt: skip
    found: dict[Layer, Cost] = {}
    missing = []
    for layer in wanted:
        entry = runner.store.find(STAGE, _inputs(layer, how))
        if entry:
            found[layer] = _read(entry)
        else:
            missing.append(layer)
    # A layer runs faster after one of its own shape, whose buffers and code are in the cache: so shuffle.
    Random(0).shuffle(missing)
    what = f"{options.runtime} {scheme or options.precision}"
    runner.watch(STAGE, what, 0, max(len(missing), 1), f"{len(found)} of {len(wanted)} layers from the store")
    for start in range(0, len(missing), CHUNK):
        chunk = missing[start : start + CHUNK]
        for layer, cost in zip(chunk, _timed(runner, what, chunk, options, scheme)):
            found[layer] = _read(runner.store.stage(STAGE, _inputs(layer, how), functools.partial(_write, cost)))
        done = start + len(chunk)
        runner.watch(STAGE, what, done, len(missing), f"{done} of {len(missing)} layers measured")
    return Table({layer: found[layer] for layer in wanted}, block)


def time(layers: list[Any], options: Any, scheme: str | None, progress: child.Progress | None = None) -> list[Cost]:
    """Measure the cost of each of `layers` now. Runs in a child."""
    from edgewright.graph import files, probe

    layers, options = msgspec.convert(layers, list[Layer]), msgspec.convert(options, Options)
    tell = progress or (lambda *_: None)
    tell(0, 2, "probe")
    model = probe.build(layers)
    if scheme:
        from edgewright.quantize import schemes
        from edgewright.quantize.calibration.statistics import Ranges
        from edgewright.quantize.qdq import place

        model = place.place(
            model, Ranges("minmax", probe.ranges(layers), {}), schemes.get(scheme), probe.outside(model)
        )
    with tempfile.TemporaryDirectory(prefix="edgewright-") as scratch:
        files.save(model, Path(scratch, "probe.onnx"))
        tell(1, 2, "times")
        return time_layers(Path(scratch, "probe.onnx"), len(layers), options, Path(scratch, "artifact"))


def _timed(runner: StageRunner, what: str, layers: list[Layer], options: Options, scheme: str | None) -> list[Cost]:
    # No YIELDING: the measured layers need the same threads as a measured artifact.
    found = child.call(
        f"{__name__}:time", log=runner.log(STAGE, what), limits=runner.limits, env=None,
        layers=msgspec.to_builtins(layers), options=msgspec.to_builtins(options), scheme=scheme,
    )  # fmt: skip
    return msgspec.convert(found, list[Cost])


def _inputs(layer: Layer, how: dict[str, Any]) -> dict[str, Any]:
    return {"layer": msgspec.to_builtins(layer), **how}


def _write(cost: Cost, folder: Path) -> None:
    Path(folder, FILE).write_bytes(msgspec.json.encode(cost))


def _read(entry: Entry) -> Cost:
    return msgspec.json.decode((entry.path / FILE).read_bytes(), type=Cost)
