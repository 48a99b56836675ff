"""Models of Ultralytics (YOLOv8, YOLO11, YOLO26, RT-DETR), exported as their raw head; edgewright decodes.

Ultralytics' checkpoints are pickles. Official names are downloaded and loaded by the library. A local ``.pt`` can run
code, so the user must trust its origin explicitly. The library is AGPL-3.0: it is an extra, and imported only for a
source that names it.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgewright.core import files
from edgewright.core.errors import EdgewrightError, IntegrityError, InvalidInput, Unavailable
from edgewright.core.lazy import require
from edgewright.core.store import default_root

from . import checkpoint as weights_file
from .loaded import Loaded, Trainable, outputs, torch_module
from .parse import ParsedSource
from .ultralytics_heads import HEADS, Dense, Kind, kind_of, named_classes

_YAML = (".yaml", ".yml")
_ACTIVATION = re.compile(r"(torch\.)?nn\.[A-Za-z0-9]+\([A-Za-z0-9_=., ]*\)")

SIDE = 640
"""The default input side in pixels, if neither the checkpoint nor the source sets one."""
WEIGHTS = "ultralytics"
"""The folder for downloaded official weights, in our cache."""


def trainable(name: str, options: dict[str, Any], checkpoint: str | None = None, trust: bool = False) -> Trainable:
    """The model `name`: an official ``yolo11n`` (``.pt``), a local ``.pt``, or a ``.yaml`` with random weights.

    Options: ``imgsz`` (side, or [height, width]; default: as trained) and, for a ``.yaml``, ``nc`` (classes).
    `checkpoint`: weights for a ``.yaml``, of the model as it is trained. `trust`: a local ``.pt`` may run its code. The
    module gives one tensor (N, 4 x bins + classes, cells): logits of YOLO's head, of the one-to-one head if it has two.
    A head of rotated boxes adds the angles (N, 1, cells), one of masks the coefficients (N, C, cells) and the
    prototypes (N, C, height, width). RT-DETR's gives (N, queries, 4 + classes), class scores after
    the sigmoid. Raises `InvalidInput`, `IntegrityError`, `Unavailable`.
    """
    os.environ.setdefault("YOLO_AUTOINSTALL", "false")  # it must not install packages unasked
    os.environ.setdefault("YOLO_VERBOSE", "false")
    require("ultralytics", "ultralytics")
    described, classes = name.endswith(_YAML), options.get("nc")
    if "://" in name:
        raise InvalidInput(
            f"ultralytics:{name} is an address.", "The library would download it and run the code in a .pt.",
            "Download the file yourself and name its path.",
        )  # fmt: skip
    unknown = sorted(set(options) - ({"imgsz", "nc"} if described else {"imgsz"}))
    if unknown or not (classes is None or (type(classes) is int and classes > 0)):
        raise InvalidInput(
            f"ultralytics:{name} has no option '{unknown[0]}'." if unknown else f"nc is {classes}.",
            "A source takes imgsz, and a .yaml also nc, the number of classes from 1.",
            "Correct the source's options: ultralytics:yolo11n.yaml?nc=10&imgsz=320",
        )
    notes: tuple[str, ...] = ()
    if described:
        model, weights = _built(name, classes, trust), "random, seed 0"
        if checkpoint is not None:
            notes = weights_file.apply(model, checkpoint, trust)
            weights = str(checkpoint)
    else:
        if checkpoint is not None:
            raise InvalidInput(
                f"{name} was given with a checkpoint.",
                "A .pt has its own weights.",
                "Leave out the checkpoint, or name the architecture: ultralytics:yolo11n.yaml --checkpoint FILE",
            )
        model, weights = _loaded(name, trust)

    def finish(module: Any) -> Loaded:
        spec = _spec_of(module, name, options.get("imgsz"))
        return Loaded(torch_module(_raw(module), name), spec, weights, notes)

    return Trainable(torch_module(model, name), finish, _maps)


def file_of(name: str) -> Path | None:
    """The file that the source `name` reads: a local ``.pt`` or ``.yaml``, or downloaded official weights."""
    full = name if name.endswith((".pt", *_YAML)) else f"{name}.pt"
    places = (files.absolute(full), default_root() / WEIGHTS / Path(full).name)
    return next((path for path in places if path.is_file()), None)


def own_file(source: ParsedSource) -> str | None:
    """The file of a parsed source, next to which its description may be: an .onnx, or `file_of` Ultralytics."""
    path = file_of(source.name) if source.kind == "ultralytics" else None
    return str(path) if path else source.name if source.is_graph else None


def description(model: Any) -> dict[str, Any]:
    """The architecture of `model` as plain data: the content of a ``.yaml`` that builds it again."""
    described = {key: value for key, value in model.yaml.items() if key not in ("scale", "yaml_file")}
    scales, scale = described.get("scales", {}), model.yaml.get("scale")
    if scale in scales:  # the library uses the first scale for a file whose name has none
        described["scales"] = {scale: scales[scale]}
    return described


def _built(name: str, classes: int | None, trust: bool) -> Any:
    """The model of a YAML, of the library or local, with seeded random weights."""
    import torch
    from ultralytics.nn import tasks

    torch.manual_seed(0)
    local = file_of(name)
    try:
        described = tasks.yaml_model_load(local or name)
        if local and not trust:
            _require_plain(described, local)
        head = str(described["head"][-1][2])
        if head in HEADS:
            return getattr(tasks, HEADS[head].model)(described, nc=classes, verbose=False)
    except FileNotFoundError:
        raise InvalidInput(
            f"Ultralytics has no model description '{name}'.",
            "It is neither a local file nor one of the library's.",
            "Use e.g. yolov8n.yaml, yolo11n.yaml, yolo26n.yaml or rtdetr-l.yaml, or the path of a .yaml.",
        ) from None
    except (EdgewrightError, MemoryError):
        raise
    except Exception as error:  # the library's errors for a wrong description have no common class
        raise InvalidInput(
            f"Ultralytics cannot build {local or name}: {_short(error)}",
            "A model description has nc, backbone and head, whose rows are [from, number, module, arguments].",
            "Correct it; the library's own files are examples.",
        ) from error
    raise _other_task(name, head)


def _require_plain(described: dict[str, Any], path: Path) -> None:
    """Raise `IntegrityError` if building from `described` could run more than torch modules.

    The library evaluates ``activation`` as Python, and looks modules up among all names of its own module.
    """
    import torch
    from ultralytics.nn import tasks

    activation = described.get("activation")
    odd = "" if activation is None or _ACTIVATION.fullmatch(str(activation)) else f"activation: {activation}"
    for row in (*described.get("backbone", ()), *described.get("head", ())):
        module = str(row[2])
        found = getattr(torch.nn, module[3:], None) if module.startswith("nn.") else getattr(tasks, module, None)
        if not (isinstance(found, type) and issubclass(found, torch.nn.Module)):
            odd = odd or f"module {module}"
    if odd:
        raise IntegrityError(
            f"{path} names something that is not a torch module ({odd[:80]}).",
            "Ultralytics evaluates it as Python: it could run any code.",
            "Correct it, or pass --trust-checkpoint if you trust its origin.",
        )


def _loaded(name: str, trust: bool) -> tuple[Any, str]:
    """The model of a ``.pt``, and the origin of its weights."""
    from ultralytics.nn import tasks

    asset = name if name.endswith(".pt") else f"{name}.pt"
    local = files.absolute(asset)
    if local.is_file():
        if not trust:
            raise IntegrityError(
                f"{local} is an Ultralytics checkpoint, which is a pickle.",
                "Loading it runs the code in it; only the library's official weights are trusted by default.",
                "Pass --trust-checkpoint if you trust its origin, or ask for an ONNX export and use that file.",
            )
        path, weights = local, str(local)
    else:
        path, weights = _official(name, asset), f"Ultralytics, official {Path(name).stem}"
    try:
        model, _ = tasks.load_checkpoint(str(path))
        head = type(model.model[-1]).__name__
    except MemoryError:
        raise
    except Exception as error:  # on damaged bytes torch raises nearly any class
        raise InvalidInput(
            f"{path} cannot be read as an Ultralytics checkpoint: {_short(error)}",
            f"Its {path.stat().st_size} bytes are incomplete, or need another version of the library.",
            "Delete it and copy or download it again.",
        ) from error
    if head not in HEADS:
        raise _other_task(name, head)
    return model, weights


def _official(name: str, asset: str) -> Path:
    """The official file `asset`; the library downloads it to our cache if it is missing."""
    from ultralytics.utils import downloads

    known = [n for n in downloads.GITHUB_ASSETS_NAMES if n.endswith(".pt")]
    if asset not in known:
        near = difflib.get_close_matches(asset, known, 3)
        raise InvalidInput(
            f"There is no file {files.absolute(name)}, and Ultralytics has no weights '{asset}'.",
            f"Similar names: {', '.join(near) or 'none'}.",
            "Correct the name or the path. For random weights name a .yaml: ultralytics:yolo11n.yaml",
        )
    path = default_root() / WEIGHTS / asset
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        downloads.attempt_download_asset(str(path))
        if not path.is_file():
            raise ConnectionError("the file was not downloaded")
    except Exception as error:  # the library's downloader has no class of its own
        path.unlink(missing_ok=True)
        raise Unavailable(
            f"The weights {asset} cannot be downloaded ({type(error).__name__}).",
            f"The download failed: {_short(error)}",
            f"Go online, copy the file here and pass it with --trust-checkpoint, or put it at {path}.",
        ) from None
    return path


def _maps(model: Any, images: Any) -> list[Any]:
    """The maps (N, 4 x bins + classes, height, width) of each level of each head of `model`, and then those of each
    further branch, and what its levels share; or RT-DETR's outputs."""
    import torch

    head, kind = model.model[-1], kind_of(model)
    if type(head).__name__ == "RTDETRDecoder":
        return outputs(model, images)
    attributes = ("cv2", "cv3", *(branch.layers for branch in kind.branches))
    parts = [f"{prefix}{name}" for prefix in ("", "one2one_") for name in attributes]
    levels = [level for name in parts for level in getattr(head, name, None) or ()]
    last = [level[-1] if isinstance(level, torch.nn.Sequential) else level for level in levels]
    if kind.dense is not None:
        last = [kind.dense.layers(head)]
    found: list[Any] = []
    shared: list[Any] = []
    hooks = [module.register_forward_hook(lambda _module, _inputs, map_: found.append(map_)) for module in last]
    if kind.shared:
        module = getattr(head, kind.shared.layers)
        hooks.append(module.register_forward_hook(lambda _module, _inputs, result: shared.append(result)))
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
    if kind.dense is not None:
        return [kind.dense.finish(head, map_) for map_ in found]
    step = len(attributes) * head.nl  # for each head the boxes of all levels, then the scores, then the branches
    starts = range(0, len(found), step)
    maps = [torch.cat([found[s + i], found[s + head.nl + i]], 1) for s in starts for i in range(head.nl)]
    further = [found[s + i] for k in range(2, len(attributes)) for s in starts for i in _levels(k, head.nl)]
    # In training, YOLO26's prototypes come with classes of pixels.
    return [*maps, *further, *(one[0] if isinstance(one, tuple) else one for one in shared)]


