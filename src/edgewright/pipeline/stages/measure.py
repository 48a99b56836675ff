"""Outputs, latencies and kernel times of artifacts, as stages: computed on this machine or on a device."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgewright.bench.latency import Rules, Setup, Timing, measure_interleaved
from edgewright.core.store import Entry
from edgewright.data.sets import ImageSet
from edgewright.pipeline.hosts import Host
from edgewright.pipeline.stages.runner import Context, Stage, StageRunner, made_by
from edgewright.targets.target import Target

if TYPE_CHECKING:
    from edgewright.bench.accuracy import Answer
    from edgewright.bench.latency import Observe

TIMINGS = "timings.json"


def evaluate(runner: StageRunner, artifact: Entry, what: str, images: ImageSet, host: Host) -> Entry:
    """``outputs.npy``: the outputs of the artifact for every evaluation image, computed at `host`."""
    inputs = {
        "artifact": artifact.key, "images": images.digests, "machine": host.identity,
        "made_by": made_by("measure", "bench"),
    }  # fmt: skip
    arguments = {"artifact": str(artifact.path), "images": images.paths}
    target = f"{__name__}:answers"
    work = Stage(name="evaluate", what=what, target=target, arguments=arguments, inputs=inputs, by="answer")
    return runner.keep(work, host.execute)


def answers(artifact: str, images: list[str], context: Context, answer: Answer | None = None) -> None:
    """The function of the stage `evaluate`. `answer`: computes the outputs on a device."""
    from edgewright.bench import accuracy

    accuracy.evaluate(
        Path(artifact), images, context.folder, limits=context.limits, progress=context.progress, answer=answer
    )  # fmt: skip


class Interleaved(msgspec.Struct, frozen=True, kw_only=True):
    """Artifacts to measure in one interleaved run on a few `images`; speedups refer to `base`.

    `run`: the number of this run, if the same is measured several times. `is_evidence`: do not reuse results that were
    measured under load or throttling.
    """

    artifacts: Mapping[str, Entry]
    images: ImageSet
    rules: Rules
    target: Target
    base: str | None = None
    run: int | None = None
    is_evidence: bool = False


def interleaved(runner: StageRunner, host: Host, name: str, asked: Interleaved, fresh: bool) -> dict[str, Timing]:
    """The artifacts measured at `host`, stored as the stage `name`. `fresh`: measure again."""
    rules = msgspec.to_builtins(asked.rules)
    inputs = {
        "artifacts": {id: entry.key for id, entry in asked.artifacts.items()}, "images": asked.images.digests,
        "rules": rules, "base": asked.base, "machine": host.identity, "power_mode": asked.target.power_mode,
        "run": asked.run, "made_by": made_by("measure", "bench", "targets"),
    }  # fmt: skip
    arguments = {
        "artifacts": {id: str(entry.path) for id, entry in asked.artifacts.items()}, "images": asked.images.paths,
        "how": {"rules": rules, "target": msgspec.to_builtins(asked.target)}, "base": asked.base,
    }  # fmt: skip
    what = f"{len(asked.artifacts)} artifacts, interleaved"
    target = f"{__name__}:timings"
    if fresh:
        runner.store.forget(name, inputs)
    work = Stage(name=name, what=what, target=target, arguments=arguments, inputs=inputs, by="observe")
    entry = runner.keep(work, host.execute)
    found = msgspec.json.decode((entry.path / TIMINGS).read_bytes(), type=dict[str, Timing])
    if asked.is_evidence and any(timing.latency and not timing.latency.valid for timing in found.values()):
        runner.store.forget(name, inputs)
    return found


def timings(
    artifacts: dict[str, str], images: list[str], how: dict[str, Any], base: str | None, context: Context,
    observe: Observe | None = None,
) -> None:  # fmt: skip
    """The function of the stage `interleaved`, with the `rules` and `target` in `how`. `observe`: measures on a device
    instead of this machine."""
    setup = Setup(
        rules=msgspec.convert(how["rules"], Rules), limits=context.limits,
        target=msgspec.convert(how["target"], Target),
        measure=observe,
    )  # fmt: skip
    found = measure_interleaved(
        {id: Path(path) for id, path in artifacts.items()}, images, context.folder, setup, reference=base,
        progress=context.progress,
    )  # fmt: skip
    (context.folder / TIMINGS).write_bytes(msgspec.json.encode(found))


def profile_kernels(
    runner: StageRunner, artifacts: Mapping[str, Entry], image: str, digest: str, machine: str
) -> Entry:
    """``profile.json``: the kernels of the artifacts (id -> entry) with their times, measured here one by one."""
    keys = {id: entry.key for id, entry in artifacts.items()}
    inputs = {
        "artifacts": keys,
        "image": digest,
        "machine": machine,
        "made_by": made_by("measure", "bench", "runtimes"),
    }
    return runner.run(
        "profile", " and ".join(artifacts), inputs, "edgewright.bench.profile:profile",
        profiled={id: str(entry.path) for id, entry in artifacts.items()}, image=image,
    )  # fmt: skip
