"""Distillation brings the INT8 copy nearer to its teacher, keeps its pairs, and goes on where it was ended."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from edgewright.quantize import distil, lint, methods, quantize, schemes, sessions
from edgewright.quantize.calibration import Calibration

QUICK = distil.Training(steps=60, most_images=16, mirror=False, weight_rate=0.05)
SCHEMES = ("ort-x86-vnni", "ort-x86", "openvino", "tensorrt")


def made(tiny, scheme: str):
    """(INT8 model, float model, calibration): two fifths of the weights a step off, so that there is much to learn."""
    model = onnx.load(tiny.model)
    calibration = Calibration(tiny.images[:60], tiny.spec)
    quantized, _, _, _ = quantize.apply(model, schemes.get(scheme), methods.get("minmax"), calibration, lambda *_: None)
    rng = np.random.default_rng(0)
    for tensor in quantized.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.dtype == np.int8 and array.ndim > 1:
            limit = 64 if np.abs(array.astype(int)).max() <= 64 else 127
            wrong = rng.choice([-1, 0, 1], array.shape, p=[0.2, 0.6, 0.2])
            changed = np.clip(array.astype(int) + wrong, -limit, limit).astype(np.int8)
            tensor.CopyFrom(onnx.numpy_helper.from_array(changed, tensor.name))
    return quantized, model, calibration


def distance(a: onnx.ModelProto, b: onnx.ModelProto, calibration: Calibration) -> float:
    """Relative energy of the difference of the answers."""
    first, second = (
        np.concatenate([sessions.open_session(m).run(["logits"], feed)[0] for feed in calibration.batches()])
        for m in (a, b)
    )
    return float(np.square(first - second).sum() / np.square(first).sum())


@pytest.mark.parametrize("scheme", SCHEMES)
def test_answers_come_nearer_and_the_file_stays_what_it_was(tiny, scheme: str) -> None:
    quantized, model, calibration = made(tiny, scheme)
    before = distance(model, quantized, calibration)
    nodes = [(n.op_type, tuple(n.input), tuple(n.output)) for n in quantized.graph.node]
    types = {t.name: (t.data_type, tuple(t.dims)) for t in quantized.graph.initializer}
    broken = [v.rule for v in lint.check(quantized)] if scheme == "tensorrt" else []
    distil.distil(quantized, model, calibration, lambda *_: None, training=QUICK)
    assert distance(model, quantized, calibration) < 0.8 * before
    assert [(n.op_type, tuple(n.input), tuple(n.output)) for n in quantized.graph.node] == nodes
    assert {t.name: (t.data_type, tuple(t.dims)) for t in quantized.graph.initializer} == types
    if scheme == "tensorrt":
        assert [v.rule for v in lint.check(quantized)] == broken
    if scheme in ("ort-x86", "openvino"):
        stored = {t.name: onnx.numpy_helper.to_array(t) for t in quantized.graph.initializer}
        full = [n for n, a in stored.items() if a.dtype == np.int8 and a.ndim > 1 and np.abs(a.astype(int)).max() > 64]
        assert all(stored[name].shape[1] == 1 for name in full), "7 bits stay 7 bits, but for depthwise weights"


def test_what_was_ended_goes_on_to_the_same_result(tiny, tmp_path: Path) -> None:
    whole, model, calibration = made(tiny, "openvino")
    distil.distil(whole, model, calibration, lambda *_: None, training=QUICK)

    class Killed(Exception):
        pass

    def kill(done: int, _total: int, _what: str) -> None:
        if done == 45:
            raise Killed

    first, model, calibration = made(tiny, "openvino")
    with pytest.raises(Killed):
        distil.distil(first, model, calibration, kill, checkpoint=tmp_path, training=QUICK)
    again, model, calibration = made(tiny, "openvino")
    steps: list[int] = []
    distil.distil(again, model, calibration, lambda done, *_: steps.append(done), checkpoint=tmp_path, training=QUICK)
    assert steps[0] == 41, "the checkpoint of step 40"
    assert again.SerializeToString(deterministic=True) == whole.SerializeToString(deterministic=True)


def test_a_checkpoint_of_another_model_is_not_taken(tiny, tmp_path: Path) -> None:
    first, model, calibration = made(tiny, "openvino")
    distil.distil(first, model, calibration, lambda *_: None, checkpoint=tmp_path, training=QUICK)
    other, model, calibration = made(tiny, "tensorrt")
    steps: list[int] = []
    training = msgspec.structs.replace(QUICK, steps=3)
    distil.distil(
        other, model, calibration, lambda done, *_: steps.append(done), checkpoint=tmp_path, training=training
    )
    assert steps == [1, 2, 3]


def test_labels_are_learned_from(tiny) -> None:
    def answers(labels: list[int]) -> np.ndarray:
        quantized, model, calibration = made(tiny, "openvino")
        distil.distil(quantized, model, calibration, lambda *_: None, training=QUICK, labels=labels)
        session = sessions.open_session(quantized)
        return np.concatenate([session.run(["logits"], feed)[0] for feed in calibration.batches()])

    without, with_them = answers([]), answers([2] * 60)
    first, second = ((x[:, 2] - x.max(axis=1)).mean() for x in (without, with_them))
    assert second > first, "the class that all labels name comes nearer to the top"
