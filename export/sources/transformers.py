"""Vision models of transformers, from a local folder or the hub: ``transformers:NAME-or-folder``.

The architecture in config.json decides the task: image classification, object detection (a set of boxes), semantic
segmentation, depth; another architecture with one image input gets the task ``tensors``, if the user names it. Labels
are those of config.json, and `transformers_processor` derives the preprocessing from preprocessor_config.json.

Only transformers' own classes run: a repository with code of its own is refused. Weights are read from safetensors;
pytorch_model.bin is a pickle, which the user must trust (``--trust-checkpoint``) and which torch still reads without
running code (``weights_only``).
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgewright.core import files
from edgewright.core.errors import EdgewrightError, IntegrityError, InvalidInput, Unavailable
from edgewright.core.lazy import require

from . import checkpoint as weights_file
from . import transformers_processor as processors
from .loaded import Loaded, Trainable, outputs, torch_module
from .transformers_tasks import KINDS, UNSUPPORTED, Kind

EXTRA = "transformers"
CONFIG, PROCESSOR = "config.json", "preprocessor_config.json"
_SAFE = ("model.safetensors", "model.safetensors.index.json")
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")
_HUB = re.compile(r"[\w.-]+(/[\w.-]+)?")
_CODE = "auto_map"
_SIZE = re.compile(r"(\d+)x(\d+)")
_STRICT = {"local_files_only": True, "output_loading_info": True, "ignore_mismatched_sizes": True}
"""Arguments of ``from_pretrained``: tensors that do not fit are reported, not filled with random values."""


def trainable(name: str, options: dict[str, Any], checkpoint: str | None = None, trust: bool = False) -> Trainable:
    """The model in the folder or hub repository `name`.

    Weights: `checkpoint`, else the folder's own; random with ``pretrained=false``. Options: ``num_labels``, and
    ``size`` (HEIGHTxWIDTH) for a processor that keeps the aspect ratio of photos. `trust`: the weights may be a pickle.
    Raises `InvalidInput`, `IntegrityError` (needs the repository's code, or a pickle), `Unavailable`.
    """
    require("transformers", EXTRA)
    own_weights = bool(options.get("pretrained", True)) and checkpoint is None
    folder = folder_of(name, own_weights, trust)
    settings = _settings(folder, name)
    kind = _kind(settings, name)
    with _offline():
        model, weights, taken = _build(folder, kind, options, checkpoint, trust)
        processor = _processor(folder, name)
    found = processors.fields(processor, _size(options.get("size")))

    def finish(module: Any) -> Loaded:
        module = torch_module(module, name)
        spec = spec_of(module, kind, found, Path(name).name)
        return Loaded(_plain(module, kind), spec, weights, taken + found.notes)

    return Trainable(
        torch_module(model, name), finish, lambda module, images: outputs(_plain(module, kind), images)
    )  # fmt: skip


def spec_of(model: Any, kind: Kind, found: processors.Found, name: str) -> dict[str, Any]:
    """The spec fields of `model` with the preprocessing `found`."""
    height, width = found.size
    return {
        "name": name, "task": kind.task, "input": {"height": height, "width": width}, "preprocess": found.preprocess,
        "outputs": kind.outputs, **kind.describe(model, found),
    }  # fmt: skip


def folder_of(name: str, weights: bool = True, trust: bool = False) -> Path:
    """The local folder of the model `name`: itself, or the library's copy of the repository on the hub.

    `weights`: with its weights; `trust`: these may be a pickle.
    """
    path = files.absolute(name)
    if path.is_dir():
        return path
    if not _HUB.fullmatch(name) or name.startswith("."):
        raise InvalidInput(
            f"There is no folder {path}.",
            "A transformers source is a folder with config.json, or a name on the hub such as microsoft/resnet-50.",
            "Check the path.",
        )
    hub = require("huggingface_hub", EXTRA)
    wanted = [CONFIG, PROCESSOR]
    if weights:
        wanted += [*_SAFE, "model-*-of-*.safetensors"]
        wanted += [*_PICKLED, "pytorch_model-*-of-*.bin"] if trust else []
    try:
        return Path(hub.snapshot_download(name, allow_patterns=wanted))
    except Exception as error:  # the hub's errors have no common class
        text = " ".join(str(error).split())[:200]
        raise Unavailable(
            f"'{name}' cannot be downloaded ({type(error).__name__}).",
            f"It is no local folder, and the model hub did not answer: {text}",
            "Go online, check the name, or download the repository and name its folder: transformers:path/to/folder",
        ) from error


def _settings(folder: Path, name: str) -> dict[str, Any]:
    """The content of config.json, after checks for what would run or load something else."""
    try:
        with files.open_contained(folder, CONFIG, hard_links=True) as file:
            settings = json.loads(file.read())
    except (ValueError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{folder / CONFIG} is not valid JSON: {error}", "It describes the architecture.", "Copy it again."
        ) from None
    if not isinstance(settings, dict):
        raise InvalidInput(
            f"{folder / CONFIG} is not a JSON object.", "It describes the architecture.", "Copy it again."
        )
    known = require("transformers.models.auto.configuration_auto", EXTRA).CONFIG_MAPPING_NAMES
    if settings.get("model_type") not in known:
        own = " The repository has Python code of its own, which edgewright never runs." if _CODE in settings else ""
        raise (IntegrityError if own else InvalidInput)(
            f"{name} has the model type {settings.get('model_type')!r}, which transformers does not ship.{own}",
            "Only architectures inside the transformers library are built.",
            "Update transformers, or write a factory that builds the model yourself: torch:file.py:factory",
        )
    if settings["model_type"] == "timm_wrapper":
        raise InvalidInput(
            f"{name} is a model of timm.", "transformers only wraps it.", "Use timm's source: timm:NAME",
        )  # fmt: skip
    if "quantization_config" in settings:
        raise InvalidInput(
            f"{name} is quantized.", "edgewright quantizes float models.", "Use the original float model.",
        )  # fmt: skip
    return settings


def _kind(settings: dict[str, Any], name: str) -> Kind:
    """The task of the architecture that config.json names."""
    tables = require("transformers.models.auto.modeling_auto", EXTRA)
    said = [str(one) for one in settings.get("architectures") or ()]
    for kind in () if settings["model_type"] in UNSUPPORTED else KINDS:
        of_type = getattr(tables, kind.table).get(settings["model_type"], ())
        if set(said) & set((of_type,) if isinstance(of_type, str) else of_type):
            return kind
    raise InvalidInput(
        f"{name} has the architecture {', '.join(said) or 'that config.json does not name'}.",
        "The transformers source supports image classification, object detection, semantic segmentation and depth.",
        'Write a factory that returns tensors (torch:file.py:factory) and describe it in a TOML: task = "tensors".',
    )


def _build(
    folder: Path, kind: Kind, options: dict[str, Any], checkpoint: str | None, trust: bool
) -> tuple[Any, str, tuple[str, ...]]:
    """The model, the origin of its weights as text, and notes."""
    import torch

    library = require("transformers", EXTRA)
    more = {"num_labels": int(options["num_labels"])} if "num_labels" in options else {}
    builder = getattr(library, kind.builder)
    same = {"attn_implementation": "eager", "dtype": torch.float32, "trust_remote_code": False}
    torch.manual_seed(0)
    try:
        config = library.AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True, **more)
        if getattr(config, "use_pretrained_backbone", False):
            config.use_pretrained_backbone = False  # its weights are in the model's own
        if checkpoint is None and not options.get("pretrained", True):
            return builder.from_config(config, **same), "random, seed 0", ()
        if checkpoint is not None:
            tensors = max((part.tensors for part in weights_file.read(checkpoint, trust)), key=len)
            model = builder.from_config(config, **same)
            if not any(key in model.state_dict() for key in tensors) or tensors.keys() >= model.state_dict().keys():
                return model, checkpoint, weights_file.apply(model, checkpoint, trust)
            model, said = _renamed(builder, tensors, {"config": config, **same})
        else:
            safe = _weights(folder, trust)
            model, said = builder.from_pretrained(folder, config=config, use_safetensors=safe, **_STRICT, **same)
    except EdgewrightError:
        raise
    except Exception as error:  # the library's errors have no common class
        text = " ".join(str(error).split())[:250]
        raise InvalidInput(
            f"transformers cannot build the model in {folder}: {text}",
            "The configuration or the weights do not fit the architecture.",
            "Correct config.json or the options, or use ?pretrained=false for random weights (for speed only).",
        ) from error
    missing = sorted({*said["missing_keys"], *(key[0] for key in said.get("mismatched_keys", ()))})
    if missing:
        raise InvalidInput(
            f"The weights of {checkpoint or folder} lack {len(missing)} tensors: {', '.join(missing[:3])}.",
            "The library would fill them with random values. A backbone without head is not a model for this task.",
            "Use a fine-tuned model, or the options of the training, such as ?num_labels=10.",
        )
    return model, checkpoint or f"transformers, {folder.name}", ()


def _renamed(builder: Any, tensors: dict[str, Any], more: dict[str, Any]) -> Any:
    """The model with the `tensors` of a file by the library, which renames them while it loads them."""
    save = require("safetensors.torch", "host").save_file
    with tempfile.TemporaryDirectory(prefix="edgewright-") as folder:
        save({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, Path(folder, _SAFE[0]))
        return builder.from_pretrained(folder, use_safetensors=True, **_STRICT, **more)


def _weights(folder: Path, trust: bool) -> bool:
    """Whether the folder has safetensors, which are used then. Raises if only a pickle is there without `trust`."""
    if any((folder / name).is_file() for name in _SAFE):
        return True
    pickled = next((name for name in _PICKLED if (folder / name).is_file()), "")
    if not pickled:
        raise InvalidInput(
            f"{folder} has no weights.", f"They are expected in {_SAFE[0]}.",
            "Save them: model.save_pretrained(folder). Random weights (for speed only): ?pretrained=false",
        )  # fmt: skip
    if not trust:
        raise IntegrityError(
            f"{folder} has its weights in {pickled}, a Python pickle.",
            "edgewright reads safetensors by default, which contain tensors only.",
            "Convert it: model.save_pretrained(folder). Or pass --trust-checkpoint if you trust its origin.",
        )
    return False


def _processor(folder: Path, name: str) -> Any:
    if not (folder / PROCESSOR).is_file():
        raise InvalidInput(
            f"{name} has no {PROCESSOR}.",
            "It describes the preprocessing, which must be the same as in training.",
            "Save the processor into the folder: processor.save_pretrained(folder)",
        )
    library = require("transformers", EXTRA)
    try:
        return library.AutoImageProcessor.from_pretrained(
            folder, backend="pil", trust_remote_code=False, local_files_only=True
        )
    except Exception as error:  # the library's errors have no common class
        raise InvalidInput(
            f"transformers cannot build the image processor of {name}: {' '.join(str(error).split())[:200]}",
            f"{PROCESSOR} must name a processor of the library.",
            "Correct that file, or update transformers.",
        ) from error


def _plain(model: Any, kind: Kind) -> Any:
    """`model` with one tensor as output: class or map logits, boxes with scores, or depth."""
    import torch

    class Plain(torch.nn.Module):  # type: ignore[misc]  # mypy does not follow torch
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return kind.read(model.config, self.model(pixel_values=images, return_dict=True))

    return Plain().eval()


def _size(text: Any) -> tuple[int, int] | None:
    if text is None:
        return None
    match = _SIZE.fullmatch(str(text))
    if not match:
        raise InvalidInput(
            f"The size of the input is '{text}'.", "It must be HEIGHTxWIDTH in pixels.", "Write e.g. ?size=480x640"
        )
    return int(match[1]), int(match[2])


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Keep the library from downloads (a config can name a backbone on the hub) and from messages."""
    constants = require("huggingface_hub.constants", EXTRA)
    logging = require("transformers.utils.logging", EXTRA)
    before, level = constants.HF_HUB_OFFLINE, logging.get_verbosity()
    constants.HF_HUB_OFFLINE = True
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
        logging.set_verbosity(level)
