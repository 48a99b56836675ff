"""Where models come from, one module a library, each with ``trainable(...)`` (``onnx``: ``load(...)``).

``parse`` (the text that names a source), ``timm``, ``torchvision``, ``ultralytics``, ``torch`` (any factory), ``plan``
(a model of one of these with other widths or weights: a folder), ``onnx`` (an existing file; ``ultralytics_onnx``: what
Ultralytics wrote into it), ``checkpoint`` (trained weights, read without running code in them), ``loaded`` (what each
of them gives), ``options`` (what may stand behind the ``?``).
"""

from __future__ import annotations

from importlib import import_module

from edgewright.core.errors import InvalidInput

from .loaded import Trainable
from .options import require_allowed
from .parse import ParsedSource


def trainable(source: ParsedSource, checkpoint: str | None = None, trust: bool = False) -> Trainable:
    """The torch module that `source` names, with its weights or those of the file `checkpoint`.

    `trust`: the checkpoint may be a pickle that runs code. Raises what the module of the source's library raises, and
    `InvalidInput` for an ONNX file, which holds no torch module.
    """
    require_torch(source)
    require_allowed(source)
    found: Trainable = import_module(f".{source.kind}", __name__).trainable(
        source.name, source.options, checkpoint, trust
    )
    return found


def require_torch(source: ParsedSource) -> None:
    """Raise `InvalidInput` where `source` is an ONNX file."""
    if source.kind == "onnx":
        raise InvalidInput(
            f"{source.name} is an ONNX file.", "Only the original model can be trained or pruned.",
            "Name its library's source instead: timm:NAME, ultralytics:NAME, torch:package.module:factory.",
        )  # fmt: skip
