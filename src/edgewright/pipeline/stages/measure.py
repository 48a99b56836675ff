"""Answers and kernel times of artifacts, as stages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgewright.core import child
from edgewright.core.store import Entry
from edgewright.data.sets import ImageSet
from edgewright.pipeline.stages.runner import StageRunner, made_by

if TYPE_CHECKING:
    from edgewright.bench.accuracy import Answer


def evaluate(
    runner: StageRunner, artifact: Entry, what: str, images: ImageSet, machine: str,
    answer: Answer | None = None,
) -> Entry:  # fmt: skip
    """``outputs.npy``: what the artifact answers on every evaluation image.

    `machine` stands for the one that answers in the key; `answer` does it where that is not this one.
    """
    from edgewright.bench import accuracy

    inputs = {
        "artifact": artifact.key, "images": images.digests, "machine": machine,
        "made_by": made_by("measure", "bench", "tasks"),
    }  # fmt: skip

    def make(folder: Path, step: child.Progress) -> None:
        paths = images.paths
        accuracy.evaluate(artifact.path, paths, folder, limits=runner.limits, progress=step, answer=answer)

    return runner.keep("evaluate", what, inputs, make)


def profile_kernels(
    runner: StageRunner, artifacts: Mapping[str, Entry], image: str, digest: str, machine: str
) -> Entry:
    """``profile.json``: the kernels of the artifacts (id -> entry) with their times, measured in turn here."""
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
