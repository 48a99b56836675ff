"""What somebody else could send, each with the command that a user gives and the refusal that must come."""

from __future__ import annotations

import json
import pickle  # noqa: TID251 - what the attacks are made of
import struct
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image


@dataclass(frozen=True)
class Attack:
    """`make` puts the input into a folder beside which `outside` lies, and gives the words of the command."""

    name: str
    make: Callable[[Path, Path], list[str]]
    exit_code: int
    says: str
    device: bool = False


ATTACKS: dict[str, Attack] = {}


def attack(exit_code: int, says: str, device: bool = False) -> Callable[[Any], Any]:
    """Register a function as an attack; its name is the attack's."""

    def register(make: Callable[[Path, Path], list[str]]) -> Callable[[Path, Path], list[str]]:
        name = make.__name__
        ATTACKS[name] = Attack(name, make, exit_code, says, device)
        return make

    return register


# --- bundles ----------------------------------------------------------------------------------------------------------

SPEC = {
    "name": "colors", "input": {"height": 8, "width": 8}, "classes": 3,
    "preprocess": {"resize": "exact", "resize_to": [8, 8]}, "labels": ["red", "green", "blue"],
}  # fmt: skip


def graph(weights: TensorProto, extra: list[Any] | None = None, functions: list[Any] | None = None) -> onnx.ModelProto:
    """The mean of each colour, times `weights` (3, 3)."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
        *(extra or []),
    ]
    x = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 8, 8])
    y = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])
    made = helper.make_graph(nodes, "g", [x], [y], [weights])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8, functions=functions or [])


def identity() -> TensorProto:
    return numpy_helper.from_array(np.eye(3, dtype=np.float32), "weights")


def external(location: str, name: str = "weights", **more: str) -> TensorProto:
    """A tensor (3, 3) whose data lies at `location`."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[3, 3])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def bundle(folder: Path, files: dict[str, bytes], runtime: str = "onnxruntime", manifest: bool = True) -> Path:
    """A bundle of `files` whose digests are right: whoever makes one can compute them."""
    edge = folder / ("model.edge" if manifest else "artifact")
    options = {"runtime": runtime}
    about = {"options": options, "spec": SPEC, "versions": {}, "described": {}}
    files = {**files, "artifact.json": json.dumps(about).encode()}
    for name, content in files.items():
        (edge / name).parent.mkdir(parents=True, exist_ok=True)
        (edge / name).write_bytes(content)
    if manifest:
        listed = {name: sha256(content).hexdigest() for name, content in files.items()}
        (edge / "manifest.json").write_text(json.dumps(
            {"name": "m", "created": "2026-01-01T00:00:00+00:00", "files": listed, "artifact": options, "spec": SPEC}
        ))  # fmt: skip
    return edge


def run(edge: Path) -> list[str]:
    """The command that answers an image with the bundle `edge`."""
    image = edge.parent / "photo.png"
    Image.new("RGB", (8, 8), "red").save(image)
    return ["run", str(edge), str(image)]


def secret(outside: Path) -> Path:
    """A file outside with the bytes of nine floats."""
    path = outside / "secret.bin"
    path.write_bytes(np.arange(9, dtype=np.float32).tobytes())
    return path


class _Payload:
    def __init__(self, mark: Path) -> None:
        self.mark = str(mark)

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return open, (self.mark, "w")


def pickled(outside: Path) -> bytes:
    """A pickle that makes a file outside when it is loaded."""
    return pickle.dumps(_Payload(outside / "unpickled"))


@attack(4, "contains a torch program", device=True)
def a_bundle_of_a_torch_program(folder: Path, outside: Path) -> list[str]:
    return run(bundle(folder, {"reference.pt2": pickled(outside)}, "torch"))


@attack(4, "contains a torch program", device=True)
def an_artifact_of_a_torch_program(folder: Path, outside: Path) -> list[str]:
    return run(bundle(folder, {"reference.pt2": pickled(outside)}, "torch", manifest=False))


