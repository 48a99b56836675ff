"""Answers, rows and drifts of instance masks."""

from __future__ import annotations

import json

import numpy as np
import pytest
from masks_sample import CHANNELS, CLASSES, SIDE, sample, spec
from PIL import Image

from edgewright.core.errors import InvalidInput
from edgewright.data import runs
from edgewright.tasks.instances import decode, fit, loss, metric, records, report
from edgewright.tasks.instances.draw import draw

SIZE = (SIDE, SIDE)


def rows_of(head: np.ndarray, maps: np.ndarray, **changes: object) -> np.ndarray:
    return decode.rows([head, maps], spec(**changes), [SIZE] * len(head), [""] * len(head), 0)  # type: ignore[arg-type]


def test_all_forms_of_a_mask_agree() -> None:
    _, head, maps = sample(1)
    (answer,) = decode.read([head, maps], spec(), [(2 * SIDE, 2 * SIDE)])
    assert len(answer) and answer.masks.shape == (len(answer), 2 * SIDE, 2 * SIDE)
    answer.finish()
    from_json = json.loads(json.dumps(answer.to_json()))["instances"]
    for k, item in enumerate(answer):
        mask = answer.mask(k)
        np.testing.assert_array_equal(mask, answer.masks[k])
        np.testing.assert_array_equal(mask, runs.bits(item.rle))
        assert item.area == mask.sum() == from_json[k]["area"]
        assert runs.decompressed(from_json[k]["mask"]["counts"]) == item.rle.counts
        x1, y1, x2, y2 = item.box
        ys, xs = np.nonzero(mask)
        assert x1 <= xs.min() and xs.max() < x2 and y1 <= ys.min() and ys.max() < y2
        outlines = answer.polygons(k)
        assert outlines and all(len(one) == 2 for one in outlines[0])
        assert answer.to_json(masks="polygons")["instances"][k]["mask"][0] == outlines[0].ravel().tolist()


def test_layouts_of_outputs_give_the_same_answer() -> None:
    _, head, maps = sample(2)
    joined = rows_of(head, maps)
    cut = 4 + CLASSES
    own = [head[:, :cut], head[:, cut:], maps]
    turned = [head[:, :cut], head[:, cut:].transpose(0, 2, 1), maps.transpose(0, 2, 3, 1)]
    for outputs in (own, turned):
        found = decode.rows(outputs, spec(), [SIZE] * 2, ["", ""], 0)
        np.testing.assert_array_equal(found, joined)
    end = []
    for one in head:
        best = one[4:cut].argmax(0)
        end.append(np.column_stack([
            one[0] - one[2] / 2, one[1] - one[3] / 2, one[0] + one[2] / 2, one[1] + one[3] / 2,
            one[4:cut].max(0), best, one[cut:].T,
        ]))  # fmt: skip
    described = spec(decoder="end2end", multi_label_eval=False)
    found = records.read(decode.rows([np.stack(end), maps], described, [SIZE] * 2, ["", ""], 0))
    dense = records.read(rows_of(head, maps, iou=1.0, multi_label_eval=False))
    np.testing.assert_allclose(found.boxes[:, :7], dense.boxes[:, :7], atol=1e-4)
    assert found.masks == dense.masks


def test_wrong_prototypes_are_refused_with_the_shape_that_fits() -> None:
    _, head, maps = sample(1)
    with pytest.raises(InvalidInput, match=r"\(1, 8, 12, 12\)") as refused:
        fit.require([head, maps[:, :, ::2, ::2]], spec(), "m", 1)
    assert "(1, 8, 24, 24)" in refused.value.why and "mask_stride" in refused.value.fix


def test_rows_of_a_device_that_are_no_masks_are_refused() -> None:
    _, head, maps = sample(1)
    rows = rows_of(head, maps)
    assert decode.check_rows(rows, spec(), 1) is None
    assert decode.check_rows(rows, spec(), 0) is not None
    for at, value in ((0, b"\xff\xff\xff\x7f"), (28, b"\x00\x00\x80\x4f"), (40, b"~~~~")):
        broken = rows.copy().reshape(-1)
        broken[at : at + 4] = np.frombuffer(value, np.uint8)
        assert decode.check_rows(broken.reshape(rows.shape), spec(), 1) is not None
    assert decode.check_rows(rows[:-1], spec(), 1) is not None


