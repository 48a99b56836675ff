"""What a device answered is what was asked for, or a refusal that names the device."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgewright.bench import answered, environment
from edgewright.bench.latency import Observed, Rules, Watched, timings
from edgewright.core.errors import IntegrityError
from edgewright.core.spec import Input, ModelSpec
from edgewright.targets import detect
from edgewright.tasks.classify.spec import Classify
from edgewright.tasks.detect.spec import Detect

SENT = "board sent "
CLASSIFIER = ModelSpec(name="m", inputs=(Input(height=8, width=8),), task=Classify(classes=3))
DETECTOR = msgspec.structs.replace(CLASSIFIER, task=Detect(decoder="end2end", classes=CLASSIFIER.classes))
DESCRIBED = b'{"precision": "f32", "device": "CPU", "threads": 4, "layers": {"int8": 3}, "reorders": 0}'
ABOUT: dict[str, Any] = msgspec.to_builtins(
    {
        "unit": "x", "environment": environment.describe(), "machine": detect.this_machine(),
        "runtimes": {"onnxruntime": {"available": True}},
    }
)  # fmt: skip


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def header(text: str, data: bytes = b"") -> bytes:
    """A .npy whose header says `text`."""
    content = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(content).to_bytes(2, "little") + content + data


def boxes(*rows: tuple[float, ...]) -> bytes:
    return npy(np.array(rows, np.float32).reshape(-1, 7))


def change(value: Any, path: str, new: Any) -> Any:
    """A copy of nested dicts with the field at "a.b" replaced."""
    first, _, rest = path.partition(".")
    return {**value, first: change(value[first], rest, new) if rest else new}


def test_an_account_of_a_device_is_read() -> None:
    found = answered.about(ABOUT, "board")
    assert found.environment == environment.describe() and found.runtimes["onnxruntime"].available


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("environment", None), ("environment.cpu", 5), ("environment.memory_bytes", -1), ("environment.cores", 0),
        ("environment.memory_bytes", 10**18), ("environment.gpus", [{"driver": "x"}]), ("machine", {}),
        ("machine.name", "../x"), ("machine.arch", "mips"), ("machine.isa", ["avx9"]), ("unit", None),
        ("unit", "x" * 300), ("runtimes", []), ("runtimes", {"onnxruntime": {}}), ("more", 1),
        ("runtimes", {str(n): {"available": True} for n in range(40)}),
    ],
)  # fmt: skip
def test_an_account_that_is_none_is_refused(path: str, value: Any) -> None:
    with pytest.raises(IntegrityError, match=SENT):
        answered.about(change(ABOUT, path, value), "board")


def answer(folder: Path, value: Any, outputs: bytes | None, spec: ModelSpec, described: bytes = DESCRIBED) -> Any:
    folder.mkdir(exist_ok=True)
    if outputs is not None:
        (folder / "outputs.npy").write_bytes(outputs)
    (folder / "described.json").write_bytes(described)
    return answered.answer(value, folder, spec, 2, "board")


def test_answers_are_read(tmp_path: Path) -> None:
    value = {"images": 2, "rows": 2}
    assert answer(tmp_path / "a", value, npy(np.zeros((2, 3), np.float32)), CLASSIFIER) == value
    value = {"images": 2, "rows": 1}
    assert answer(tmp_path / "b", value, boxes((1, 0, 0, 5, 5, 0.5, 2)), DETECTOR) == value
    assert answer(tmp_path / "c", {"images": 2, "rows": 0}, boxes(), DETECTOR) == {"images": 2, "rows": 0}


@pytest.mark.parametrize(
    "outputs",
    [
        None, b"", b"PK\x03\x04" + b"x" * 100, npy(np.zeros((3, 2), np.float32)), npy(np.zeros((2, 3))),
        npy(np.zeros(6, np.float32)), npy(np.array([{}, {}])), npy(np.zeros((2, 3), np.float32))[:-1],
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 1000000), }"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (-2, 3), }", b"x" * 24),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (nan, 3), }", b"x" * 24),
        header("{'descr': '|O', 'fortran_order': False, 'shape': (2, 3), }", b"x" * 48),
        header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2, 3), }", b"x" * 24),
        header("(" * 9000), header("[" * 60000), header("__import__('os').abort()"),
    ],
    ids=range(16),
)  # fmt: skip
def test_outputs_that_are_none_are_refused(outputs: bytes | None, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=SENT):
        answer(tmp_path, {"images": 2, "rows": 2}, outputs, CLASSIFIER)


@pytest.mark.parametrize(
    "row",
    [
        (2, 0, 0, 5, 5, 0.5, 0), (-1, 0, 0, 5, 5, 0.5, 0), (0.5, 0, 0, 5, 5, 0.5, 0), (0, 0, 0, 5, 5, 0.5, 3),
        (0, 0, 0, 5, 5, 0.5, -1), (0, np.nan, 0, 5, 5, 0.5, 0), (0, 0, np.inf, 5, 5, 0.5, 0), (np.nan,) * 7,
    ],
)  # fmt: skip
def test_boxes_of_no_image_or_class_are_refused(row: tuple[float, ...], tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=f"{SENT}1 boxes that are none"):
        answer(tmp_path, {"images": 2, "rows": 2}, boxes((0, 0, 0, 5, 5, 0.5, 0), row), DETECTOR)


@pytest.mark.parametrize(
    "value",
    [
        None, 5, {}, {"images": 3, "rows": 2}, {"images": 2}, {"images": 2, "rows": 3},
        {"images": -2, "rows": 2}, {"images": 2, "rows": "2"}, {"images": 2, "rows": 2, "then": 1},
    ],
    ids=str,
)  # fmt: skip
def test_an_account_of_other_answers_is_refused(value: Any, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=SENT):
        answer(tmp_path, value, npy(np.zeros((2, 3), np.float32)), CLASSIFIER)


@pytest.mark.parametrize(
    "described",
    [
        b"", b"{}", b"[]", b"\xff", DESCRIBED.replace(b"4", b"-4"), DESCRIBED.replace(b'{"int8": 3}', b'"int8"'),
        DESCRIBED.replace(b"3", b"1e999"), DESCRIBED[:-1] + b', "more": "' + b"x" * 5000 + b'"}',
        DESCRIBED[:-1] + b', "more": ' + b"[" * 5000 + b"]" * 5000 + b"}", b" " * 2_000_000,
    ],
    ids=range(10),
)  # fmt: skip
def test_what_ran_is_said_in_bounds(described: bytes, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=SENT):
        answer(tmp_path, {"images": 2, "rows": 2}, npy(np.zeros((2, 3), np.float32)), CLASSIFIER, described)


SEEN = Observed(
    id="a", cold_starts_ms=(5.0,), image="8x8", warm_up=3, steady=True, parts_s={"runtime": 0.001},
    whole=Watched(samples="000.npy", rounds=(2, 3)),
)  # fmt: skip


def observe(folder: Path, seen: Any, samples: np.ndarray, frames: np.ndarray | None = None) -> list[Observed]:
    folder.mkdir(exist_ok=True)
    np.save(folder / "000.npy", samples)
    if frames is not None:
        np.save(folder / "000-camera.npy", frames)
    (folder / "observed.json").write_bytes(seen if isinstance(seen, bytes) else msgspec.json.encode([seen]))
    return answered.observed(folder, ["a"], "board")


def test_latencies_are_read(tmp_path: Path) -> None:
    times = np.full(5, 0.01)
    frames = np.array([0.01, np.nan, 0.02, 0.01])
    camera = Watched(samples="000-camera.npy", rounds=(4,))
    found = observe(tmp_path / "a", msgspec.structs.replace(SEEN, camera=camera), times, frames)
    assert timings(found, tmp_path / "a", rate_hz=30.0)["a"].latency
    failed = Observed(id="a", stage="load", reason="it crashed")
    assert observe(tmp_path / "b", failed, times) == [failed]


@pytest.mark.parametrize(
    "change",
    [
        {"id": "b"}, {"id": "x" * 9000}, {"image": "x" * 9000}, {"whole": None}, {"whole": None, "stage": "load"},
        {"whole": None, "stage": "elsewhere", "reason": "x"}, {"cold_starts_ms": ()}, {"cold_starts_ms": (-1.0,)},
        {"parts_s": {"__class__": 1.0}}, {"parts_s": {"runtime": -1.0}}, {"parts_s": {"runtime": 1e300}},
        {"warm_up": -1}, {"peak_memory_bytes": -1}, {"peak_memory_bytes": 10**400},
        *({"whole": Watched(samples=name, rounds=(2, 3))} for name in ("../000.npy", "/000.npy", "a/0.npy", "", "x")),
        *({"whole": Watched(samples="000.npy", rounds=rounds)} for rounds in ((), (2,), (2, 4), (5, 0), (-1, 6))),
        {"whole": Watched(samples="000.npy", rounds=(2, 3), watts=-1.0)},
        {"whole": Watched(samples="001.npy", rounds=(2, 3))},
        {"camera": Watched(samples="000.npy", rounds=(4,))},
    ],
    ids=lambda change: ", ".join(change),
)  # fmt: skip
def test_latencies_that_are_none_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    seen = {**msgspec.structs.asdict(SEEN), **change}
    (tmp_path / "000.npy").write_bytes(npy(np.full(5, 0.01)))  # what a name that climbs would reach
    with pytest.raises(IntegrityError, match=SENT):
        observe(tmp_path / "out", msgspec.json.encode([seen]), np.full(5, 0.01))


@pytest.mark.parametrize(
    "samples",
    [
        np.array([0.01, np.nan, 1, 1, 1]), np.array([0.01, np.inf, 1, 1, 1]), np.array([0.01, -1, 1, 1, 1]),
        np.array([0.01, 0, 1, 1, 1]), np.full((5, 1), 0.01), np.full(5, 0.01, np.float32), np.array(0.01),
        np.full(5, 1e9), np.full(5, 1),
    ],
    ids=range(9),
)  # fmt: skip
def test_samples_that_are_no_times_are_refused(samples: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=SENT):
        observe(tmp_path / "out", SEEN, samples)


@pytest.mark.parametrize("text", [b"", b"x", b"{}", b"[]", b"[1]", b"[[]]", b"[" * 10**5, b'[{"id": "a"}]', b"[{}]"])
def test_latencies_that_cannot_be_read_are_refused(text: bytes, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=SENT):
        observe(tmp_path / "out", text, np.full(5, 0.01))


def test_frames_without_one_answer_are_refused(tmp_path: Path) -> None:
    seen = msgspec.structs.replace(SEEN, camera=Watched(samples="000-camera.npy", rounds=(2,)))
    for frames in (np.full(2, np.nan), np.array([1.0, np.inf])):
        with pytest.raises(IntegrityError, match=f"{SENT}frame times of a"):
            observe(tmp_path / "out", seen, np.full(5, 0.01), frames)


def test_how_much_may_come_is_known_before() -> None:
    """So much as is asked for, and a little beside it."""
    classes = CLASSIFIER.with_task(classes=1000)
    assert 4_000_000 < answered.answer_bytes(classes, 1000) < 7_000_000
    assert 28 * 300 * 1000 < answered.answer_bytes(DETECTOR, 1000) < 28 * 300 * 1000 + 3_000_000
    assert answered.observed_bytes(Rules(max_duration_s=20.0), 2) < 500_000_000
