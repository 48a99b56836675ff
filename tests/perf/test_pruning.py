"""Channels chosen by latency against as many of every layer: what is left of the accuracy at the same measured speed.

EDGEWRIGHT_ZOO=... pytest tests/perf/test_pruning.py --benchmark-only -s [-k 1]

Wants a machine that does nothing else: on one that is disturbed "the same measured speed" is another. -k: a seed.

A ResNet-18 loses the same share of every layer, by the norm of its weights; then as much as the table says is as fast
as that was measured to be, by Fisher information. Both learn for the same number of steps.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgewright import api
from edgewright.core import files
from edgewright.data import sets
from edgewright.pipeline.jobs.prune_cut import Wanted
from edgewright.quantize.distillation.schedule import RECOVERY, replaced

pytestmark = [pytest.mark.zoo, pytest.mark.timeout(7200)]
SPEC = Path(__file__).parents[1] / "zoo" / "specs" / "cifar64.toml"
RATIO = 0.4
TRAINING = replaced(RECOVERY, epochs=2)


@pytest.mark.parametrize("seed", range(3))
def test_by_latency_and_all_alike(benchmark: Any, seed: int, zoo: Path, tmp_path: Path) -> None:
    for split, count in (("train", 3000), ("test", 3000)):
        found = sets.read(zoo / "cifar10", split)
        for item in sets.spread(found.items, count):
            assert item.label is not None
            path = tmp_path / "data" / split / found.classes[item.label] / Path(item.path).name
            files.write(path, Path(item.path).read_bytes())

    def pruned(wanted: Wanted) -> Any:
        return api.prune(
            "timm:resnet18?num_classes=10", checkpoint=zoo / "weights" / "resnet18_cifar10_64.safetensors", spec=SPEC,
            data=tmp_path / "data", out=tmp_path / "slim", wanted=wanted, runtime="openvino", schedule=TRAINING,
            seed=seed,
        )  # fmt: skip

    def compare() -> None:
        alike = pruned(Wanted(ratio=RATIO, importance="l1"))
        chosen = pruned(Wanted(speedup=alike.speedup.value))
        for name, one in (("all alike, l1", alike), ("by latency", chosen)):
            print(f"seed {seed} {name:<14} {told(one)}", flush=True)

    benchmark.pedantic(compare, rounds=1)


def told(found: Any) -> str:
    """Speed-up, weights and accuracy of a pruned model in one line."""
    ms, faster, delta = found.after_ms, found.speedup, found.accuracy.delta
    return (
        f"{ms:5.2f} ms, {faster.value:.2f}x [{faster.low:.2f},{faster.high:.2f}], {found.parameters[1] / 1e6:5.2f} M "
        f"weights, top-1 {found.accuracy.score:.1f} ({delta.value:+.1f} [{delta.low:+.1f},{delta.high:+.1f}])"
    )