@attack(4, "contains a torch program")
def a_torch_program_that_is_to_be_measured(folder: Path, outside: Path) -> list[str]:
    edge = bundle(folder, {"reference.pt2": pickled(outside), "reference.code": b"0" * 64}, "torch")
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    return ["bench", str(edge), str(edge), "--data", str(folder), "-o", str(folder / "out")]


@attack(4, "outside the file", device=True)
def external_data_that_climbs(folder: Path, outside: Path) -> list[str]:
    secret(outside)
    return run(bundle(folder, {"model.onnx": graph(external("../../outside/secret.bin")).SerializeToString()}))


@attack(4, "outside the file", device=True)
def external_data_by_an_absolute_path(folder: Path, outside: Path) -> list[str]:
    return run(bundle(folder, {"model.onnx": graph(external(str(secret(outside)))).SerializeToString()}))


@attack(4, "outside the file", device=True)
def external_data_in_the_working_directory(folder: Path, outside: Path) -> list[str]:
    """A model that comes as bytes looks for its data in the working directory: the name of a file there is enough."""
    return run(bundle(folder, {"model.onnx": graph(external("pyproject.toml")).SerializeToString()}))


@attack(4, "outside the file", device=True)
def external_data_at_an_address_in_memory(folder: Path, outside: Path) -> list[str]:
    """ONNX Runtime's own mark for tensors in memory: the offset is a pointer."""
    tensor = external("*/_ORT_MEM_ADDR_/*", offset="4096", length="36")
    return run(bundle(folder, {"model.onnx": graph(tensor).SerializeToString()}))


@attack(4, "outside the file", device=True)
def external_data_of_a_constant_in_a_subgraph(folder: Path, outside: Path) -> list[str]:
    constant = helper.make_node("Constant", [], ["inner"], value=external(str(secret(outside)), "inner"))
    inner = helper.make_graph([constant], "b", [], [helper.make_tensor_value_info("inner", TensorProto.FLOAT, [3, 3])])
    test = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("y", TensorProto.BOOL, [], [True]))
    branch = helper.make_node("If", ["yes"], ["picked"], then_branch=inner, else_branch=inner)
    return run(bundle(folder, {"model.onnx": graph(identity(), [test, branch]).SerializeToString()}))


@attack(4, "outside the file", device=True)
def external_data_in_a_function(folder: Path, outside: Path) -> list[str]:
    constant = helper.make_node("Constant", [], ["inner"], value=external(str(secret(outside)), "inner"))
    function = helper.make_function("mine", "F", [], ["inner"], [constant], [helper.make_opsetid("", 13)])
    return run(bundle(folder, {"model.onnx": graph(identity(), functions=[function]).SerializeToString()}))


@attack(4, "outside the file", device=True)
def external_data_whose_mark_is_written_with_spare_bytes(folder: Path, outside: Path) -> list[str]:
    """Numbers may be padded in protobuf: a search for the usual bytes of `data_location` would miss it."""
    usual = graph(external(str(secret(outside)))).SerializeToString()
    assert usual.count(b"\x70\x01") == 1
    padded = usual.replace(b"\x70\x01", b"\xf0\x00\x81\x00")
    # The lengths of the tensor and of the graph around it grow by two.
    model = onnx.ModelProto.FromString(usual)
    tensor = model.graph.initializer[0].SerializeToString()
    at = padded.index(tensor[: tensor.index(b"\x70\x01")])
    assert padded[at - 1] == len(tensor) < 126
    content = bytearray(padded)
    content[at - 1] += 2
    start = content.index(b"\x3a") + 1
    length = len(model.graph.SerializeToString())
    head = bytes([length & 0x7F | 0x80, length >> 7]) if length > 127 else bytes([length])
    assert content[start : start + len(head)] == head
    length += 2
    content[start : start + len(head)] = bytes([length & 0x7F | 0x80, length >> 7]) if length > 127 else bytes([length])
    assert onnx.ModelProto.FromString(bytes(content)) == model
    return run(bundle(folder, {"model.onnx": bytes(content)}))


