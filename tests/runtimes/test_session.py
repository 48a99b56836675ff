"""The SDK: images in, answers out, on every runtime, and errors that say what to do."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import edgewright
from edgewright.core.errors import IntegrityError, InvalidInput, Unavailable, UsageError
from edgewright.runtimes import artifact, session

Color = Callable[[str], Image.Image]
NAMES = ["red", "green", "blue", "red", "blue", "green", "red"]


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("batch", [1, 3, None])
def test_answers_one_image_or_many(runtime: str, batch: int | None, build: Callable[..., Path], color: Color) -> None:
    with edgewright.open(build(runtime, batch=batch)) as classify:
        one = classify(color("green"))
        assert (one.label, one.index, len(one.top)) == ("green", 1, 2)
        # logits 1.1, .1, .1 -> softmax
        assert one.score == pytest.approx(np.exp(1.1) / (np.exp(1.1) + 2 * np.exp(0.1)), rel=1e-5)
        assert [answer.label for answer in classify([color(name) for name in NAMES])] == NAMES
        assert classify([]) == []
        assert classify([color("blue")]) == [classify(color("blue"))]


def test_takes_every_form_of_an_image(edge: Path, color: Color, tmp_path: Path) -> None:
    file, memory = tmp_path / "red.png", io.BytesIO()
    color("red").save(file)
    color("red").save(memory, "png")
    classify = edgewright.open(str(edge))
    forms = [str(file), file, memory.getvalue(), color("red"), np.asarray(color("red"))]
    answers = [classify(form) for form in forms]  # type: ignore[arg-type]
    assert answers == [answers[0]] * 5
    assert classify(tuple(forms)) == answers  # type: ignore[arg-type]
    assert answers[0].label == "red"


def test_long_lists_are_answered_in_bounded_batches(edge: Path, color: Color, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MAX_BATCH", 2)
    classify = edgewright.open(edge)
    sizes = []
    run = classify.run
    monkeypatch.setattr(classify, "run", lambda x: sizes.append(len(x)) or run(x))
    assert [answer.label for answer in classify([color(name) for name in NAMES])] == NAMES
    assert sizes == [2, 2, 2, 1]


def test_run_gives_raw_outputs(edge: Path, answer: Callable[[np.ndarray], np.ndarray]) -> None:
    x = np.random.default_rng(0).random((2, 3, 8, 8), np.float32)
    (logits,) = edgewright.open(edge).run(x)
    np.testing.assert_allclose(logits, answer(x), rtol=1e-6)


@pytest.mark.parametrize(
    "x",
    [
        np.zeros((1, 3, 8, 8)),
        np.zeros((1, 8, 8, 3), np.float32),
        np.zeros((3, 8, 8), np.float32),
        np.zeros((1, 3, 9, 8), np.float32),
    ],
)
def test_run_refuses_an_array_that_does_not_fit(edge: Path, x: np.ndarray) -> None:
    with pytest.raises(InvalidInput, match="does not fit the model") as caught:
        edgewright.open(edge).run(x)
    assert "float32 with shape (any, 3, 8, 8), NCHW" in caught.value.why


def test_run_refuses_another_batch_than_the_fixed_one(build: Callable[..., Path]) -> None:
    with pytest.raises(InvalidInput, match="does not fit"):
        edgewright.open(build(batch=1)).run(np.zeros((2, 3, 8, 8), np.float32))


def test_a_bad_image_is_named_and_the_session_goes_on(edge: Path, color: Color, tmp_path: Path) -> None:
    classify = edgewright.open(edge)
    (tmp_path / "bad.jpg").write_bytes(b"no image")
    with pytest.raises(InvalidInput, match=r"bad\.jpg"):
        classify([color("red"), tmp_path / "bad.jpg"])
    assert classify(color("red")).label == "red"


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_threads_may_share_a_session(runtime: str, build: Callable[..., Path], color: Color) -> None:
    classify = edgewright.open(build(runtime, batch=1))
    wrong: list[object] = []

    def ask(name: str) -> None:
        for _ in range(25):
            label = classify(color(name)).label
            if label != name:
                wrong.append((name, label))

    threads = [threading.Thread(target=ask, args=(name,)) for name in ("red", "green", "blue")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_closed_session_says_so(edge: Path, color: Color) -> None:
    with edgewright.open(edge) as classify:
        pass
    classify.close()
    with pytest.raises(UsageError, match="closed"):
        classify(color("red"))
    with pytest.raises(UsageError, match="closed"):
        classify.describe()


def test_describes_what_runs(edge: Path) -> None:
    assert edgewright.open(edge).describe()["precision"] == "f32"


@pytest.mark.parametrize("kind", ["missing", "file", "folder"])
def test_what_is_no_bundle_is_named(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "thing"
    if kind == "file":
        path.write_text("x")
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(
        InvalidInput, match="There is no bundle at" if kind == "missing" else "is not a bundle"
    ) as caught:
        edgewright.open(path)
    assert str(path) in caught.value.what


def test_an_empty_edge_folder_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "x.edge").mkdir()
    with pytest.raises(IntegrityError, match=r"manifest\.json is missing"):
        edgewright.open(tmp_path / "x.edge")


def test_a_runtime_that_is_not_installed_is_named(edge: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(Unavailable, match=r"edgewright\[onnxruntime\]"):
        edgewright.open(edge)


def test_a_precision_that_this_cpu_lacks_is_named(build: Callable[..., Path]) -> None:
    folder = build("onnxruntime")
    file = folder / artifact.FILE
    file.write_text(file.read_text().replace('"precision": "f32"', '"precision": "bf16"', 1))
    with pytest.raises(Unavailable, match="cannot compute in bf16 on this machine"):
        edgewright.open(folder)
