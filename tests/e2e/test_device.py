"""What runs on a device: Python 3.10, the wheel, the core dependencies and one runtime, nothing else."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgewright import api
from edgewright.core import statistics
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.data import digits as data
from edgewright.graph import metadata
from edgewright.quantize.quantize import QuantizeRequest, quantize
from edgewright.runtimes import artifact, bundle
from edgewright.targets.detect import this_machine
from edgewright.tasks.classify.spec import Classify
from edgewright.vision.preprocess import batch

pytestmark = pytest.mark.xdist_group("device")  # one environment for all
ROOT = Path(__file__).parents[2]
NOT_ON_A_DEVICE = ("torch", "torchvision", "timm", "onnx", "onnxslim", "nncf", "scipy", "filelock", "platformdirs")

CLASSIFY = """
import json, sys
import edgewright
import numpy
from PIL import Image

bundle, photo = sys.argv[1:]
with edgewright.open(bundle) as session:
    picture = Image.open(photo)
    answers = [session(photo), session(open(photo, "rb").read()), session(picture), session(numpy.asarray(picture))]
    answers += session([photo, picture])
print(json.dumps({
    "python": sys.version_info[:2],
    "labels": [answer.label for answer in answers],
    "score": answers[0].score,
    "modules": sorted({name.partition(".")[0] for name in sys.modules}),
    "home": edgewright.__file__,
}))
"""


RAW = """
import json, sys, warnings
import numpy
import edgewright, onnxruntime
from edgewright.runtimes import kernels
from edgewright.vision.preprocess import batch

bundle, out, guard, *images = sys.argv[1:]
wrong = len(kernels.wrong_layers())
if guard == "off":
    kernels.wrong_layers = lambda: ()
elif guard == "as if wrong":
    kernels.wrong_layers = lambda: kernels.LAYERS[:1]
warnings.simplefilter("ignore", RuntimeWarning)
with edgewright.open(bundle) as session:
    answers = [session.run(batch([image], session.spec))[0].ravel() for image in images]
    described = session.describe()
numpy.save(out, numpy.stack(answers))
print(json.dumps({"wrong": wrong, "onnxruntime": onnxruntime.__version__, "described": described}))
"""
"""Raw outputs of a bundle, with the guard against wrong INT8 kernels as it is, off, or as if kernels were wrong."""


def interpreter() -> str | None:
    """A Python 3.10 that starts: on the PATH, or among pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    named = shutil.which("python3.10")
    for candidate in ([named] if named else []) + [str(p) for p in pyenv.glob("versions/3.10.*/bin/python")]:
        # A shim of pyenv exists for versions that are not switched on, and fails.
        if subprocess.run([candidate, "-c", "import venv"], capture_output=True).returncode == 0:
            return candidate
    return None