@attack(4, "is not an ONNX file", device=True)
def a_model_in_the_runtimes_own_format(folder: Path, outside: Path) -> list[str]:
    """ONNX Runtime takes bytes for its own format (flatbuffers) where they say so at byte 4, whatever the name."""
    return run(bundle(folder, {"model.onnx": struct.pack("<I", 24) + b"ORTM" + bytes(64)}))


@attack(4, "is not an OpenVINO IR")
def an_onnx_file_that_is_called_ir(folder: Path, outside: Path) -> list[str]:
    """OpenVINO reads what the content is, and its ONNX reader opens external data."""
    content = graph(external(str(secret(outside)))).SerializeToString()
    return run(bundle(folder, {"model.xml": content, "model.bin": b""}, "openvino"))


@attack(4, "symbolic link", device=True)
def a_link_to_a_file_outside(folder: Path, outside: Path) -> list[str]:
    content = graph(identity()).SerializeToString()
    edge = bundle(folder, {"model.onnx": content})
    (outside / "model.onnx").write_bytes(content)
    (edge / "model.onnx").unlink()
    (edge / "model.onnx").symlink_to(outside / "model.onnx")
    return run(edge)


@attack(4, "symbolic link", device=True)
def a_cache_whose_blob_links_outside(folder: Path, outside: Path) -> list[str]:
    """Built like a hub's cache, whose links are followed: but a blob is a file, and lies in `blobs`."""
    content = graph(identity()).SerializeToString()
    snapshot = folder / "repo/snapshots/1234"
    edge = bundle(snapshot, {"model.onnx": content})
    name = sha256(content).hexdigest()
    (folder / "repo/blobs").mkdir()
    (outside / name).write_bytes(content)
    (folder / "repo/blobs" / name).symlink_to(outside / name)
    (edge / "model.onnx").unlink()
    (edge / "model.onnx").symlink_to(folder / "repo/blobs" / name)
    return run(edge)


@attack(4, "contains '..'", device=True)
def a_name_that_climbs(folder: Path, outside: Path) -> list[str]:
    edge = bundle(folder, {"model.onnx": graph(identity()).SerializeToString()})
    manifest = json.loads((edge / "manifest.json").read_text())
    manifest["files"]["../outside/secret.bin"] = sha256(secret(outside).read_bytes()).hexdigest()
    (edge / "manifest.json").write_text(json.dumps(manifest))
    return run(edge)


@attack(4, "not a regular file", device=True)
def a_model_that_is_a_pipe(folder: Path, outside: Path) -> list[str]:
    import os

    edge = bundle(folder, {"model.onnx": b"x"})
    (edge / "model.onnx").unlink()
    os.mkfifo(edge / "model.onnx")  # who opens it for reading waits for ever
    return run(edge)


@attack(4, "describe different models")
def a_manifest_that_shows_another_model(folder: Path, outside: Path) -> list[str]:
    edge = bundle(folder, {"model.onnx": graph(identity()).SerializeToString()})
    manifest = json.loads((edge / "manifest.json").read_text())
    manifest["artifact"] = {"runtime": "openvino"}
    (edge / "manifest.json").write_text(json.dumps(manifest))
    return ["bundle", "verify", str(edge)]


# --- folders of pruned models -----------------------------------------------------------------------------------------


def plan(folder: Path, source: str) -> list[str]:
    """The export of a folder whose plan names `source`."""
    import safetensors.numpy

    slim = folder / "slim"
    slim.mkdir()
    (slim / "weights.safetensors").write_bytes(safetensors.numpy.save({"x": np.zeros(1, np.float32)}))
    (slim / "plan.json").write_text(json.dumps({"source": source}))
    return ["export", str(slim), "-o", str(folder / "out.onnx")]