def test_chosen_images_are_renumbered_and_keep_their_masks() -> None:
    _, head, maps = sample(4)
    rows = rows_of(head, maps)
    found, every = records.read(metric.chosen(rows, [2, 0])), records.read(rows)
    for number, place in enumerate((2, 0)):
        ours, theirs = found.boxes[:, 0] == number, every.boxes[:, 0] == place
        np.testing.assert_array_equal(found.boxes[ours, 1:7], every.boxes[theirs, 1:7])
        assert [found.masks[k] for k in np.flatnonzero(ours)] == [every.masks[k] for k in np.flatnonzero(theirs)]


def test_the_difference_of_a_model_to_itself_is_zero_and_contributions_give_the_score() -> None:
    items, head, maps = sample(12)
    rows = rows_of(head, maps)
    found = metric.compare(rows, rows, items, spec())
    delta = found.scores["mask_map"].delta
    assert delta is not None and (delta.value, delta.low, delta.high) == (0, 0, 0)
    assert found.agreement == 100 and found.contributions is not None
    from edgewright.tasks.scores import unpack

    assert unpack(found.contributions).mean() == pytest.approx(found.score, abs=1e-3)


def changed(name: str, head: np.ndarray, maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    head, maps = head.copy(), maps.copy()
    if name == "classes":
        head[:, [4, 5]] = head[:, [5, 4]]
    elif name == "offset":
        maps = np.roll(maps, 1, axis=3)
    elif name == "boundary":
        maps -= 1.2
    return head, maps


@pytest.mark.parametrize("name", ["classes", "offset", "boundary", ""])
def test_drifts_name_what_changed(name: str) -> None:
    _, head, maps = sample(24)
    ours, theirs = rows_of(*changed(name, head, maps)), rows_of(head, maps)
    found = {one.code: one for one in metric.drifts(ours, theirs, spec())}
    assert set(found) == {"classes", "boundary", "offset"}
    errors = {code for code, one in found.items() if one.value > one.limits[1]}
    assert (name in errors) if name else not errors


def test_the_loss_grows_with_the_error_of_the_masks_and_of_the_boxes() -> None:
    _, head, maps = sample(2)
    assert loss.divergence([head, maps], [head, maps], spec()) == pytest.approx(0, abs=1e-6)
    little, much = (loss.divergence([head, maps], [head, maps - shift], spec()) for shift in (0.2, 1.5))
    assert 0 < little < much
    lower = head.copy()
    lower[:, 4 : 4 + CLASSES] /= 2
    assert loss.divergence([head, maps], [lower, maps], spec()) > 0.1
    assert loss.changes([head, maps], [lower, maps], spec()).shape == (2,)


def test_masks_are_drawn_in_the_color_of_their_class_and_in_reports() -> None:
    _, head, maps = sample(1)
    (answer,) = decode.read([head, maps], spec(), [SIZE])
    image = Image.new("RGB", SIZE, (90, 90, 90))
    drawn = np.asarray(draw(image, answer))
    inside = answer.masks.any(axis=0)
    assert (drawn[inside] != 90).any(axis=1).mean() > 0.99
    picture = report.picture(image.resize((48, 48)), rows_of(head, maps), 0.5, spec())
    assert picture.size == (48, 48) and (np.asarray(picture) != 90).any()


def test_the_losses_of_training_are_zero_for_equal_networks_and_grow() -> None:
    import torch

    from edgewright.tasks.instances import training

    described = spec(decoder="dfl", bins=4, scores="sigmoid", strides=(8, 16))
    maps = [
        torch.randn(2, 16 + CLASSES, 12, 12), torch.randn(2, 16 + CLASSES, 6, 6),
        torch.randn(2, CHANNELS, 12, 12), torch.randn(2, CHANNELS, 6, 6), torch.randn(2, CHANNELS, 24, 24),
    ]  # fmt: skip
    assert training.distillation(maps, maps, described, 1.0).item() == pytest.approx(0, abs=1e-5)
    for k in (0, 2, 4):
        other = [one + (k == place) for place, one in enumerate(maps)]
        assert training.distillation(other, maps, described, 1.0).item() > 1e-3
    exported = training.exported(described)
    assert exported is not None
    assert [tuple(one.shape) for one in exported(maps)] == [(2, 19, 180), (2, 8, 180), (2, 8, 24, 24)]