def done(*command: str | Path, **options: object) -> str:
    """The output of a command that must succeed; fails the test with all that it said."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV", "PYENV_VERSION")}
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=env, **options)  # type: ignore[call-overload]
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return str(result.stdout)


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment with the wheel of this checkout and ONNX Runtime."""
    python = interpreter()
    if python is None:
        pytest.skip("no Python 3.10 on the PATH or under pyenv: the device's environment cannot be made")
    home = tmp_path_factory.mktemp("device")
    # Built from a copy: setuptools leaves build/ and *.egg-info in the folder that it builds.
    unwanted = shutil.ignore_patterns(".*", "build", "dist", "tests", "docs", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, home / "checkout", symlinks=True, ignore=unwanted)
    done(sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", home, home / "checkout")
    (wheel,) = home.glob("*.whl")
    done(python, "-m", "venv", home / "env")
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    inside = home / "env/bin/python"
    install = [uv, "pip", "install", "-p", str(inside)] if uv else [str(inside), "-m", "pip", "install"]
    done(*install, "-q", f"{wheel}[onnxruntime]")
    return inside


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that names the strongest colour channel."""
    folder = tmp_path_factory.mktemp("bundle")
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["images"], ["means"]),
            helper.make_node("Flatten", ["means"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        ],
        "colors",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(np.eye(3, dtype=np.float32) * 5, "weights")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), folder / "model.onnx")
    spec = ModelSpec(
        name="colors",
        inputs=(Input(height=32, width=32, preprocess=Preprocess(resize="exact", resize_to=(32, 32))),),
        task=Classify(classes=3, labels=("red", "green", "blue")),
    )
    artifact.build(folder / "model.onnx", spec, {"runtime": "onnxruntime"}, folder / "artifact")
    bundle.write(folder / "artifact", folder / "colors.edge", name="colors", provenance={})
    return folder / "colors.edge"


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("photos") / "sea.jpg"
    Image.new("RGB", (64, 48), (10, 20, 230)).save(file)
    return file


def test_a_bundle_answers_without_torch(device: Path, edge: Path, photo: Path, tmp_path: Path) -> None:
    said = json.loads(done(device, "-c", CLASSIFY, edge, photo, cwd=tmp_path))
    assert said["python"] == [3, 10]
    assert str(device.parents[1]) in said["home"], "the checkout was imported, not the wheel"
    assert said["labels"] == ["blue"] * 6
    assert 0.9 < said["score"] < 1
    assert not set(NOT_ON_A_DEVICE) & set(said["modules"])


def test_the_command_answers_too(device: Path, edge: Path, photo: Path, tmp_path: Path) -> None:
    assert "blue" in done(device.with_name("edgewright"), "run", edge, photo, cwd=tmp_path)


def test_every_target_can_be_read(device: Path, tmp_path: Path) -> None:
    code = "from edgewright.targets import catalogue as c; print(*[c.load(name).name for name in c.names()])"
    assert "raspberry-pi-5" in done(device, "-c", code, cwd=tmp_path)


def test_a_missing_runtime_is_named_with_its_extra(device: Path, tmp_path: Path) -> None:
    code = "from edgewright.runtimes import openvino; print(openvino.probe().why)"
    assert "pip install 'edgewright[openvino]'" in done(device, "-c", code, cwd=tmp_path)


class Answers(NamedTuple):
    """What one environment answered: raw outputs (images, scores), and its account of itself."""

    scores: np.ndarray
    about: dict[str, Any]


def ask(python: Path | str, bundle: Path, images: list[str], folder: Path, guard: str = "on") -> Answers:
    out = folder / f"{Path(python).parts[-4]}-{guard}.npy"
    about = json.loads(done(python, "-c", RAW, bundle, out, guard, *images, cwd=folder))
    return Answers(np.load(out), about)


def require_alike(found: Answers, today: Answers, least_db: float) -> None:
    """Answers of two forms of the same INT8 graph: values between two steps of a grid fall to either side."""
    assert (found.scores.argmax(1) == today.scores.argmax(1)).mean() >= 0.95
    assert statistics.sqnr_db(found.scores, today.scores) >= least_db


def compare_int8(device: Path, bundle: Path, images: list[str], folder: Path) -> None:
    """The bundle answers the same on the device's newest wheels: to the bit where both run it in INT8 kernels."""
    today, there = ask(sys.executable, bundle, images, folder), ask(device, bundle, images, folder)
    if there.about["wrong"]:
        assert "unfused" in there.about["described"] and "int8" not in there.about["described"]["layers"]
        require_alike(there, today, 18)
    else:
        assert there.about["described"]["layers"] == today.about["described"]["layers"]
        np.testing.assert_array_equal(there.scores, today.scores)
    unfused = ask(device, bundle, images, folder, "as if wrong")
    assert "int8" not in unfused.about["described"]["layers"]
    require_alike(unfused, today, 18)
    equal, near = (there.scores == today.scores).all(), statistics.sqnr_db(unfused.scores, today.scores)
    print(f"{bundle.name}: onnxruntime {there.about['onnxruntime']}, {there.about['wrong']} layers wrong there,")
    print(f"    equal to the bit: {equal}; computed unfused: {near:.1f} dB")


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], list[int]]:
    """An INT8 bundle for digits, with its test images and their digits.

    Convolutions of shapes that ONNX Runtime 1.22 to 1.24 computes wrongly on AMX; the classifier is fitted.
    """
    folder = tmp_path_factory.mktemp("digits")
    data.write(folder / "data")
    places = {split: sorted((folder / "data" / split).rglob("*.png")) for split in ("train", "calib", "test")}
    train, labels = places["train"][::2], [int(path.parent.name) for path in places["train"][::2]]
    features = network(folder / "features.onnx")
    session = ort.InferenceSession(str(features), providers=["CPUExecutionProvider"])
    rows = np.concatenate([session.run(None, {"images": batch([str(path)], DIGITS)})[0] for path in train])
    rows = np.concatenate([rows, np.ones((len(rows), 1), np.float32)], 1).astype(np.float64)
    fitted = np.linalg.solve(rows.T @ rows + 0.1 * np.eye(rows.shape[1]), rows.T @ (10 * np.eye(10)[labels] - 1))
    model = network(folder / "model.onnx", fitted.astype(np.float32))
    request = QuantizeRequest(model=str(model), images=list(map(str, places["calib"])))
    quantize(request, "ort-x86-vnni", "minmax", str(folder))
    artifact.build(folder / "model.onnx", DIGITS, {"runtime": "onnxruntime"}, folder / "artifact")
    bundle.write(folder / "artifact", folder / "digits.edge", name="digits", provenance={})
    return folder / "digits.edge", list(map(str, places["test"])), [int(p.parent.name) for p in places["test"]]


