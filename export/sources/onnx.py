"""An existing ONNX file, or the ONNX of a TFLite file: checked, cleaned, converted to a current operator set; its spec
is read or derived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from edgewright.core.description import TASK, section_of
from edgewright.core.errors import InvalidInput
from edgewright.core.spec import flat, flat_input
from edgewright.export import guess
from edgewright.graph import clean, files, foreign, inference, inputs, metadata, precision, upgrade
from edgewright.graph import outputs as output_pass

from . import tflite, ultralytics_onnx
from .loaded import Loaded, Original

if TYPE_CHECKING:
    import onnx


AS_IT_WAS = "the original ONNX file"
CONVERTED = "the TFLite file, converted to ONNX"
REWRITTEN = "the ONNX file with its integer, bfloat16 or float64 operators rewritten"


class Asked(NamedTuple):
    """What the user's description says about an ONNX file.

    `size`: (height, width), if the file leaves them open. `outputs`: the tensors to read, outputs or inner ones, in
    that order (default: all outputs). `task`: its name. For the task `tensors`, `inputs` has the tables of inputs,
    `images` says whether images have a preprocessing, and `sample` has the shapes of the arrays of one sample.
    """

    size: tuple[int | None, int | None] | None = None
    outputs: Sequence[str] = ()
    task: str | None = None
    inputs: Mapping[str, Any] = {}
    images: bool = False
    sample: Mapping[str, Sequence[int]] = {}


NOTHING = Asked()


def load(path: str, asked: Asked = NOTHING) -> Loaded:
    """The model at `path`.

    For a classifier (the default task) the outputs are one array of class scores. A detector from Ultralytics needs
    neither outputs nor task: its metadata is read, and its decoding is removed (`graph.cut`).

    Raises `InvalidInput`, `IntegrityError` (see `graph.files.load`).
    """
    task, outputs = asked.task, asked.outputs
    mended: list[str] = []
    metadata_fields: dict[str, Any] = {}
    if lite := path.endswith(tflite.SUFFIX):
        model, metadata_fields, converted = tflite.load(path)
    else:
        model, converted = files.load(path, mend=lambda model, name: mended.extend(foreign.mend(model, name))), ()
    clean.apply(model)
    inference.require(model, Path(path).name)
    if outputs:
        output_pass.choose(model, outputs)
    stored = metadata.get_spec(model)
    section = section_of(task or (stored.task.kind if stored else TASK))
    any_arrays = bool(getattr(section, "ANY", False))
    integers = any_arrays or bool(getattr(section, "INTEGERS", False)) or ultralytics_onnx.gives_maps(model)
    output_pass.require_arrays(model, integers)
    half = precision.half(model)
    as_it_was = files.copy(model) if not mended and foreign.keeps_answers(model) else None
    notes = (*converted, *mended, *foreign.plain(model, Path(path).name))
    upgrade.apply(model)
    words = CONVERTED if lite else AS_IT_WAS if as_it_was is not None else REWRITTEN
    judged = Original(as_it_was or files.copy(model), words, half)
    spec: dict[str, Any] = flat(stored) if stored else {"name": Path(path).stem}
    if any_arrays:
        spec["outputs"] = [value.name for value in model.graph.output]
        return Loaded(model, _with_inputs(model, spec, asked), str(path), notes, judged)
    found = inputs.image(model, _size(asked.size, ultralytics_onnx.size_of(model)))
    spec["input"] = flat_input(found)
    spec |= tflite.described(metadata_fields, found)
    if stored is None and task is None and not outputs:
        said, more = ultralytics_onnx.read(model, found)
        spec, notes = spec | said, notes + more
    if (task or spec.get("task", TASK)) != TASK:
        spec["outputs"] = [value.name for value in model.graph.output]
        return Loaded(model, spec, str(path), notes, judged)
    scores = _scores(model)
    spec["outputs"] = [scores.name]
    classes = inputs.shape(scores)[1:2]
    if classes and classes[0]:
        spec["classes"] = classes[0]
    return Loaded(model, spec, str(path), notes, judged)


def _with_inputs(model: onnx.ModelProto, spec: dict[str, Any], asked: Asked) -> dict[str, Any]:
    """`spec` with all inputs of `model`: the table ``input`` for a single image, else ``inputs``."""
    images = asked.images or "preprocess" in spec
    said = {name: {**spec.get("inputs", {}).get(name, {}), **table} for name, table in asked.inputs.items()}
    said = {**spec.pop("inputs", {}), **said}
    spec.pop("input", None)
    only = inputs.real(model)[0] if len(inputs.real(model)) == 1 else None
    if only is not None and asked.size and images:
        said = {only.name: {"height": asked.size[0], "width": asked.size[1], **said.get(only.name, {})}}
    found = inputs.tables(model, said, images, asked.sample)
    if only is not None and found[only.name]["kind"] == "image":
        table = found[only.name]
        spec["input"] = {"name": only.name, **{name: value for name, value in table.items() if name != "kind"}}
        return spec
    return {**spec, "inputs": found}


def _size(
    asked: tuple[int | None, int | None] | None, known: tuple[int, int] | None
) -> tuple[int, int] | None:  # fmt: skip
    """The (height, width) of an input that leaves them open: the requested one, else the `known` one."""
    height, width = (one or other for one, other in zip(asked or (None, None), known or (None, None)))
    return (height, width) if height and width else None


def _scores(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    found = list(model.graph.output)
    if len(found) == 1:
        output_pass.flatten(model, found[0].name)
        found = list(model.graph.output)
    if len(found) != 1 or (found[0].type.tensor_type.shape.dim and len(inputs.shape(found[0])) != 2):
        shapes = ", ".join(f"'{value.name}' {inputs.shape(value)}" for value in found)
        raise InvalidInput(
            f"The model gives {shapes}.",
            "Nothing says what its outputs mean. A classifier has one output [batch, classes].",
            f"{guess.advice([inputs.shape(value) for value in found])} {guess.TENSORS}",
        )
    return found[0]