PLANS = {
    "a_plan_with_a_cache_folder": ("timm:resnet18.a1_in1k?cache_dir={outside}", "no option 'cache_dir'"),
    "a_plan_that_names_a_hub": ("timm:hf-hub:somebody/model", "a hub"),
    "a_plan_that_names_a_function": ("torch:os:system?command=touch {outside}/ran", "names the factory"),
    "a_plan_that_names_a_function_bare": ("os:system?command=touch {outside}/ran", "names the source 'os:system"),
    "a_plan_that_names_pickled_weights": ("ultralytics:yolo11n", "which are a pickle"),
}
for _name, (_source, _says) in PLANS.items():
    ATTACKS[_name] = Attack(
        _name, lambda folder, outside, source=_source: plan(folder, source.format(outside=outside)), 4, _says
    )


@attack(4, "no option 'checkpoint_path'")
def a_plan_with_a_checkpoint(folder: Path, outside: Path) -> list[str]:
    (outside / "evil.pth").write_bytes(pickled(outside))
    return plan(folder, f"timm:resnet18?checkpoint_path={outside}/evil.pth")


@attack(4, "names a file, a folder or a hub")
def a_plan_that_names_a_folder_of_weights(folder: Path, outside: Path) -> list[str]:
    (outside / "config.json").write_text('{"architecture": "resnet18", "pretrained_cfg": {}}')
    (outside / "pytorch_model.bin").write_bytes(pickled(outside))
    return plan(folder, f"timm:local-dir:{outside}")


@attack(4, "names a file, a folder or a hub")
def a_plan_that_names_a_description_outside(folder: Path, outside: Path) -> list[str]:
    (outside / "net.yaml").write_text("nc: 1\nactivation: __import__('os').getpid()\nbackbone: []\nhead: []\n")
    return plan(folder, f"ultralytics:{outside}/net.yaml")


@attack(4, "names a file, a folder or a hub")
def a_plan_that_names_an_onnx_file(folder: Path, outside: Path) -> list[str]:
    onnx.save(graph(identity()), outside / "model.onnx")
    return plan(folder, f"{outside}/model.onnx")


@attack(4, "names something that is not a torch module")
def a_description_beside_a_plan_that_holds_code(folder: Path, outside: Path) -> list[str]:
    words = plan(folder, "ultralytics:model.yaml")
    code = f"open('{outside}/evaluated', 'w')"
    row = json.dumps([[-1, 1, "Detect", [1]]])
    (folder / "slim/model.yaml").write_text(f"nc: 1\nactivation: {json.dumps(code)}\nbackbone: []\nhead: {row}\n")
    return words


# --- models and checkpoints -------------------------------------------------------------------------------------------


@attack(4, "Refused to open")
def an_onnx_file_with_data_outside(folder: Path, outside: Path) -> list[str]:
    (folder / "m").mkdir()
    (folder / "m/model.onnx").write_bytes(graph(external(str(secret(outside)))).SerializeToString())
    return ["export", str(folder / "m/model.onnx"), "-o", str(folder / "out.onnx")]


@attack(4, "--trust-checkpoint")
def a_checkpoint_with_code(folder: Path, outside: Path) -> list[str]:
    (folder / "net.pt").write_bytes(pickled(outside))
    return [
        "export",
        "timm:resnet10t?num_classes=3",
        "--checkpoint",
        str(folder / "net.pt"),
        "-o",
        str(folder / "o.onnx"),
    ]


@attack(2, "Did you mean 'timm:resnet18'?")
def a_module_that_is_called_like_a_typo(folder: Path, outside: Path) -> list[str]:
    return ["export", "tmm:resnet18", "-o", str(folder / "out.onnx")]


@attack(4, "labels.txt")
def labels_outside(folder: Path, outside: Path) -> list[str]:
    (outside / "labels.txt").write_text("secret\n" * 3)
    onnx.save(graph(identity()), folder / "model.onnx")
    (folder / "model.toml").write_text('labels_file = "../outside/labels.txt"\n[preprocess]\nresize = "none"\n')
    return ["export", str(folder / "model.onnx"), "-o", str(folder / "out.onnx")]