DIGITS = ModelSpec(
    name="digits",
    inputs=(
        Input(
            height=16,
            width=16,
            preprocess=Preprocess(resize="exact", resize_to=(16, 16), mean=(0.3,) * 3, std=(0.4,) * 3),
        ),
    ),
    task=Classify(classes=10, labels=tuple("0123456789")),
)


def network(path: Path, head: np.ndarray | None = None) -> Path:
    """Random convolutions to 24, 28 and 56 channels, and where it is given a classifier of (features + 1, 10)."""
    rng = np.random.default_rng(0)
    shapes = {"a": (24, 3, 3, 3), "b": (28, 24, 3, 3), "c": (28, 1, 3, 3), "d": (56, 28, 1, 1)}
    tensors = {name: rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape) for name, shape in shapes.items()}
    nodes, last = [], "images"
    for name, shape in shapes.items():
        how = {
            "pads": [shape[-1] // 2] * 4,
            "group": 28 if name == "c" else 1,
            "strides": [2 if name == "b" else 1] * 2,
        }
        nodes += [helper.make_node("Conv", [last, name], [f"{name}1"], f"conv_{name}", **how)]
        nodes += [helper.make_node("Relu", [f"{name}1"], [f"{name}2"], f"relu_{name}")]
        last = f"{name}2"
    nodes += [
        helper.make_node("AveragePool", [last], ["means"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["means"], ["features" if head is None else "flat"], "flat"),
    ]
    if head is not None:
        tensors |= {"w": head[:-1].T, "bias": head[-1]}
        nodes.append(helper.make_node("Gemm", ["flat", "w", "bias"], ["features"], "head", transB=1))
    graph = helper.make_graph(
        nodes, "digits", [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [1, 896 if head is None else 10])],
        [numpy_helper.from_array(np.ascontiguousarray(v, np.float32), name) for name, v in tensors.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    metadata.set_spec(model, DIGITS)
    onnx.save(model, path)
    return path


def test_an_int8_bundle_of_todays_versions_answers_the_same(
    device: Path, digits: tuple[Path, list[str], list[int]], tmp_path: Path
) -> None:
    edge, images, labels = digits
    today = ask(sys.executable, edge, images, tmp_path)
    assert (today.scores.argmax(1) == labels).mean() > 0.9, "a classifier that knows its images"
    assert today.about["described"]["layers"]["int8"] == 5
    compare_int8(device, edge, images, tmp_path)


def test_without_the_guard_wrong_int8_kernels_are_seen(
    device: Path, digits: tuple[Path, list[str], list[int]], tmp_path: Path
) -> None:
    edge, images, _ = digits
    bare = ask(device, edge, images, tmp_path, "off")
    if not bare.about["wrong"]:
        pytest.skip(f"onnxruntime {bare.about['onnxruntime']} computes INT8 rightly on {this_machine().model}")
    today = ask(sys.executable, edge, images, tmp_path)
    assert statistics.sqnr_db(bare.scores, today.scores) < 18, "wrong kernels must be seen in the answers"


@pytest.mark.zoo
@pytest.mark.parametrize("name", ["mobilenetv1_075", pytest.param("squeezenet1_1", marks=pytest.mark.slow)])
def test_int8_bundles_of_the_zoo_answer_the_same(device: Path, zoo: Path, tmp_path: Path, name: str) -> None:
    case = runpy.run_path(str(ROOT / "tests/zoo/test_main_job.py"))["CASES"][name]
    edge, images = tmp_path / f"{name}.edge", zoo / case.data
    api.export(
        case.source, out=tmp_path / "float.onnx", checkpoint=zoo / "weights" / case.checkpoint, data=images,
        spec=ROOT / "tests/zoo/specs" / f"{case.spec}.toml",
    )  # fmt: skip
    api.quantize(
        tmp_path / "float.onnx", calibration=images, out=tmp_path / "int8.onnx", scheme="ort-x86-vnni",
        method="minmax", num_images=64,
    )  # fmt: skip
    api.compile(tmp_path / "int8.onnx", out=edge, runtime="onnxruntime")
    compare_int8(device, edge, sorted(map(str, (images / "images").iterdir()))[:60], tmp_path)


def test_nothing_generic_lands_in_site_packages(device: Path, tmp_path: Path) -> None:
    code = "import importlib.metadata as m; print(m.distribution('edgewright').read_text('top_level.txt'))"
    assert done(device, "-c", code, cwd=tmp_path).split() == ["edgewright"]
