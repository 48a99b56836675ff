"""Models rewritten into equal or nearly equal ones, as stages: normalization, answers, shuffles, HardSwish."""

from __future__ import annotations

from pathlib import Path

from edgewright.core import files
from edgewright.core.errors import EdgewrightError, RuntimeFailed
from edgewright.core.spec import encode
from edgewright.core.store import Entry
from edgewright.data.sets import ImageSet
from edgewright.pipeline.stages.model import MODEL, SPEC
from edgewright.pipeline.stages.runner import StageRunner, made_by

ROUNDING = 1e-3
"""The largest difference, as a share of the largest value, that counts as rounding of float32."""


def fold_normalization(runner: StageRunner, model: Entry, name: str) -> Entry:
    """``model.onnx`` with uint8 NHWC input, which divides and normalizes in the graph; and its ``spec.json``."""
    inputs = {"model": model.key, "made_by": made_by("compile", "graph")}
    return runner.run("normalize", name, inputs, f"{__name__}:fold", model=str(model.path / MODEL))


def fold(model: str, folder: str) -> None:
    """Fold the normalization of the ONNX file `model` into its graph. Runs in a child."""
    from edgewright.graph import files as onnx_files
    from edgewright.graph import metadata, normalize

    graph = onnx_files.load(Path(model))
    normalize.apply(graph)
    onnx_files.save(graph, Path(folder, MODEL))
    files.write(Path(folder, SPEC), encode(metadata.get_spec(graph)))


def answer_in_graph(runner: StageRunner, model: Entry, name: str) -> Entry:
    """``model.onnx`` with the last step of decoding in the graph; and its ``spec.json``."""
    inputs = {"model": model.key, "made_by": made_by("compile", "graph")}
    return runner.run("rewrite", name, inputs, f"{__name__}:put_answers", model=str(model.path / MODEL))


def put_answers(model: str, folder: str) -> None:
    """Add the last step of decoding to the ONNX file `model`. Runs in a child."""
    from edgewright import tasks
    from edgewright.graph import files as onnx_files
    from edgewright.graph import metadata

    graph = onnx_files.load(Path(model))
    spec = metadata.get_spec(graph)
    rewrite = tasks.of(spec).rewrite if spec is not None else None
    assert rewrite is not None, spec
    rewrite.apply(graph)
    onnx_files.check(graph, "The model with its answers in the graph")
    onnx_files.save(graph, Path(folder, MODEL))
    files.write(Path(folder, SPEC), encode(metadata.get_spec(graph)))


def unshuffle(runner: StageRunner, model: Entry, name: str) -> Entry | None:
    """``model.onnx`` and ``spec.json`` of `model` without its channel shuffles; None for a model that has none."""
    inputs = {"model": model.key, "made_by": made_by("compile", "graph")}
    entry = runner.run("unshuffle", name, inputs, f"{__name__}:take_shuffles_out", model=str(model.path / MODEL))
    return entry if (entry.path / MODEL).is_file() else None


def take_shuffles_out(model: str, folder: str) -> None:
    """Remove the channel shuffles of the ONNX file `model`. Runs in a child.

    Writes nothing if there are none. Raises `RuntimeFailed` if the outputs for random input change.
    """
    from edgewright.graph import compare, metadata, shuffle
    from edgewright.graph import files as onnx_files

    before = onnx_files.load(Path(model))
    graph = onnx_files.copy(before)
    if not shuffle.apply(graph):
        return
    what, remedy = "The removal of channel shuffles breaks the model", "Report it with the model's name."
    try:
        onnx_files.check(graph, "The model without shuffles")
        gap = compare.difference(before, graph, compare.random_feeds(before))
    except EdgewrightError as error:  # our rewrite is wrong, not the user's file
        raise RuntimeFailed(f"{what}: {error.what}", error.why, remedy) from error
    if gap > ROUNDING:
        raise RuntimeFailed(f"{what}.", f"Its outputs differ by {gap:.3g} of the largest value.", remedy)
    onnx_files.save(graph, Path(folder, MODEL))
    files.write(Path(folder, SPEC), encode(metadata.get_spec(graph)))


def fit_hardswish(runner: StageRunner, model: Entry, calibration: ImageSet) -> Entry:
    """``hardswish.json`` and ``hardswish.safetensors``: a replacement for each SiLU (see `quantize.hardswish`)."""
    inputs = {"model": model.key, "images": calibration.digests, "made_by": made_by("quantize", "graph")}
    return runner.run(
        "fit", f"{calibration.name}: HardSwish", inputs, "edgewright.quantize.hardswish:fit",
        model=str(model.path / MODEL), images=calibration.paths, into="out",
    )  # fmt: skip


def put_hardswish(
    runner: StageRunner, model: Entry, fitted: Entry, share: float, calibration: ImageSet, name: str
) -> Entry:
    """``model.onnx`` and ``spec.json`` of `model` with HardSwish for `share` of the SiLU values."""
    inputs = {"model": model.key, "fitted": fitted.key, "share": share, "images": calibration.digests}
    return runner.run(
        "substitute", name, {**inputs, "made_by": made_by("quantize", "graph")}, "edgewright.quantize.hardswish:put",
        model=str(model.path / MODEL), images=calibration.paths, fitted=str(fitted.path),
        share=share,
    )  # fmt: skip