def _levels(part: int, levels: int) -> range:
    return range(part * levels, (part + 1) * levels)


def _raw(model: Any) -> Any:
    """`model` ready for export: batch norms folded, and a head that gives its outputs before any decoding.

    YOLO26's head without suppression is used if there is one: it must be selected before folding, since folding drops
    it otherwise.
    """
    import torch

    head = model.model[-1]
    model = model.float().eval()
    if getattr(head, "one2one_cv2", None) is not None:
        head.end2end = True
    model.fuse(verbose=False)
    head.export = True
    if type(head).__name__ == "RTDETRDecoder":
        head.postprocess = lambda boxes, scores: torch.cat([boxes, scores], -1)
    elif (dense := kind_of(model).dense) is not None:
        head.forward = _dense(head, dense)
    else:
        head.forward = _forward(head, kind_of(model))
    return model


def _dense(head: Any, dense: Dense) -> Callable[[list[Any]], Any]:
    """The function from feature maps to the map of `head` before any decoding."""
    head.export = False
    inner, seen = head.forward, list[Any]()
    dense.layers(head).register_forward_hook(lambda _module, _inputs, map_: seen.append(map_))

    def forward(features: list[Any]) -> Any:
        seen.clear()
        inner(features)
        return dense.finish(head, seen.pop())

    return forward


