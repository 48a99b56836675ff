"""Files that schema 1 wrote (tests/golden/v1, see its README) still load, and mean what they meant.

Behaviour is checked, not fields: answers of bundles, exit codes, figures of a report that is rendered again.
"""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

import edgewright
from edgewright.bench import report_json
from edgewright.cli.main import run_command
from edgewright.core.errors import IntegrityError
from edgewright.core.spec import METADATA_KEY, ModelSpec, decode, encode
from edgewright.graph.metadata import get_spec
from edgewright.tasks.scores import unpack

V1 = Path(__file__).parent.parent / "golden" / "v1"
ANSWERS = json.loads((V1 / "answers.json").read_bytes())
CLASSIFIERS = ("colours", "tags")
DETECTORS = {
    "digits": "dfl", "faces": "anchors", "parts": "boxes", "signs": "set", "squares": "yolox",
}  # fmt: skip
MODELS = (*CLASSIFIERS, *DETECTORS)

SPECS: dict[str, dict[str, Any]] = {
    "colours": {
        "task": "classify", "classes": 3, "labels": ["red", "green", "blue"], "resize": "shorter",
        "resize_to": [18, 18], "crop": [16, 16], "interpolation": "bicubic", "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225], "divide": 255.0, "color": "RGB", "scores": "softmax", "outputs": ["logits"],
    },
    "tags": {
        "task": "classify", "classes": 4, "resize": "exact", "resize_to": [12, 20], "interpolation": "lanczos",
        "mean": [100.0], "std": [50.0], "divide": 1.0, "color": "L", "exif": "apply", "scores": "sigmoid", "top": 2,
        "channels": 1, "height": 12, "width": 20,
    },
    "parts": {
        "task": "detect", "decoder": "boxes", "classes": 3, "labels": ["nut", "bolt", "washer"], "resize": "letterbox",
        "resize_to": [32, 48], "align": "center", "pad": [100, 110, 120], "mean": [0.1, 0.2, 0.3],
        "std": [0.9, 0.8, 0.7], "transposed": True, "score": 0.3, "iou": 0.6, "multi_label": True, "most": 20,
    },
    "digits": {
        "task": "detect", "decoder": "dfl", "classes": 2, "labels": ["even", "odd"], "resize": "letterbox",
        "interpolation": "opencv", "color": "BGR", "strides": [8, 16], "bins": 4, "score": 0.4, "iou": 0.5,
        "multi_label_eval": True,
    },
    "faces": {
        "task": "detect", "decoder": "anchors", "classes": 3, "labels": ["background", "face", "mask"],
        "outputs": ["classes", "deltas"], "mean": [127.0, 127.0, 127.0], "std": [128.0, 128.0, 128.0], "divide": 1.0,
        "coding": [10.0, 10.0, 5.0, 5.0], "offset": 0.5, "score": 0.5, "iou": 0.45, "rows": 2, "columns": 3,
        "step": [16.0, 16.0], "sizes": [[12.0, 12.0], [18.0, 10.0]],
    },
    "signs": {
        "task": "detect", "decoder": "set", "classes": 4, "resize": "exact", "interpolation": "bilinear", "iou": 1.0,
        "score": 0.35, "most": 5,
    },
    "squares": {
        "task": "detect", "decoder": "yolox", "classes": 2, "labels": ["red", "blue"], "resize": "letterbox",
        "align": "corner", "pad": 0, "strides": [16], "score": 0.3, "iou": 0.5,
    },
}  # fmt: skip


def values(content: Any, key: str) -> list[Any]:
    """All that stands under `key` anywhere in `content`: where it stands is the schema's affair."""
    if isinstance(content, list):
        return [found for one in content for found in values(one, key)]
    if not isinstance(content, dict):
        return []
    own = [content[key]] if key in content else []
    return own + [found for one in content.values() for found in values(one, key)]


