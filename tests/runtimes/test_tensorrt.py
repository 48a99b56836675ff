"""TensorRT's session and its plans, against a stand-in for library and GPU (`stand_in.py`).

What is right about buffers, graphs and refusals is right without a GPU; what kernels compute and how fast is not
tested.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgewright.core.errors import IntegrityError, OutOfResources, Unavailable
from edgewright.runtimes import tensorrt
from edgewright.runtimes.contents import Contents
from edgewright.runtimes.options import Options
from edgewright.runtimes.tensorrt import builder, library, plan
from edgewright.runtimes.tensorrt import cuda as cudas

_spec = importlib.util.spec_from_file_location("stand_in", Path(__file__).with_name("stand_in.py"))
stand_in = importlib.util.module_from_spec(_spec)
sys.modules["stand_in"] = stand_in
_spec.loader.exec_module(stand_in)

OPTIONS = Options(runtime="tensorrt", precision="f16")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """y = 2 x and z = sum of x over a row, for any number of rows of 3."""
    nodes = [
        helper.make_node("Add", ["x", "x"], ["y"]),
        helper.make_node("ReduceSum", ["x"], ["z"], keepdims=1),
    ]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", ["n", 3]), ("y", ["n", 3]))]
    graph = helper.make_graph(nodes, "g", values[:1], [values[1], helper.make_tensor_value_info("z", 1, [1, 1])])
    path = tmp_path / "source.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """A device: its CUDA, its TensorRT, and a home of its own for the key."""
    cuda = stand_in.Cuda()
    trt = stand_in.tensorrt(cuda)
    monkeypatch.setattr(cudas, "cudart", lambda: cuda)
    monkeypatch.setattr(library, "bindings", lambda name=None: trt)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(tmp_path / "cache"))

    def build(_, job, progress=None):
        return builder.Built(job.model, ("y", "z"), b"timings", 2, (), {}, ())

    monkeypatch.setattr(builder, "build", build)
    return cuda, trt


@pytest.fixture
def artifact(model: Path, machine, tmp_path: Path) -> Path:
    folder = tmp_path / "artifact"
    folder.mkdir()
    tensorrt.build(model, OPTIONS, folder)
    return folder


def test_answers_are_the_models_and_stay_the_callers(artifact: Path, machine):
    tensorrt.finish(artifact, OPTIONS)
    handle = tensorrt.load(Contents(artifact), OPTIONS)
    inputs = [np.full((2, 3), v, np.float32) for v in (1, 5)]
    answers = [tensorrt.run(handle, x) for x in inputs]
    for x, (doubled, total) in zip(inputs, answers):  # in the model's order, which is not the plan's
        np.testing.assert_array_equal(doubled, 2 * x)
        assert total == x.sum()
    assert machine[0].launches == 2, "each call launches the captured graph"
    assert tensorrt.describe(handle)["census"] == {"int8": 2, "reformat": 1}


def test_another_batch_size_gets_buffers_and_graph_of_its_own(artifact: Path, machine):
    tensorrt.finish(artifact, OPTIONS)
    handle = tensorrt.load(Contents(artifact), OPTIONS)
    free = machine[0].left
    for rows in (1, 4, 2, 4):
        x = np.arange(rows * 3, dtype=np.float32).reshape(rows, 3)
        np.testing.assert_array_equal(tensorrt.run(handle, x)[0], 2 * x)
    tensorrt.close(handle)
    assert machine[0].left == free, "the memory of earlier sizes was given back"
    assert machine[0].graphs == 0


def test_what_cannot_be_captured_runs_without_a_graph(artifact: Path, machine):
    machine[0].capturable = False
    tensorrt.finish(artifact, OPTIONS)
    handle = tensorrt.load(Contents(artifact), OPTIONS)
    x = np.ones((1, 3), np.float32)
    np.testing.assert_array_equal(tensorrt.run(handle, x)[0], 2 * x)
    assert tensorrt.describe(handle)["cuda_graph"] is False


def test_a_gpu_without_memory_is_told_as_such(artifact: Path, machine):
    tensorrt.finish(artifact, OPTIONS)
    handle = tensorrt.load(Contents(artifact), OPTIONS)
    machine[0].left = 8
    with pytest.raises(OutOfResources, match="out of memory"):
        tensorrt.run(handle, np.ones((1, 3), np.float32))
    assert machine[0].left == 8, "and what was allocated before it failed is given back"


def test_a_bundle_without_a_plan_says_where_it_is_made(artifact: Path):
    with pytest.raises(Unavailable, match="edgewright compile"):
        tensorrt.load(Contents(artifact), OPTIONS)


def test_one_flipped_byte_is_not_deserialized(artifact: Path, machine):
    tensorrt.finish(artifact, OPTIONS)
    content = bytearray((artifact / plan.PLAN).read_bytes())
    content[len(content) // 2] ^= 1
    (artifact / plan.PLAN).write_bytes(content)
    with pytest.raises(IntegrityError, match="damaged"):
        tensorrt.load(Contents(artifact), OPTIONS, trust=True)
    assert machine[1].deserialized == []


@pytest.mark.parametrize("field", ["library", "driver", "multiprocessors"])
def test_a_plan_of_another_build_is_not_deserialized(artifact: Path, machine, field: str, monkeypatch):
    tensorrt.finish(artifact, OPTIONS)
    changes = {
        "library": (machine[1], "__version__", "10.13.3"),
        "driver": (machine[0], "cudaDriverGetVersion", lambda: (0, 13000)),
    }
    if field == "multiprocessors":  # modules that share sm_87 differ in their number
        orin = machine[0].cudaGetDeviceProperties(0)[1]
        orin.multiProcessorCount = 16
        changes[field] = (machine[0], "cudaGetDeviceProperties", lambda number: (0, orin))
    monkeypatch.setattr(*changes[field])
    with pytest.raises(Unavailable, match=field):
        tensorrt.load(Contents(artifact), OPTIONS, trust=True)
    assert machine[1].deserialized == []


def test_a_plan_from_another_machine_is_refused_unless_trusted(artifact: Path, machine, monkeypatch, tmp_path: Path):
    tensorrt.finish(artifact, OPTIONS)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "other machine"))
    with pytest.raises(IntegrityError, match="--trust-plan"):
        tensorrt.load(Contents(artifact), OPTIONS)
    assert machine[1].deserialized == []
    tensorrt.load(Contents(artifact), OPTIONS, trust=True)
    assert len(machine[1].deserialized) == 1


def test_a_forged_account_of_a_foreign_plan_is_refused(artifact: Path, machine):
    """Whoever exchanges the plan can write its digest, and not the code."""
    tensorrt.finish(artifact, OPTIONS)
    import hashlib

    about = json.loads((artifact / plan.ABOUT).read_bytes())
    (artifact / plan.PLAN).write_bytes(b"other code")
    about["sha256"] = hashlib.sha256(b"other code").hexdigest()
    (artifact / plan.ABOUT).write_text(json.dumps(about))
    with pytest.raises(IntegrityError, match="not built on this machine"):
        tensorrt.load(Contents(artifact), OPTIONS)
    assert machine[1].deserialized == []


def test_the_key_is_readable_by_its_user_only(artifact: Path, machine, tmp_path: Path):
    tensorrt.finish(artifact, OPTIONS)
    key = tmp_path / "config" / "edgewright" / "machine.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_bytes()) == 32


def test_a_key_that_others_can_read_signs_nothing(artifact: Path, machine, tmp_path: Path):
    tensorrt.finish(artifact, OPTIONS)
    key = tmp_path / "config" / "edgewright" / "machine.key"
    for content, mode in ((b"", 0o600), (key.read_bytes(), 0o644)):
        key.write_bytes(content)
        key.chmod(mode)
        with pytest.raises(IntegrityError, match="own key"):
            tensorrt.load(Contents(artifact), OPTIONS)
    assert machine[1].deserialized == []


def test_a_cache_of_timings_from_elsewhere_is_not_read(artifact: Path, machine, monkeypatch, tmp_path: Path):
    tensorrt.finish(artifact, OPTIONS)
    here = plan.read(Contents(artifact), tensorrt._maker(machine[1], cudas.device())) and tensorrt._maker(
        machine[1], cudas.device()
    )
    assert plan.timing_cache(Contents(artifact), here) == b"timings"
    (artifact / plan.TIMING_CACHE).write_bytes(b"other timings")
    assert plan.timing_cache(Contents(artifact), here) == b""


def test_cuda_without_a_driver_is_told_as_such(monkeypatch):
    class Old(stand_in.Cuda):
        def cudaGetDeviceCount(self):
            raise RuntimeError("Failed to dlopen libcuda.so.1")  # as cuda-python 12.6 does

    monkeypatch.setattr(cudas, "cudart", Old)
    monkeypatch.setattr(library, "bindings", lambda name=None: stand_in.tensorrt(Old()))
    found = tensorrt.probe()
    assert not found.available and "libcuda.so.1" in found.why


def test_a_second_build_starts_from_the_timings_of_the_first(
    artifact: Path, machine, model: Path, tmp_path, monkeypatch
):
    tensorrt.finish(artifact, OPTIONS)
    seen = []
    monkeypatch.setattr(
        builder,
        "build",
        lambda _, job, progress=None: seen.append(job.timing_cache) or builder.Built(b"", (), b"", 0, (), {}, ()),
    )
    other = tmp_path / "other"
    other.mkdir()
    tensorrt.build(model, OPTIONS, other)
    tensorrt.finish(other, OPTIONS)
    assert seen == [b"timings"]


def test_without_a_gpu_the_probe_says_so():
    found = tensorrt.probe()
    assert found.available or found.why


def test_every_cuda_function_exists_in_cuda_python():
    runtime = pytest.importorskip("cuda.bindings.runtime")
    import re

    text = Path(cudas.__file__).read_text()
    names = set(re.findall(r"\b(?:cuda|self\._cuda)\.(cuda[A-Z]\w*)", text))
    assert len(names) > 15
    assert [name for name in sorted(names) if not hasattr(runtime, name)] == []
