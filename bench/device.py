"""The functions that edgewright calls on a device, with plain data: describe it, answer images, measure latencies.

`edgewright.targets.job` runs them on the device, which needs numpy, Pillow, msgspec and a runtime. The machine that
writes the report computes accuracy, percentiles and intervals from the results.
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
    """Return the device's `environment`, its description as a target (`machine`), and its `runtimes` (name ->
    abilities).

    `unit` identifies the device among others of its kind: a digest of systemd's machine id, or "" if there is none.
    """
    del folder  # the caller gives every job a folder; this one writes nothing
    runtimes = {name: registry.module(name).probe() for name in registry.shipped()}
    unit = Path("/etc/machine-id")
    digest = files.sha256(unit)[:16] if unit.is_file() else ""
    if any(found.available and registry.traits(name).on_device for name, found in runtimes.items()):
        digest = f"{digest}-{machine_key.fingerprint()}"  # a plan loads only on the machine whose key signed it
    found = {
        "unit": digest,
        "environment": environment.describe(),
        "machine": detect.this_machine(),
        "runtimes": runtimes,
    }
    plain: dict[str, Any] = msgspec.to_builtins(found)
    return plain


def answer(artifact: str, images: Sequence[str], folder: str, progress: Progress | None = None) -> dict[str, Any]:
    """Answer `images` (files) with `artifact`, as `worker.predict` does, and write ``outputs.npy`` to `folder`.

    ``described.json``, in the same folder, has what actually ran: precision, threads, device.
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
    """Call `latency.observe` with the `setup` as plain data (its `rules`, `limits`, `target`).

    The limits apply to each artifact. Also writes ``observed.json`` to `folder`.
    """
    how = latency.Setup(
        rules=msgspec.convert(setup["rules"], latency.Rules), limits=msgspec.convert(setup["limits"], Limits),
        target=msgspec.convert(setup["target"], Target | None),
    )  # fmt: skip
    seen = latency.observe({id: Path(path) for id, path in artifacts.items()}, images, Path(folder), how, progress)
    Path(folder, OBSERVED).write_bytes(msgspec.json.encode(seen))
