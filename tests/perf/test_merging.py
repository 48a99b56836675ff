"""What merging the training branches of timm's models is worth: both exports by ONNX Runtime, a thread, in turns.

The models have 10 classes, random weights and random statistics in their batch norms. The parity that is printed is the
largest difference of the two exports' answers, relative to the largest answer.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from safetensors.torch import save_file

from edgewright.export.exporter import MODEL, ExportRequest, export
from edgewright.export.sources import merging, timm

MODELS = ("mobileone_s0", "repvgg_a0", "fastvit_t8", "repvit_m0_9", "repghostnet_050")


def checkpoint(name: str, path: Path) -> None:
    """Write weights for timm's `name` whose batch norms do something."""
    module = timm.trainable(name, {"pretrained": False, "num_classes": 10}).module
    random = torch.Generator().manual_seed(1)
    for norm in (m for m in module.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)):
        norm.running_mean.copy_(torch.randn(norm.running_mean.shape, generator=random) * 0.2)
        norm.running_var.copy_(torch.rand(norm.running_var.shape, generator=random) + 0.5)
    save_file({key: value.contiguous().clone() for key, value in module.state_dict().items()}, path)


def session(folder: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(folder / MODEL, options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", MODELS)
def test_merged_over_unmerged(
    benchmark: BenchmarkFixture, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint(name, tmp_path / "weights.safetensors")
    source, weights = f"timm:{name}?num_classes=10", str(tmp_path / "weights.safetensors")
    spec = export(source, tmp_path / "merged", ExportRequest(checkpoint=weights))
    monkeypatch.setattr(merging, "merge", lambda module, *_: (module, ()))
    export(source, tmp_path / "before", ExportRequest(checkpoint=weights))
    contestants = {kind: session(tmp_path / kind) for kind in ("before", "merged")}
    x = {spec.input.name: np.random.default_rng(0).standard_normal(spec.input.shape(), np.float32)}
    answers = {kind: runner.run(None, x)[0] for kind, runner in contestants.items()}
    gap = float(np.abs(answers["merged"] - answers["before"]).max() / np.abs(answers["before"]).max())
    seconds: dict[str, list[float]] = {kind: [] for kind in contestants}
    for turn in range(60):
        for kind, runner in contestants.items():
            start = time.thread_time()
            runner.run(None, x)
            if turn >= 10:  # the first warm up
                seconds[kind].append(time.thread_time() - start)
    before, merged = (statistics.median(seconds[kind]) for kind in ("before", "merged"))
    print(f"  {name:16} {before * 1e3:6.2f} -> {merged * 1e3:6.2f} ms  {before / merged:5.2f}x  parity {gap:.1e}")
    benchmark.extra_info |= {"before / merged": round(before / merged, 2), "parity": gap}
    assert gap < 1e-4
    assert merged < 1.05 * before
    benchmark.pedantic(contestants["merged"].run, args=(None, x), rounds=10)