@attack(4, "symbolic link")
def a_description_that_is_a_link(folder: Path, outside: Path) -> list[str]:
    """Nobody names it: it lies beside the model, and an error would show lines of it."""
    (outside / "secret.txt").write_text("password = hunter2\n")
    onnx.save(graph(identity()), folder / "model.onnx")
    (folder / "model.toml").symlink_to(outside / "secret.txt")
    return ["export", str(folder / "model.onnx"), "-o", str(folder / "out.onnx")]


@attack(0, "parity")
def modules_beside_a_downloaded_model(folder: Path, outside: Path) -> list[str]:
    """Not a refusal: the work is done, with the libraries and not with the files that are called like them."""
    onnx.save(graph(identity()), folder / "model.onnx")
    preprocess = '[preprocess]\nresize = "exact"\nresize_to = [8, 8]\n'
    (folder / "model.toml").write_text(f'classes = 3\n{preprocess}[postprocess]\nscores = "none"\n')
    return ["export", str(folder / "model.onnx"), "-o", str(folder / "out.onnx")]


@attack(0, "red", device=True)
def modules_beside_a_downloaded_bundle(folder: Path, outside: Path) -> list[str]:
    return run(bundle(folder, {"model.onnx": graph(identity()).SerializeToString()}))


# --- data sets --------------------------------------------------------------------------------------------------------


def detect(folder: Path) -> list[str]:
    """A command that reads the data set `folder`."""
    edge = bundle(folder.parent, {"model.onnx": graph(identity()).SerializeToString()})
    return ["bench", str(edge), "--data", str(folder), "-o", str(folder.parent / "out")]


def picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), "red").save(path)
    return path


@attack(4, "contains '..'")
def a_table_that_names_an_image_outside(folder: Path, outside: Path) -> list[str]:
    picture(outside / "secret.png")
    picture(folder / "data/images/a.png")
    (folder / "data/labels.csv").write_text("file,label\nimages/a.png,red\n../../outside/secret.png,red\n")
    return detect(folder / "data")


@attack(4, "the path is absolute")
def a_coco_file_that_names_an_image_outside(folder: Path, outside: Path) -> list[str]:
    image = picture(outside / "secret.png")
    picture(folder / "data/images/a.png")
    (folder / "data/instances.json").write_text(json.dumps(
        {"images": [{"id": 1, "file_name": str(image)}], "annotations": [], "categories": [{"id": 1, "name": "red"}]}
    ))  # fmt: skip
    return detect(folder / "data")


@attack(3, "data.yaml")
def a_yaml_file_with_a_python_object(folder: Path, outside: Path) -> list[str]:
    picture(folder / "data/images/val/a.png")
    call = f"!!python/object/apply:os.system ['touch {outside}/ran']"
    (folder / "data/data.yaml").write_text(f"val: images/val\nnames: {call}\n")
    return detect(folder / "data")


@attack(4, "ENTITY")
def an_annotation_with_an_entity(folder: Path, outside: Path) -> list[str]:
    path = secret(outside)
    picture(folder / "data/JPEGImages/a.png")
    xml = f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{path}">]><annotation><filename>a.png</filename>&x;</annotation>'
    (folder / "data/Annotations").mkdir()
    (folder / "data/Annotations/a.xml").write_text(xml.replace("<!DOCTYPE a [", "").replace("]>", ""))
    return detect(folder / "data")


@attack(3, "cannot be decoded", device=True)
def an_image_that_is_a_program(folder: Path, outside: Path) -> list[str]:
    """PostScript runs through Ghostscript where Pillow is let to choose the format by the content."""
    edge = bundle(folder, {"model.onnx": graph(identity()).SerializeToString()})
    image = folder / "photo.jpg"
    image.write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n"
        + f"({outside}/ran) (w) file closefile showpage\n%%EOF\n".encode()
    )
    return ["run", str(edge), str(image)]
