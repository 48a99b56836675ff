"""The sources of models, one module per library, each with ``trainable(...)`` (``onnx``: ``load(...)``).

``parse`` (the text that names a source), ``timm``, ``torchvision``, ``ultralytics``, ``torch`` (any factory), ``plan``
(a folder with a changed copy of another source's model), ``onnx`` (a file; ``ultralytics_onnx`` reads Ultralytics'
metadata in it), ``checkpoint`` (reads weights without running code), ``loaded`` (the results of all of them),
``options`` (the options after ``?``).
"""

from __future__ import annotations

from importlib import import_module

from edgewright.core.errors import InvalidInput

from .loaded import Trainable
from .options import require_allowed
from .parse import ParsedSource


def trainable(source: ParsedSource, checkpoint: str | None = None, trust: bool = False) -> Trainable:
    """The torch module of `source`, with its own weights or those of the file `checkpoint`.

    `trust`: the checkpoint may be a pickle that runs code. Raises the errors of the library's module, and
    `InvalidInput` for an ONNX or TFLite file, which has no torch module.
    """
    require_torch(source)
    require_allowed(source)
    found: Trainable = import_module(f".{source.kind}", __name__).trainable(
        source.name, source.options, checkpoint, trust
    )
    return found


def require_torch(source: ParsedSource) -> None:
    """Raise `InvalidInput` if `source` is a file with a graph."""
    if source.is_graph:
        kind = "an ONNX" if source.kind == "onnx" else "a TFLite"
        raise InvalidInput(
            f"{source.name} is {kind} file.", "Only the original model can be trained or pruned.",
            "Name its library's source instead: timm:NAME, ultralytics:NAME, torch:package.module:factory.",
        )  # fmt: skip
