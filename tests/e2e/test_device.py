"""What runs on a device: Python 3.10, the wheel, the core dependencies and one runtime, nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.runtimes import artifact, bundle

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
        input=Input(height=32, width=32),
        preprocess=Preprocess(resize="exact", resize_to=(32, 32)),
        classes=3,
        labels=("red", "green", "blue"),
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
    code = "from edgewright.targets import target; print(*[target.load(name).name for name in target.names()])"
    assert "raspberry-pi-5" in done(device, "-c", code, cwd=tmp_path)


def test_a_missing_runtime_is_named_with_its_extra(device: Path, tmp_path: Path) -> None:
    code = "from edgewright.runtimes import openvino; print(openvino.probe().why)"
    assert "pip install 'edgewright[openvino]'" in done(device, "-c", code, cwd=tmp_path)


def test_nothing_generic_lands_in_site_packages(device: Path, tmp_path: Path) -> None:
    code = "import importlib.metadata as m; print(m.distribution('edgewright').read_text('top_level.txt'))"
    assert done(device, "-c", code, cwd=tmp_path).split() == ["edgewright"]
