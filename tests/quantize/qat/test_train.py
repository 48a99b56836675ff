"""Distillation brings the INT8 copy nearer to its teacher, keeps its pairs, and goes on where it was ended."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
import torch

from edgewright.graph import sparsity
from edgewright.quantize import schemes
from edgewright.quantize.calibration import sessions
from edgewright.quantize.calibration.images import Calibration
from edgewright.quantize.qat import train as qat
from edgewright.quantize.qat.batches import Batches
from edgewright.quantize.qat.schedule import Training
from edgewright.quantize.qat.student import Student
from edgewright.quantize.qdq import tensorrt_rules

from ..conftest import int8

QUICK = Training(steps=60, most_images=16, mirror=False, weight_rate=0.05)
WILD = Training(steps=60, most_images=16, mirror=False, weight_rate=40, scale_rate=2)
"""Rates that lead away from the teacher."""
SCHEMES = ("ort-x86-vnni", "ort-x86", "openvino", "tensorrt")


def made(tiny, scheme: str):
    """(INT8 model, float model, calibration): two fifths of the weights a step off, so that there is much to learn."""
    model = onnx.load(tiny.model)
    calibration = Calibration(tiny.images[:60], tiny.spec)
    quantized = int8(model, schemes.get(scheme), calibration)
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
    broken = [v.rule for v in tensorrt_rules.check(quantized)] if scheme == "tensorrt" else []
    qat.train(quantized, model, calibration, qat.TrainRequest(training=QUICK), lambda *_: None)
    assert distance(model, quantized, calibration) < 0.8 * before
    assert [(n.op_type, tuple(n.input), tuple(n.output)) for n in quantized.graph.node] == nodes
    assert {t.name: (t.data_type, tuple(t.dims)) for t in quantized.graph.initializer} == types
    if scheme == "tensorrt":
        assert [v.rule for v in tensorrt_rules.check(quantized)] == broken
    if scheme in ("ort-x86", "openvino"):
        stored = {t.name: onnx.numpy_helper.to_array(t) for t in quantized.graph.initializer}
        full = [n for n, a in stored.items() if a.dtype == np.int8 and a.ndim > 1 and np.abs(a.astype(int)).max() > 64]
        assert all(stored[name].shape[1] == 1 for name in full), "7 bits stay 7 bits, but for depthwise weights"


@pytest.mark.parametrize("training", [QUICK, WILD])
def test_what_was_ended_goes_on_to_the_same_result(training: Training, tiny, tmp_path: Path) -> None:
    whole, model, calibration = made(tiny, "openvino")
    qat.train(whole, model, calibration, qat.TrainRequest(training=training), lambda *_: None)

    class Killed(Exception):
        pass

    def kill(done: int, _total: int, _what: str) -> None:
        if done == 45:
            raise Killed

    first, model, calibration = made(tiny, "openvino")
    with pytest.raises(Killed):
        qat.train(first, model, calibration, qat.TrainRequest(checkpoint=tmp_path, training=training), kill)
    again, model, calibration = made(tiny, "openvino")
    steps: list[int] = []
    qat.train(
        again,
        model,
        calibration,
        qat.TrainRequest(checkpoint=tmp_path, training=training),
        lambda done, *_: steps.append(done),
    )
    assert steps[0] == 41, "the checkpoint of step 40"
    assert again.SerializeToString(deterministic=True) == whole.SerializeToString(deterministic=True)


def test_a_checkpoint_of_another_model_is_not_taken(tiny, tmp_path: Path) -> None:
    first, model, calibration = made(tiny, "openvino")
    qat.train(first, model, calibration, qat.TrainRequest(checkpoint=tmp_path, training=QUICK), lambda *_: None)
    other, model, calibration = made(tiny, "tensorrt")
    steps: list[int] = []
    training = msgspec.structs.replace(QUICK, steps=3)
    qat.train(
        other,
        model,
        calibration,
        qat.TrainRequest(checkpoint=tmp_path, training=training),
        lambda done, *_: steps.append(done),
    )
    assert steps == [1, 2, 3]


def test_labels_are_learned_from(tiny) -> None:
    def answers(labels: list[int]) -> np.ndarray:
        quantized, model, calibration = made(tiny, "openvino")
        qat.train(quantized, model, calibration, qat.TrainRequest(training=QUICK, labels=labels), lambda *_: None)
        session = sessions.open_session(quantized)
        return np.concatenate([session.run(["logits"], feed)[0] for feed in calibration.batches()])

    without, with_them = answers([]), answers([2] * 60)
    first, second = ((x[:, 2] - x.max(axis=1)).mean() for x in (without, with_them))
    assert second > first, "the class that all labels name comes nearer to the top"


@pytest.mark.parametrize("scheme", ["openvino", "ort-x86"])
def test_it_never_ends_worse_than_it_began(scheme: str, tiny) -> None:
    quantized, model, calibration = made(tiny, scheme)
    start, told = quantized.SerializeToString(deterministic=True), []
    qat.train(quantized, model, calibration, qat.TrainRequest(training=WILD), lambda *tick: told.append(tick))
    assert quantized.SerializeToString(deterministic=True) == start
    assert told[-1][:2] == (60, 60)
    assert " at step 0, " in told[-1][2]


def test_the_nearest_state_is_written_and_not_the_last(tiny, monkeypatch) -> None:
    validate = qat._Trainee.validate
    seen: list[tuple[float, list[np.ndarray]]] = []

    def spoil(trainee: qat._Trainee) -> tuple[float]:
        loss = -validate(trainee)[0] + (100 if len(seen) == 3 else 0)  # the state after the last step
        seen.append((loss, [tensor.numpy() for tensor in trainee.weights().values()]))
        return (-loss,)

    monkeypatch.setattr(qat._Trainee, "validate", spoil)
    quantized, model, calibration = made(tiny, "tensorrt")
    qat.train(quantized, model, calibration, qat.TrainRequest(training=QUICK), lambda *_: None)
    assert len(seen) == 4, "the start, and every 20 of 60 steps"
    best = min(range(4), key=lambda i: seen[i][0])
    assert best in (1, 2)
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in quantized.graph.initializer}
    names = Student(quantized, {}).grid
    for name, learned in zip(names, seen[best][1]):
        np.testing.assert_array_equal(stored[name], np.clip(np.rint(learned), -127, 127).astype(np.int8))


def test_held_out_images_are_not_learned_from(tiny) -> None:
    calibration = Calibration(tiny.images[:60], tiny.spec)
    batches = Batches(onnx.load(tiny.model), ["logits"], calibration, QUICK, 0, [])
    assert batches.held_out == [0, 8, 17, 25, 34, 42, 51]
    learned = {image for step in range(20) for image in batches._images(step)[1]}
    assert learned == {*range(60)} - {*batches.held_out}


def test_a_smaller_batch_is_learned_from_slower(tiny, monkeypatch) -> None:
    rates = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam, "step",
        lambda adam, *_: (rates.append([group["lr"] for group in adam.param_groups]), step(adam))[1],
    )  # fmt: skip
    for pixels in (16 * 16 * 16, 4 * 16 * 16):
        quantized, model, calibration = made(tiny, "openvino")
        training = msgspec.structs.replace(QUICK, steps=1, pixels=pixels)
        qat.train(quantized, model, calibration, qat.TrainRequest(training=training), lambda *_: None)
    np.testing.assert_allclose(rates[1], np.array(rates[0]) / 2)


def test_zeros_for_sparse_kernels_stay(tiny) -> None:
    quantized, model, calibration = made(tiny, "tensorrt")
    constants = {tensor.name: tensor for tensor in quantized.graph.initializer}
    pairs = {node.output[0]: node.input[0] for node in quantized.graph.node if node.op_type == "DequantizeLinear"}
    layer = next(n for n in quantized.graph.node if n.op_type == "Conv" and n.name == "conv3")
    tensor = constants[pairs[layer.input[1]]]
    array = onnx.numpy_helper.to_array(tensor).copy()
    array[:, ::2] = 0
    tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    assert sparsity.count(quantized).sparse == 1
    qat.train(quantized, model, calibration, qat.TrainRequest(training=QUICK), lambda *_: None)
    assert sparsity.count(quantized).sparse == 1
    assert not np.array_equal(onnx.numpy_helper.to_array(tensor), array), "the others learned"