def _forward(head: Any, kind: Kind) -> Callable[[list[Any]], Any]:
    """The function from feature maps to the outputs of `head` before any decoding."""
    import torch
    from ultralytics.nn.modules.head import Detect

    def forward(features: list[torch.Tensor]) -> Any:
        parts = head.one2one if head.end2end else head.one2many
        raw = Detect.forward_head(head, features, parts["box_head"], parts["cls_head"])
        joined = torch.cat([raw["boxes"], raw["scores"]], 1)
        further = list[torch.Tensor]()
        for branch in kind.branches:
            maps = features
            for name in branch.names:
                maps = [layer(x) for layer, x in zip(parts[name], maps)]
            further.append(torch.cat([one.flatten(2) for one in maps], 2))
        if kind.shared:
            further.append(getattr(head, kind.shared.layers)(kind.shared.inputs(features)))
        return (joined, *further) if further else joined

    return forward


def _spec_of(model: Any, name: str, side: Any) -> dict[str, Any]:
    head, kind = model.model[-1], kind_of(model)
    transformer = type(head).__name__ == "RTDETRDecoder"
    trained = getattr(model, "args", None) or {}
    trained = trained if isinstance(trained, dict) else vars(trained)
    coarsest = max(int(stride) for stride in model.stride)
    height, width = _sides(side if side is not None else trained.get("imgsz") or SIDE, coarsest)
    names = model.names if isinstance(model.names, dict) else dict(enumerate(model.names))
    labels = tuple(str(names[k]) for k in sorted(names))
    fields: dict[str, Any] = {
        "name": Path(name).stem,
        "task": kind.task,
        "input": {"height": height, "width": width, "channels": int(model.yaml.get("channels", 3))},
        "preprocess": {
            "resize": "exact" if transformer else "letterbox", "resize_to": (height, width), "interpolation": "opencv",
            "exif": "apply",
        },
    }  # fmt: skip
    if kind.dense is not None:
        own = {**kind.dense.fields, "preprocess": {**fields["preprocess"], **kind.dense.fields.get("preprocess", {})}}
        named = named_classes(int(head.nc), labels) if kind.dense.classes else {}
        return {**fields, **own, **named, "outputs": (kind.dense.output,)}
    if transformer:
        detect = {"decoder": "set", "scores": "none", "multi_label": True, "iou": 1.0}
    else:
        alone = bool(getattr(head, "one2one_cv2", None) is not None)
        detect = {
            "decoder": "dfl", "bins": int(head.reg_max), "strides": tuple(int(s) for s in head.stride),
            "scores": "sigmoid", "multi_label": alone, "multi_label_eval": True, "iou": 1.0 if alone else 0.7,
            **kind.fields(head),
        }  # fmt: skip
    return {
        **fields,
        "outputs": ("head", *(part.output for part in (*kind.branches, *((kind.shared,) if kind.shared else ())))),
        kind.task: detect,
        "classes": int(head.nc),
        # A model built from a YAML names its classes "0", "1" ...
        "labels": () if labels == tuple(str(k) for k in range(len(labels))) else labels,
    }  # fmt: skip


def _sides(given: Any, stride: int) -> tuple[int, int]:
    sides = [given, given] if isinstance(given, int) else list(given) if isinstance(given, (list, tuple)) else []
    if len(sides) != 2 or not all(isinstance(s, int) and s >= stride and s % stride == 0 for s in sides):
        raise InvalidInput(
            f"imgsz is {given}.",
            f"It must be the side of the input in pixels, or [height, width]; a multiple of {stride}, the stride.",
            f"Correct the source's options: ?imgsz={13 * stride}",
        )
    return sides[0], sides[1]


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _other_task(name: str, head: str) -> InvalidInput:
    return InvalidInput(
        f"{name} is not supported: its last module is {head}.",
        f"edgewright reads the heads {', '.join(HEADS)}.",
        "Name a detector, such as ultralytics:yolo11n.",
    )
