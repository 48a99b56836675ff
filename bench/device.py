"""What a device is asked to do, by name and with plain data: describe itself, answer images, measure latencies.

`edgewright.targets.job` runs these on the device, which has numpy, Pillow, msgspec and a runtime; what is made of the
answers (accuracy against labels, percentiles, intervals) is made where the report is written.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from edgewright.core import files, machine_key
from edgewright.core.child import Limits, Progress
from edgewright.runtimes import registry
from edgewright.targets import detect
from edgewright.targets.target import Target

from . import accuracy, environment, latency, worker

OBSERVED, DESCRIBED = "observed.json", "described.json"


def about(folder: str) -> dict[str, Any]:
    """The device: its `environment`, itself as a target (`machine`), and `runtimes` (name -> what it can do here).

    `unit` tells it from others of its kind: a digest of systemd's machine id, empty where there is none.
    """
    del folder  # every job has one; this one writes nothing
    runtimes = {name: registry.module(name).probe() for name in registry.shipped()}
    unit = Path("/etc/machine-id")
    digest = files.sha256(unit)[:16] if unit.is_file() else ""
    if any(found.available and registry.traits(name).on_device for name, found in runtimes.items()):
        digest = f"{digest}-{machine_key.fingerprint()}"  # whose key a plan is made with decides where it loads
    found = {
        "unit": digest,
        "environment": environment.describe(),
        "machine": detect.this_machine(),
        "runtimes": runtimes,
    }
    plain: dict[str, Any] = msgspec.to_builtins(found)
    return plain


def answer(artifact: str, images: Sequence[str], folder: str, progress: Progress | None = None) -> dict[str, Any]:
    """Answer `images` (files) with `artifact`, as `worker.predict` does, into ``outputs.npy`` of `folder`.

    ``described.json`` beside it is what really ran: precision, threads, device.
    """
    worker.open_artifact(artifact, images[:1])
    answered = worker.predict(images, str(Path(folder, accuracy.OUTPUTS)), progress)
    Path(folder, DESCRIBED).write_bytes(msgspec.json.encode(worker.describe()))
    return answered


def observe(
    artifacts: Mapping[str, str],
    images: Sequence[str],
    setup: dict[str, Any],
    folder: str,
    progress: Progress | None = None,
) -> None:
    """`latency.observe` with the `setup` as plain data (its `rules`, `limits`, `target`).

    The limits are those of each artifact; `folder` gets ``observed.json`` too.
    """
    how = latency.Setup(
        rules=msgspec.convert(setup["rules"], latency.Rules), limits=msgspec.convert(setup["limits"], Limits),
        target=msgspec.convert(setup["target"], Target | None),
    )  # fmt: skip
    seen = latency.observe({id: Path(path) for id, path in artifacts.items()}, images, Path(folder), how, progress)
    Path(folder, OBSERVED).write_bytes(msgspec.json.encode(seen))
