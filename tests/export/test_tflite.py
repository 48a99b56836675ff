"""TFLite files become ONNX with the same outputs; damaged, quantized and custom ones are refused with a reason."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgewright.core.errors import EdgewrightError, InvalidInput
from edgewright.export import exporter
from edgewright.export.sources import tflite, tflite_metadata
from edgewright.export.sources.parse import parse
from edgewright.graph import compare

from . import tflite_file

TOML = """[preprocess]
resize = "exact"
resize_to = [{size}, {size}]
divide = {divide}
"""


def write(folder: Path, content: bytes) -> str:
    path = folder / "net.tflite"
    path.write_bytes(content)
    return str(path)


def test_a_file_is_exported_with_the_outputs_of_openvino(tmp_path: Path) -> None:
    source = write(tmp_path, tflite_file.tflite())
    (tmp_path / "net.toml").write_text(TOML.format(size=8, divide=255.0))
    spec = exporter.export(source, tmp_path / "out", exporter.ExportRequest(batch=None))
    assert (spec.input.layout, spec.input.height, spec.classes, spec.outputs) == ("NHWC", 8, 5, ("scores",))
    notes = json.loads((tmp_path / "out" / exporter.PARITY).read_text())["notes"]
    assert any(note.startswith("Converted from TFLite. The outputs differ") for note in notes)


def test_labels_and_normalization_are_read_from_metadata(tmp_path: Path) -> None:
    content = tflite_file.tflite(metadata=tflite_file.metadata(127.5, 127.5))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("labels.txt", "a\nb\nc\nd\ne\n")
    spec = exporter.export(write(tmp_path, content + archive.getvalue()), tmp_path / "out")
    assert spec.labels == ("a", "b", "c", "d", "e")
    assert spec.preprocess.mean == spec.preprocess.std == (127.5,) * 3 and spec.preprocess.divide == 1
    assert spec.preprocess.resize == "exact" and spec.preprocess.resize_to == (8, 8)


def test_a_scale_without_a_shift_is_a_division() -> None:
    content = tflite_file.tflite(metadata=tflite_file.metadata(0, 255))
    assert tflite_metadata.read(content) == {"preprocess": {"divide": 255.0}}


def test_a_quantized_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is quantized") as caught:
        tflite.load(write(tmp_path, tflite_file.tflite(quantized=True)))
    assert "float" in caught.value.fix


def test_an_unknown_operator_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot convert to ONNX: Landmarks2TransformMatrix"):
        tflite.load(write(tmp_path, tflite_file.tflite(custom="Landmarks2TransformMatrix")))


@pytest.mark.parametrize("content", [b"", b"abc", b"\0" * 64, b"\xff\xff\xff\xffTFL3" + b"\0" * 64, b"PK\x03\x04" * 9])
def test_other_files_are_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not a valid TFLite model"):
        tflite.load(write(tmp_path, content))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="There is no file"):
        tflite.load(str(tmp_path / "none.tflite"))


def test_it_is_a_source_and_takes_no_options() -> None:
    found = parse("some/net.tflite")
    assert found.kind == "tflite" and found.is_graph
    with pytest.raises(EdgewrightError, match="was given with options"):
        exporter.export("some/net.tflite?width=2", "out")


FUZZ = """
import sys, numpy as np
from pathlib import Path
from edgewright.core.errors import EdgewrightError
from edgewright.export.sources import tflite
content, folder = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
for seed in range(int(sys.argv[3]), int(sys.argv[4])):
    random = np.random.default_rng(seed)
    data = bytearray(content[: int(random.integers(64, len(content)))] if seed % 3 == 0 else content)
    for at in random.integers(8, len(data), 8 if seed % 3 else 0):
        data[at] = int(random.integers(0, 256))
    (folder / "f.tflite").write_bytes(bytes(data))
    print(seed, end=" ", flush=True)
    try:
        tflite.load(str(folder / "f.tflite"))
    except EdgewrightError as error:
        print(type(error).__name__, error.what[:60].replace(chr(10), " "), flush=True)
    else:
        print("converted", flush=True)
"""


def test_damaged_files_end_in_an_error_or_with_the_child(tmp_path: Path) -> None:
    """OpenVINO may crash on a damaged file, as the child does that reads it; Python's errors are all ours."""
    source = write(tmp_path, tflite_file.tflite())
    first, crashes = 0, 0
    while first < 40 and crashes < 20:
        done = subprocess.run(
            [sys.executable, "-c", FUZZ, source, str(tmp_path), str(first), "40"],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stdout + done.stderr
        first = int(done.stdout.splitlines()[-1].split()[0]) + 1
        crashes += done.returncode != 0
        assert done.returncode <= 0
    assert first >= 40


def right(zoo: Path, name: str, images: list[tuple[Path, int]], side: int, divide: float) -> float:
    """The share of `images`, with their classes, that the model `name` answers right."""
    model, _, _ = tflite.load(str(zoo / "weights" / f"{name}.tflite"))
    opened = (Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BILINEAR) for path, _ in images)
    x = np.stack([np.asarray(image, np.float32) / np.float32(divide) for image in opened])
    (scores,) = compare.answers(model, [[one] for one in x], [model.graph.output[0].name])
    found = scores.argmax(1)
    return float((found == [label for _, label in images]).mean())


@pytest.mark.zoo
def test_resnet8_keeps_its_accuracy(zoo: Path) -> None:
    folders = sorted((zoo / "cifar10" / "test").iterdir())
    images = [(path, number) for number, folder in enumerate(folders) for path in sorted(folder.iterdir())[::3]]
    found = right(zoo, "mlperf_tiny_cifar10_resnet8_float", images, 32, 1.0)
    print(found)
    assert found >= 0.73


@pytest.mark.zoo
def test_visual_wake_words_keeps_its_accuracy(zoo: Path) -> None:
    """A photo shows a person if one covers more than 0.5% of it."""
    table = json.loads((zoo / "coco-val" / "instances.json").read_text())
    person = next(one["id"] for one in table["categories"] if one["name"] == "person")
    images = []
    for one in table["images"]:
        share = [a["area"] for a in table["annotations"] if a["image_id"] == one["id"] and a["category_id"] == person]
        path = next((zoo / "coco-val").rglob(one["file_name"]))
        images.append((path, int(max(share, default=0) > 0.005 * one["width"] * one["height"])))
    found = right(zoo, "mlperf_tiny_vww_mobilenetv1_025_96_float", images, 96, 255.0)
    print(found)
    assert found >= 0.80
