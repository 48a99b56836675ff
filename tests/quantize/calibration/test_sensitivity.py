"""Of several trials the one is taken that changes the answers least, of a tie the first, which is the most cautious."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgewright.graph import batch, files
from edgewright.quantize.calibration import sensitivity
from edgewright.quantize.calibration.images import Calibration


def shifted(*logits: float) -> sensitivity.Place:
    """A "quantizer" that adds to each of the four logits."""

    def place(model: onnx.ModelProto, _float_nodes: list[str]) -> onnx.ModelProto:
        changed = files.copy(model)
        bias = next(tensor for tensor in changed.graph.initializer if tensor.name == "b4")
        bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(logits), "b4"))
        return changed

    return place


def least(tiny, trials: dict[str, sensitivity.Place]) -> str:
    calibration = Calibration(tiny.images, tiny.spec)
    return sensitivity.best_trial(files.load(tiny.model), trials, calibration, [], lambda *_: None)


@pytest.mark.parametrize("order", [("one", "another"), ("another", "one")])
def test_of_a_tie_the_first_is_taken(tiny, order: tuple[str, str]) -> None:
    """Errors in one class and in another, as frequent: each changes other images less, in sum about as much."""
    trials = {"one": shifted(0.5, 0, 0, 0), "another": shifted(0, 0, 0.5, 0)}
    assert least(tiny, {name: trials[name] for name in order}) == order[0]


@pytest.mark.parametrize("order", [("near", "nearest", "nearer"), ("nearest", "nearer", "near")])
def test_what_changes_the_answers_least_is_taken(tiny, order: tuple[str, ...]) -> None:
    trials = {"near": shifted(0.5, 0, 0, 0), "nearer": shifted(0.3, 0, 0, 0), "nearest": shifted(0.1, 0, 0, 0)}
    assert least(tiny, {name: trials[name] for name in order}) == "nearest"


def scattered(errors: float) -> np.ndarray:
    """Differences (images,) whose mean is this many standard errors away from zero."""
    noise = np.random.default_rng(0).normal(0, 0.01, 100)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    return noise + errors / 10


def test_what_chance_explains_is_a_tie() -> None:
    first = np.full(100, 5.0)
    assert sensitivity.choose({"first": first, "other": first - scattered(2.2)}) == "other"
    assert sensitivity.choose({"first": first, "other": first - scattered(1.8)}) == "first"
    assert sensitivity.choose({"first": first, "other": first.copy()}) == "first"


def test_what_is_least_by_chance_does_not_hide_what_is_better() -> None:
    first = np.full(100, 5.0)
    wild, sure = first - 5 * scattered(1.0), first - scattered(4.0)
    assert wild.mean() < sure.mean() < first.mean()
    assert sensitivity.choose({"first": first, "wild": wild, "sure": sure}) == "sure"


def test_of_two_better_ones_that_are_alike_the_more_cautious_is_taken() -> None:
    first, better = np.full(100, 5.0), 5.0 - scattered(4.0)
    alike = better - np.roll(scattered(1.0), 50)
    assert alike.mean() < better.mean()
    assert sensitivity.choose({"first": first, "better": better, "alike": alike}) == "better"
    assert sensitivity.choose({"first": first, "better": better, "best": better - scattered(4.0)}) == "best"


def test_images_that_fill_up_a_batch_are_no_evidence(tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 40 images, 32 at a time, 24 are read twice."""
    model, seen = files.load(tiny.model), []
    batch.apply(model, 32)
    spec = tiny.spec.with_input(batch=32)
    choose = sensitivity.choose
    monkeypatch.setattr(sensitivity, "choose", lambda found: (seen.extend(map(len, found.values())), choose(found))[1])
    trials = {"near": shifted(0.5, 0, 0, 0), "nearer": shifted(0.3, 0, 0, 0)}
    calibration = Calibration(tiny.images[:40], spec)
    assert sensitivity.best_trial(model, trials, calibration, [], lambda *_: None) == "nearer"
    assert seen == [40, 40]
