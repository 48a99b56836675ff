"""The SDK: images in, answers out, on every runtime, and errors that say what to do."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

import edgewright
from edgewright.core.errors import IntegrityError, InvalidInput, Unavailable, UsageError
from edgewright.runtimes import artifact, session
from edgewright.tasks.detect.spec import Detect

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


@pytest.fixture
def detector(edge: Path) -> Iterator[session.Session]:
    """A session that takes scores: the classifier's, with the spec of a detector."""
    with edgewright.open(edge) as opened:
        opened.spec = msgspec.structs.replace(
            opened.spec,
            task=Detect(decoder="yolox", strides=(8,), classes=opened.spec.classes, labels=opened.spec.labels),
        )
        yield opened


def test_takes_every_form_of_an_image(edge: Path, color: Color, tmp_path: Path) -> None:
    file, memory = tmp_path / "red.png", io.BytesIO()
    color("red").save(file)
    color("red").save(memory, "png")
    classify = edgewright.open(str(edge))
    content = memory.getvalue()
    forms = [
        str(file), file, content, bytearray(content), memoryview(content), memory, io.BytesIO(content), color("red"),
        np.asarray(color("red")), torch.from_numpy(np.array(color("red"))).permute(2, 0, 1),
    ]  # fmt: skip
    answers = [classify(form) for form in forms]
    assert answers == [answers[0]] * len(forms)
    assert classify(tuple(forms)) == answers
    assert answers[0].label == "red"
    with file.open("rb") as opened:
        opened.read(3)
        assert classify(opened) == answers[0], "it is read from its beginning"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (None, "type NoneType is not an image"), (3, "type int is not an image"), ((k for k in "ab"), "type generator"),
        ({"image": 1}, "type int"), (io.StringIO("text"), "gives text"), (b"", "it is empty"), (bytearray(), "empty"),
        (memoryview(b""), "empty"), (io.BytesIO(), "empty"), (torch.zeros(3, 8, 8), "torch.float32 is not an image"),
        (torch.zeros(8, 8, 3, dtype=torch.uint8), "is not an image"), (b"none", "image in one of the formats"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "give several as a list"), (object(), "type object"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_named(edge: Path, wrong: object, why: str) -> None:
    with edgewright.open(edge) as classify:
        for images in (wrong, [wrong]):
            with pytest.raises(InvalidInput) as caught:
                classify(images)
            assert why in str(caught.value)
            assert caught.value.fix


@pytest.mark.parametrize("score", [float("nan"), 2.0, -0.1, float("inf"), 0.5])
def test_a_classifier_takes_no_score(edge: Path, color: Color, score: float) -> None:
    with edgewright.open(edge) as classify, pytest.raises(InvalidInput, match="classifier"):
        classify(color("red"), score=score)


@pytest.mark.parametrize("score", [
    "0.5", [0.5], b"1", {}, np.array([0.5, 0.5]), np.array(0.5), np.zeros((99, 9)), torch.tensor(0.5), Decimal("0.5"),
    True, np.True_, 0.5j, float("nan"), float("inf"), np.float32("nan"), -0.1, 2, np.int64(2),
])  # fmt: skip
def test_what_is_no_score_is_named(detector: session.Session, color: Color, score: Any) -> None:
    with pytest.raises(InvalidInput, match=r"score=.* is no score") as caught:
        detector(color("red"), score=score)
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize("score", [0, 1, 0.5, np.float16(0.5), np.float32(0.5), np.float64(0.5), np.int64(1)])
def test_numbers_of_python_and_numpy_are_scores(
    detector: session.Session, color: Color, score: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    monkeypatch.setattr(detector, "read", lambda _outputs, _sizes, score: given.append(score) or ["answer"])
    assert detector(color("red"), score=score) == "answer"
    assert [(type(least), least) for least in given] == [(float, float(score))]


@pytest.mark.parametrize(("exif", "interpolation", "turns"), [
    (None, "opencv", True), (None, "bilinear", False), ("apply", "bilinear", True), ("ignore", "opencv", False),
])  # fmt: skip
def test_a_photo_is_turned_as_the_spec_says(
    exif: Any, interpolation: Any, turns: bool, build: Callable[..., Path], tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 12, 3), dtype=np.uint8)
    tag = Image.Exif()
    tag[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "lying.png", exif=tag)
    shown = np.ascontiguousarray(pixels[::-1].transpose(1, 0, 2))
    with edgewright.open(build("onnxruntime")) as classify:
        how = msgspec.structs.replace(classify.spec.preprocess, exif=exif, interpolation=interpolation)
        classify.spec = classify.spec.with_input(preprocess=how)
        expected = classify(shown if turns else pixels)
        assert expected != classify(pixels if turns else shown)
        file = tmp_path / "lying.png"
        for source in (file, file.read_bytes(), Image.open(file)):
            assert classify(source) == expected


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
    with pytest.raises(InvalidInput, match="does not exist" if kind == "missing" else "is not a bundle") as caught:
        edgewright.open(path)
    assert str(path) in caught.value.what


def test_a_folder_that_holds_a_bundle_names_it(edge: Path) -> None:
    with pytest.raises(InvalidInput) as caught:
        edgewright.open(edge.parent)
    assert caught.value.fix.startswith(f"Give the path of the bundle: {edge.parent}")


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