def meaning(spec: ModelSpec | None) -> dict[str, Any]:
    """What `spec` says, without where the model came from and which schema it is written in."""
    assert spec is not None
    said = json.loads(encode(spec))
    return {key: value for key, value in said.items() if key not in ("source", "schema_version")}


def read_spec(name: str) -> ModelSpec:
    return decode((V1 / "specs" / f"{name}.json").read_bytes(), ModelSpec, name)


def answers(bundle: Path, image: str) -> list[Any]:
    with edgewright.open(bundle) as session:
        answer = session(V1 / "images" / image)
    if hasattr(answer, "top"):
        return [[one.index, one.label, one.score] for one in answer.top]
    return [[one.index, one.label, one.score, list(one.box)] for one in answer]


def check(bundle: Path, expected: str, within: float = 1e-3) -> None:
    """`bundle` gives the answers that the golden bundle `expected` gave when it was written."""
    for image, wanted in ANSWERS["bundles"][f"{expected}.edge"].items():
        found = answers(bundle, image)
        assert [one[:2] for one in found] == [one[:2] for one in wanted], image
        assert [one[2] for one in found] == pytest.approx([one[2] for one in wanted], abs=within), image
        for one, other in zip(found, wanted):
            assert one[3:] == [pytest.approx(box, abs=0.05) for box in other[3:]], image


def run(capfd: pytest.CaptureFixture[str], *words: object, code: int = 0) -> str:
    """What the command printed, on one line each and without the breaks of a terminal."""
    capfd.readouterr()
    got = run_command([str(word) for word in words])
    text = capfd.readouterr()
    assert got == code, text.out + text.err
    return text.out


def row(markdown: str, id: str) -> str:
    """The line of a report's table that is about `id`."""
    return next(line for line in markdown.splitlines() if line.startswith("|") and f" {id} " in line.replace("**", " "))


# --- specs, in JSON and in ONNX files


@pytest.mark.parametrize("name", MODELS)
def test_a_spec_says_what_it_said(name: str) -> None:
    spec = read_spec(name)
    said = json.loads(encode(spec))
    assert spec.task.kind == SPECS[name]["task"]
    for key, value in SPECS[name].items():
        assert key == "task" or value in values(said, key), f"{key}: {values(said, key)}"
    labels = SPECS[name].get("labels") or [str(k) for k in range(SPECS[name]["classes"])]
    assert spec.name == name and [spec.label(k) for k in range(len(labels))] == labels
    assert decode(encode(spec), ModelSpec, name) == spec


@pytest.mark.parametrize("name", MODELS)
def test_an_onnx_file_holds_the_same_spec(name: str) -> None:
    model = onnx.load(V1 / "models" / f"{name}.onnx")
    assert METADATA_KEY in {entry.key for entry in model.metadata_props}
    assert get_spec(model) == read_spec(name)


@pytest.mark.parametrize("name", ["colours.int8", "digits"])
def test_an_onnx_file_compiles_to_the_same_answers(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new.edge"
    run(capfd, "compile", V1 / "models" / f"{name}.onnx", "--runtime", "onnxruntime", "-o", out)
    check(out, name.replace(".", "-"), 0.02 if "int8" in name else 1e-3)


# --- what a user wrote


@pytest.mark.parametrize("name", ["colours", "tags", "faces", "squares"])
def test_a_users_description_still_describes(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model, out = tmp_path / "new.onnx", tmp_path / "new.edge"
    said = run(capfd, "export", V1 / "user" / f"{name}.onnx", "-o", model)
    assert "cosine 1" in said
    assert meaning(get_spec(onnx.load(model))) == meaning(read_spec(name))
    if name in ("colours", "squares"):
        run(capfd, "compile", model, "--runtime", "onnxruntime", "-o", out)
        check(out, name)


def test_a_users_board_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    words = " ".join(run(capfd, "targets", "show", V1 / "user" / "board.toml").split())
    for said in ("my-board", "A board of our own (4 x Cortex-A72, 2 GiB)", "aarch64", "2.0 GiB", "ort-arm", "f32, f16"):
        assert said in words


def test_a_users_recipe_and_board_still_guide_a_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    for split in ("calib", "val"):
        for label, colour in enumerate(("red", "green", "blue")):
            folder = tmp_path / "photos" / split / colour
            folder.mkdir(parents=True)
            for number in range(3):
                pixels = random.integers(0, 120, (20, 24, 3), dtype=np.uint8)
                pixels[:, :, label] += 100
                Image.fromarray(pixels).save(folder / f"{number}.png")
    out, user = tmp_path / "out", V1 / "user"
    run(
        capfd, "optimize", user / "colours.onnx", "--data", tmp_path / "photos", "--recipe", user / "recipe.toml",
        "--target", user / "board.toml", "-o", out,
    )  # fmt: skip
    text = (out / "report.md").read_text()
    assert "colours for A board of our own (4 x Cortex-A72, 2 GiB)" in text
    built = [line for line in text.splitlines() if line.startswith("| :package:")]
    assert len(built) == 1 and "onnxruntime-f32" in built[0], "one runtime, one precision, no INT8"
    assert "Evaluated on 9 images" in text and "Calibrated on 6 other images" in text


# --- bundles


@pytest.mark.parametrize("name", [*MODELS, "colours-int8", "colours-uint8"])
def test_a_bundle_answers_as_it_did(name: str) -> None:
    check(V1 / "bundles" / f"{name}.edge", name, 0.02 if "int8" in name else 1e-3)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("colours", ("classify", "3 classes", "16x16", "onnxruntime", "f32")),
        ("colours-int8", ("classify", "3 classes", "16x16", "onnxruntime", "int8")),
        ("colours-uint8", ("classify", "uint8", "onnxruntime")),
        ("faces", ("detect", "3 classes", "32x48", "onnxruntime", "f32")),
    ],
)
def test_a_bundle_is_inspected_and_verified(
    name: str, words: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    bundle = V1 / "bundles" / f"{name}.edge"
    shown = run(capfd, "bundle", "inspect", bundle)
    assert all(word in shown for word in (name.partition("-")[0], *words)), shown
    assert "2 files" in " ".join(run(capfd, "bundle", "verify", bundle).split())


def test_a_damaged_bundle_is_still_found(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bundle = tmp_path / "damaged.edge"
    shutil.copytree(V1 / "bundles" / "colours.edge", bundle)
    content = bytearray((bundle / "model.onnx").read_bytes())
    content[200] ^= 1
    (bundle / "model.onnx").write_bytes(content)
    run(capfd, "bundle", "verify", bundle, code=4)
    with pytest.raises(IntegrityError):
        edgewright.open(bundle)


def test_run_tells_what_it_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    photo, scene = V1 / "images" / "red.png", V1 / "images" / "scene.png"
    assert "red 98.6%" in run(capfd, "run", V1 / "bundles" / "colours.edge", photo)
    drawn = tmp_path / "drawn"
    shown = run(capfd, "run", V1 / "bundles" / "squares.edge", scene, "--save-images", drawn)
    assert "3 objects" in shown and shown.count("99.9%") == 3
    assert Image.open(next(drawn.iterdir())).size == (128, 64)


# --- reports

ROWS: dict[str, dict[str, tuple[str, ...]]] = {
    "digits": {
        "openvino-int8-bf16-vnni-minmax+uint8": (":star:", "99.00", "0.00 [−0.54, +0.54]", "~0.38", "41.3x", "5.2 MB"),
        "openvino-f32": ("99.00", "not worse", "100.0", "~1.32", "5.26", "12.0x", "19.8 MB", "168 MB"),
        "onnxruntime-int8-x86-vnni-minmax": ("99.00", "~0.67", "23.6x", "5.0 MB"),
    },
    "scenes": {
        "onnxruntime-int8-x86-vnni-minmax": (
            ":star:", "70.30", "−0.52 [−1.21, +0.18]", "inconclusive", "100.0", "32.4x",
        ),
        "onnxruntime-f32": ("70.83", "0.00 [0.00, 0.00]", "not worse", "~18.3", "10.4 MB"),
    },
    "bench": {
        "colours": (":star:", "98.33", "0.00 [−4.31, +4.31]", "inconclusive", "~0.18", "4.7 kB"),
        "colours-int8": ("98.33", "6.6 kB"),
        "worse": ("91.67", "−6.67 [−14.04, −1.67]", "worse", "91.7"),
    },
    "worse": {"worse": (":star:", "91.67")},
    "jetson": {"tensorrt-f32": (":package:", "100.00", "0.00 [0.00, 0.00]")},
    "board": {"onnxruntime-f32": (":package:", "built")},
}  # fmt: skip
SAID: dict[str, tuple[str, ...]] = {
    "digits": (
        "digits for AMD EPYC, 2 cores", "top1 &gt;= -1.0: 0.00 points, met", "At 60 frames a second",
        "no CUDA GPU", "10 classes are numbers",
        "Evaluated on 500 images of digits test",
        "None of 64 calibration images is among the 500 evaluation images", "Calibrated on 64 other images",
    ),
    "scenes": (
        "map &gt;= -1.0: −0.52 points, met", "confidence &lt;= 0.02: 0.004, met", "calibration-few",
        "32 different calibration images are few", "Evaluated on 60 images of scenes test", "mAP",
    ),
    "bench": (
        "agreement &gt;= 98%: 100.00%, met", "p90 &lt;= 500ms: 0.208 ms, met", "size &lt;= 1MB: 4.7 kB, met",
        "At 50 frames a second", "Evaluated on 60 images of photos val",
    ),
    "worse": ("top1 &gt;= -1.0: 0.00 points, met",),
    "jetson": (
        "Built for NVIDIA Jetson Orin Nano, 8 GB, not measured", "Accuracy is emulated",
        "Evaluated on 40 images of val",
    ),
    "board": ("Built for A board of our own (4 x Cortex-A72, 2 GiB), not measured",),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_a_report_shows_the_same_figures(name: str, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "report.md"
    run(capfd, "report", V1 / "reports" / f"{name}.json", "-o", out)
    text = out.read_text()
    for id, figures in ROWS[name].items():
        line = row(text, id)
        assert all(figure in line for figure in figures), line
    assert [said for said in SAID[name] if said not in text.replace("\\", "")] == [], text


@pytest.mark.parametrize("name", ROWS)
def test_a_report_is_read_and_written_whole(name: str, tmp_path: Path) -> None:
    report = report_json.read(V1 / "reports" / f"{name}.json")
    again = tmp_path / "again.json"
    report_json.write(report, again)
    assert report_json.read(again) == report
    old, new = json.loads((V1 / "reports" / f"{name}.json").read_bytes()), json.loads(again.read_bytes())
    assert new["choice"] == old["choice"] and new["budget"] == old["budget"]
    assert [one["id"] for one in new["measurements"]] == [one["id"] for one in old["measurements"]]
    # Per-image results are what a gate pairs: none may get lost, wherever they stand.
    assert all(found in again.read_text() for found in values(old, "contributions"))
    images = [unpack(found) for found in values(new, "contributions")]
    for bits in map(base64.b64decode, values(old, "right")):
        right = np.unpackbits(np.frombuffer(bits, np.uint8)).astype(bool)
        assert any(np.array_equal(found > 0, right[: len(found)]) for found in images)


@pytest.mark.parametrize("name", ["digits", "scenes"])
def test_a_report_becomes_a_page(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "report.html"
    run(capfd, "report", V1 / "reports" / f"{name}.json", "-o", page)
    text = page.read_text()
    assert "<html" in text and all(id in text for id in ROWS[name])


# --- the gate: (report, more words) -> exit code and what it says

GATES: tuple[tuple[str, tuple[str, ...], int, tuple[str, ...]], ...] = (
    ("digits", (), 0, ("top1 >= -1.0: 0.00 points, met", "passed")),
    ("digits", ("--budget", "top1 >= 99.5%"), 1, ("99.00", "failed")),
    ("digits", ("--baseline", "digits", "--compare", "accuracy"), 0, ("99.00 -> 99.00", "500 images", "passed")),
    ("scenes", (), 0, ("map >= -1.0: −0.52 points, met", "confidence <= 0.02: 0.004, met", "passed")),
    ("scenes", ("--budget", "map >= 99%"), 1, ("70.30", "missed by 28.70%", "failed")),
    ("scenes", ("--baseline", "scenes", "--compare", "accuracy"), 0, ("70.30 -> 70.30", "60 images", "passed")),
    ("scenes", ("--budget", "p50 <= 1ms"), 1, ("12.3 ms", "81.5 %")),
    ("bench", ("--baseline", "bench"), 9, ("98.33 -> 98.33", "60 images", "not compared: latency", "49.7 %")),
    ("worse", ("--baseline", "bench"), 1, ("98.33 -> 91.67", "-1.67 points", "60 images", "failed")),
    ("digits", ("--baseline", "scenes"), 9, ("different models", "not compared")),
)


@pytest.mark.parametrize(("name", "more", "code", "words"), GATES)
def test_a_gate_decides_as_it_did(
    name: str, more: tuple[str, ...], code: int, words: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    reports = V1 / "reports"
    options = [reports / f"{word}.json" if before == "--baseline" else word for before, word in zip(("", *more), more)]
    shown = " ".join(run(capfd, "gate", reports / f"{name}.json", *options, code=code).split())
    assert all(word in shown for word in words), shown


# --- pruned and distilled models


PIXELS = np.linspace(-1, 1, 3 * 32 * 32, dtype=np.float32).reshape(1, 3, 32, 32)


def test_a_pruned_model_is_still_a_source(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Its layers are narrower, and the plan says how images are prepared and what the classes are called."""
    import onnxruntime

    out = tmp_path / "pruned.onnx"
    assert "top1_agreement 1" in run(capfd, "export", V1 / "plans" / "pruned", "-o", out)
    spec = get_spec(onnx.load(out))
    assert spec is not None
    assert [spec.label(k) for k in range(3)] == ["red", "green", "blue"]
    said = meaning(spec)
    for key, value in {
        "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3], "resize_to": [36, 36], "crop": [32, 32],
        "interpolation": "bicubic", "exif": "ignore", "scores": "softmax",
    }.items():  # fmt: skip
        assert value in values(said, key), key
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {session.get_inputs()[0].name: PIXELS})
    assert logits[0].tolist() == pytest.approx(ANSWERS["plans"]["pruned"], abs=1e-3)


def test_a_distilled_model_is_still_a_source() -> None:
    """A block is gone that its student's plan took out. Not exported, as `pruned` is: that takes seconds."""
    import torch

    from edgewright.export.sources import trainable
    from edgewright.export.sources.parse import parse

    module = trainable(parse(str(V1 / "plans" / "distilled"))).module.eval()
    with torch.inference_mode():
        logits = module(torch.from_numpy(PIXELS))
    assert logits[0].tolist() == pytest.approx(ANSWERS["plans"]["distilled"], abs=1e-3)


# --- sensitivity: nothing reads it again, so its shape is all there is to keep


def test_the_table_of_layers_has_what_its_page_shows() -> None:
    from edgewright.bench import results

    found = decode((V1 / "sensitivity.json").read_bytes(), results.Sensitivity, "sensitivity.json")
    assert found.id == "onnxruntime-int8-x86-vnni-minmax" and found.float_id == "onnxruntime-f32"
    assert found.whole.sqnr_db == 35.055
    assert [part.layers for part in found.layers] == [("conv",), ("head",)]
