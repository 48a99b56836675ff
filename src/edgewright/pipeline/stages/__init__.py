"""Each step of the main job as a pure stage: kept in the store under the hash of all that went in, made in a child.

A key covers the content of the input files, every parameter, the versions of the libraries that do the work, and the
code of the wing that calls them, so that neither an upgrade nor an edit re-uses an old result.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgewright.core import child, files, machine_key
from edgewright.core.errors import DiskFull, EdgewrightError, IntegrityError, InvalidInput, RuntimeFailed
from edgewright.core.lazy import version
from edgewright.core.spec import ModelSpec, decode, encode
from edgewright.core.store import Entry, Store
from edgewright.data import sets
from edgewright.data.sets import ImageSet
from edgewright.export.sources import plan, torch, ultralytics
from edgewright.export.sources.parse import PLAN, parse
from edgewright.pipeline.candidates.base import Candidate, Variant
from edgewright.quantize import methods, schemes
from edgewright.quantize.calibration.statistics import STATISTICS
from edgewright.runtimes import torch as torch_reference
from edgewright.runtimes.options import Options
from edgewright.targets.ssh import Lost, Unreachable

if TYPE_CHECKING:
    from edgewright.bench.accuracy import Answer
    from edgewright.graph.precision import Found

FATAL = (InvalidInput, IntegrityError, DiskFull, Unreachable, Lost)
"""What the user gave is wrong, nothing more can be written, the device is gone: no other candidate can do better."""

Watch = Callable[[str, str, int, int, str], None]
"""Called with (stage, what it works on, done, total, step): total 0 means unknown."""

MODEL, SPEC, PARITY, REFERENCE = "model.onnx", "spec.json", "parity.json", torch_reference.MODEL
SIMULATED = "simulated.onnx"
ROUNDING = 1e-3
"""More than this share of the largest value is no rounding of float32."""
HALF_IMAGES = 64
"""Images that FP16 is proven on: of more the time grows, and what overflows shows on these."""

LIBRARIES = {
    "export": (
        "torch", "torchvision", "timm", "ultralytics", "ultralytics-opencv-headless", "onnx", "onnxscript", "onnxslim",
        "onnxruntime",
    ),
    "quantize": ("nncf", "onnx", "onnxruntime", "torch"),
    "distill": ("torch", "torchvision", "timm", "ultralytics", "ultralytics-opencv-headless"),
    "prune": ("torch", "torchvision", "timm", "ultralytics", "ultralytics-opencv-headless", "torch-pruning", "scipy"),
    "compile": ("onnxruntime", "openvino", "torch", "onnx", "tensorrt", "tensorrt-rtx-cu13"),
    "check": ("onnx", "tensorrt-rtx-cu13"),
    "measure": ("onnxruntime", "openvino", "torch", "numpy", "Pillow", "opencv-python", "opencv-python-headless"),
}  # fmt: skip


def quiet(stage: str, what: str, done: int, total: int, step: str) -> None:
    """A `Watch` that watches nothing."""


class Workshop(msgspec.Struct, frozen=True, kw_only=True):
    """Where stages are kept, what a child may use, where logs go, and who watches.

    `strict`: stop at an image that cannot be read, and at anything else in a data set that deserves a warning.
    """

    store: Store
    limits: child.Limits = child.Limits()
    watch: Watch = quiet
    strict: bool = False

    def run(
        self, stage: str, what: str, inputs: Mapping[str, Any], target: str, into: str = "folder",
        refuse: Callable[[Path], str] | None = None, **kwargs: Any,
    ) -> Entry:  # fmt: skip
        """The stored result of ``target(..., folder=folder)``, made now if it is not there yet.

        `target` is "module:function"; the code of the room that it lives in is part of the key. `refuse`: why a stored
        result is not to be used here, empty where it is.
        """
        log = self.log(stage, what)
        room = target.partition(":")[0].split(".")[1]

        def make(folder: Path, step: child.Progress) -> None:
            child.call(target, log=log, limits=self.limits, progress=step, **{**kwargs, into: str(folder)})

        return self.keep(stage, what, {**inputs, "code": code_digest(room)}, make, refuse)

    def keep(
        self, stage: str, what: str, inputs: Mapping[str, Any], make: Callable[[Path, child.Progress], None],
        refuse: Callable[[Path], str] | None = None,
    ) -> Entry:  # fmt: skip
        """The stored result of ``make(folder, progress)``, watched; `refuse` as in `run`."""

        def step(done: int, total: int, text: str) -> None:
            self.watch(stage, what, done, max(total, done + 1), text)  # only this function says that it is finished

        step(0, 0, "")
        entry = self.store.stage(stage, inputs, lambda folder: make(folder, step), refuse)
        how = "from the store" if entry.reused else f"{entry.seconds:.1f} s"
        self.watch(stage, what, 1, 1, f"{how}; the stored one {entry.damage}" if entry.damage else how)
        return entry

    def log(self, stage: str, what: str) -> Path:
        """The log file of a child: libraries print there, never into the user's terminal."""
        return self.store.root / "logs" / f"{stage}-{hashlib.sha256(what.encode()).hexdigest()[:12]}.log"


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """The model as the user names it: a source string, and files that complete it."""

    source: str
    checkpoint: str | None = None
    spec_file: str | None = None
    trust_checkpoint: bool = False

    def identity(self) -> dict[str, Any]:
        """What the export's key holds of the source: names, and digests of all files that are read."""
        named = {"checkpoint": self.checkpoint, "spec_file": self.spec_file, "model": self.source}
        return {
            "source": self.source,
            "trust_checkpoint": self.trust_checkpoint,
            **{name: _digest(path) for name, path in named.items() if path and Path(path).is_file()},
            "beside": _beside(self.checkpoint or ultralytics.own_file(parse(self.source)) or self.source),
            "named": _named_digest(self.source),
        }


def export(shop: Workshop, source: Source, images: list[str], image_digests: list[str], batch: int | None) -> Entry:
    """``model.onnx`` (float, normalized on the host), ``spec.json``, ``parity.json``, ``reference.pt2`` for torch."""
    inputs = {**source.identity(), "images": image_digests, "batch": batch, "made_by": made_by("export", "graph")}
    if parse(source.source).kind != "onnx":
        machine_key.key()  # the reference is marked with it: that it cannot be kept is said before the work
    return shop.run(
        "export", source.source, inputs, "edgewright.export.exporter:export", refuse=_foreign, source=source.source,
        checkpoint=source.checkpoint, spec_file=source.spec_file, trust_checkpoint=source.trust_checkpoint,
        images=images, batch=batch,
    )  # fmt: skip


def _foreign(folder: Path) -> str:
    return "" if torch_reference.is_own(folder) else "another machine or user wrote its torch program"


def quantize(
    shop: Workshop, model: Entry, variant: Variant, calibration: ImageSet, calibration_digests: list[str], seed: int
) -> Entry:
    """``model.onnx`` in INT8 and ``provenance.json``; `variant` names scheme and method."""
    assert variant.method is not None
    method = methods.get(variant.method)
    how: dict[str, Any] = {"scheme": variant.scheme, "method": variant.method, "seed": seed}
    if method.labels:
        how["labels"] = _classes(method.name, calibration, spec_of(model))
    source = quantized_from(shop, model, variant, calibration, calibration_digests, seed)
    paths = [item.path for item in calibration.items]
    inputs = {"model": source.key, "images": calibration_digests, **how, "made_by": made_by("quantize", "graph")}
    kwargs: dict[str, Any] = {"model": str(source.path / MODEL), "images": paths, **how}
    if method.engine == "onnxruntime":
        seen = _statistics(shop, source, method, calibration, calibration_digests, seed)
        inputs["statistics"], kwargs["statistics"] = seen.key, str(seen.path)
    if method.distil:
        kwargs["checkpoint"] = str(shop.store.checkpoint("quantize", inputs))
    made = shop.run(
        "quantize", variant.name, inputs, "edgewright.quantize.quantize:quantize", **kwargs, into="out",
    )  # fmt: skip
    if method.distil:
        shutil.rmtree(kwargs["checkpoint"], ignore_errors=True)
    return made


def _classes(method: str, images: ImageSet, spec: ModelSpec) -> list[int]:
    """The model's class for each image; raises `InvalidInput` where the images do not tell it."""
    if spec.task != "classify":
        raise InvalidInput(
            f"The method '{method}' learns from a class for each image, and '{spec.name}' is no classifier.",
            f"Its task is {spec.task}.", "Use distil, which learns from the float model alone.",
        )  # fmt: skip
    if any(item.label is None for item in images.items):
        raise InvalidInput(
            f"The method '{method}' learns from a class for each image, and the calibration images have none.",
            f"They are those of '{images.name}'.", "Sort them into a folder a class, or use distil, which needs none.",
        )  # fmt: skip
    return [item.label for item in sets.match_labels(images, spec).items if item.label is not None]


def observe(shop: Workshop, model: Entry, calibration: ImageSet, digests: list[str]) -> Entry:
    """``statistics.safetensors``: what the model's activations do on the images; serves every scheme and method."""
    inputs = {"model": model.key, "images": digests, "made_by": made_by("quantize", "graph")}
    return shop.run(
        "observe", calibration.name, inputs, "edgewright.quantize.quantize:observe", model=str(model.path / MODEL),
        images=[item.path for item in calibration.items], into="out",
    )  # fmt: skip


def weigh(shop: Workshop, model: Entry, seen: Entry, calibration: ImageSet, digests: list[str], seed: int) -> Entry:
    """``statistics.safetensors`` with the range of each tensor that costs the answers least: `calibration.clipping`."""
    how = {"seed": seed, "made_by": made_by("quantize", "graph")}
    return shop.run(
        "weigh", calibration.name, {"model": model.key, "statistics": seen.key, "images": digests, **how},
        "edgewright.quantize.quantize:weigh", model=str(model.path / MODEL), statistics=str(seen.path), seed=seed,
        images=[item.path for item in calibration.items], into="out",
    )  # fmt: skip


def _statistics(
    shop: Workshop, model: Entry, method: methods.Method, calibration: ImageSet, digests: list[str], seed: int
) -> Entry:
    """``statistics.safetensors`` of `model`, with all that `method` wants; a split or centred model brings its own."""
    if Path(model.path, STATISTICS).is_file():
        return model
    seen = observe(shop, model, calibration, digests)
    return weigh(shop, model, seen, calibration, digests, seed) if "output" in method.ranges else seen


AROUND_ZERO = {
    "split": "edgewright.quantize.ptq.channel_splitting:split",
    "centre": "edgewright.quantize.ptq.centering:centre",
}
"""What is done with a float model for grids around zero, where the method wants it, in this order."""


def quantized_from(
    shop: Workshop, model: Entry, variant: Variant, calibration: ImageSet, digests: list[str], seed: int
) -> Entry:
    """The float model that is quantized: `model`, or the same function as the method prepares it for the scheme."""
    assert variant.method is not None and variant.scheme is not None
    method, scheme = methods.get(variant.method), schemes.get(variant.scheme)
    made_with = made_by("quantize", "graph")
    if method.equalize:
        made = shop.run(
            "equalize", calibration.name, {"model": model.key, "images": digests, "made_by": made_with},
            "edgewright.quantize.ptq.equalize:equalize", model=str(model.path / MODEL),
            images=[item.path for item in calibration.items], into="out",
        )  # fmt: skip
        model = made if Path(made.path, MODEL).is_file() else model
    for stage, target in AROUND_ZERO.items() if scheme.centred else ():
        if getattr(method, stage):
            seen = _statistics(shop, model, method, calibration, digests, seed)
            made = shop.run(
                stage, calibration.name, {"model": model.key, "statistics": seen.key, "made_by": made_with},
                target, model=str(model.path / MODEL), statistics=str(seen.path), into="out",
            )  # fmt: skip
            model = made if Path(made.path, MODEL).is_file() else model
    return model


def mix_precision(
    shop: Workshop, model: Entry, quantized: Entry, variant: Variant, calibration: ImageSet, digests: list[str],
    seed: int,
) -> Entry:  # fmt: skip
    """``model.onnx``, ``provenance.json``: `quantized` with the variant's layers given back to float."""
    how: dict[str, Any] = {"scheme": variant.scheme, "float_layers": list(variant.float_layers)}
    made = made_by("quantize", "graph")
    source = quantized_from(shop, model, variant, calibration, digests, seed)
    inputs = {"model": source.key, "quantized": quantized.key, "images": digests, **how, "made_by": made}
    return shop.run(
        "mixed", variant.name, inputs, "edgewright.quantize.mixed.compose:build", model=str(source.path / MODEL),
        quantized=str(quantized.path), images=[item.path for item in calibration.items], **how, into="out",
    )  # fmt: skip


def sensitivity(
    shop: Workshop, model: Entry, quantized: Entry, variant: Variant, calibration: ImageSet, digests: list[str],
    seed: int, count: int, layers: bool,
) -> Entry:  # fmt: skip
    """``sensitivity.json``: what each block loses in INT8, and each layer, on `count` images."""
    how: dict[str, Any] = {"scheme": variant.scheme, "count": count, "layers": layers}
    made = made_by("quantize", "graph")
    source = quantized_from(shop, model, variant, calibration, digests, seed)
    inputs = {"model": source.key, "quantized": quantized.key, "images": digests, **how, "made_by": made}
    return shop.run(
        "sensitivity", variant.name, inputs, "edgewright.quantize.mixed.block_sensitivity:measure",
        model=str(source.path / MODEL),
        quantized=str(quantized.path), images=[item.path for item in calibration.items], **how,
    )  # fmt: skip


def fit_hardswish(shop: Workshop, model: Entry, calibration: ImageSet, digests: list[str]) -> Entry:
    """``hardswish.json`` and ``hardswish.safetensors``: what may stand in for each SiLU (see `quantize.hardswish`)."""
    inputs = {"model": model.key, "images": digests, "made_by": made_by("quantize", "graph")}
    return shop.run(
        "fit", f"{calibration.name}: HardSwish", inputs, "edgewright.quantize.hardswish:fit",
        model=str(model.path / MODEL), images=[item.path for item in calibration.items], into="out",
    )  # fmt: skip


def put_hardswish(
    shop: Workshop, model: Entry, fitted: Entry, share: float, calibration: ImageSet, digests: list[str], name: str
) -> Entry:
    """``model.onnx`` and ``spec.json`` of `model` with HardSwish for `share` of the values that SiLU computes."""
    inputs = {"model": model.key, "fitted": fitted.key, "share": share, "images": digests}
    return shop.run(
        "substitute", name, {**inputs, "made_by": made_by("quantize", "graph")}, "edgewright.quantize.hardswish:put",
        model=str(model.path / MODEL), images=[item.path for item in calibration.items], fitted=str(fitted.path),
        share=share,
    )  # fmt: skip


def profile(shop: Workshop, artifacts: Mapping[str, Entry], image: str, digest: str, machine: str) -> Entry:
    """``profile.json``: the kernels of the artifacts (id -> entry) with their times, measured in turn here."""
    keys = {id: entry.key for id, entry in artifacts.items()}
    inputs = {
        "artifacts": keys,
        "image": digest,
        "machine": machine,
        "made_by": made_by("measure", "bench", "runtimes"),
    }
    return shop.run(
        "profile", " and ".join(artifacts), inputs, "edgewright.bench.profile:profile",
        profiled={id: str(entry.path) for id, entry in artifacts.items()}, image=image,
    )  # fmt: skip


def fold_normalization(shop: Workshop, model: Entry, name: str) -> Entry:
    """``model.onnx`` that takes uint8 NHWC: division, mean and std are inside the graph; and its ``spec.json``."""
    inputs = {"model": model.key, "made_by": made_by("compile", "graph")}
    return shop.run("normalize", name, inputs, f"{__name__}:fold", model=str(model.path / MODEL))


def fold(model: str, folder: str) -> None:
    """Fold the normalization of the ONNX file `model` into its graph; runs in a child."""
    from edgewright.graph import files as onnx_files
    from edgewright.graph import metadata, normalize

    graph = onnx_files.load(Path(model))
    normalize.apply(graph)
    onnx_files.save(graph, Path(folder, MODEL))
    files.write(Path(folder, SPEC), encode(metadata.get_spec(graph)))


def unshuffle(shop: Workshop, model: Entry, name: str) -> Entry | None:
    """``model.onnx`` and ``spec.json`` of `model` without its channel shuffles; None for a model that has none."""
    inputs = {"model": model.key, "made_by": made_by("compile", "graph")}
    made = shop.run("unshuffle", name, inputs, f"{__name__}:take_shuffles_out", model=str(model.path / MODEL))
    return made if (made.path / MODEL).is_file() else None


def take_shuffles_out(model: str, folder: str) -> None:
    """Take the channel shuffles out of the ONNX file `model`; runs in a child.

    Where there are none, nothing is written. Raises `RuntimeFailed` where the answers to random input change.
    """
    from edgewright.graph import compare, metadata, shuffle
    from edgewright.graph import files as onnx_files

    before = onnx_files.load(Path(model))
    graph = onnx_files.copy(before)
    if not shuffle.apply(graph):
        return
    what, remedy = "Taking its channel shuffles out breaks the model", "Report it with the model's name."
    try:
        onnx_files.check(graph, "The model without shuffles")
        gap = compare.difference(before, graph, compare.random_input(before))
    except EdgewrightError as error:  # a change of ours: no fault of the file that the user gave
        raise RuntimeFailed(f"{what}: {error.what}", error.why, remedy) from error
    if gap > ROUNDING:
        raise RuntimeFailed(f"{what}.", f"Its answers differ by {gap:.3g} of the largest.", remedy)
    onnx_files.save(graph, Path(folder, MODEL))
    files.write(Path(folder, SPEC), encode(metadata.get_spec(graph)))


def halve(shop: Workshop, model: Entry, what: str, images: ImageSet) -> Entry:
    """``model.onnx`` in mixed FP16, ``simulated.onnx`` and ``half.json`` (see `quantize.fp16`).

    It is proven on `HALF_IMAGES` of `images`, evenly out of the list, which is sorted by class.
    """
    some = msgspec.structs.replace(images, items=sets.spread(images.items, HALF_IMAGES))
    inputs = {"model": model.key, "images": sets.digests(some), "made_by": made_by("quantize", "graph")}
    return shop.run(
        "half", what, inputs, "edgewright.quantize.fp16:convert", model=str(model.path / MODEL),
        images=[item.path for item in some.items], into="out",
    )  # fmt: skip


def emulate(shop: Workshop, model: Entry, what: str, spec: ModelSpec) -> Entry:
    """An artifact that answers on this CPU as an exact INT8 or FP16 runtime answers with the file of `model`."""
    file = SIMULATED if (model.path / SIMULATED).exists() else MODEL
    options = Options(runtime="onnxruntime", emulate=True)
    return _compile(shop, f"{what}, emulated", model, file, spec, options, True)


def emulate_saturation(shop: Workshop, model: Entry, candidate: Candidate, spec: ModelSpec) -> Entry:
    """An artifact that answers as the candidate does on x86 without VNNI (`quantize.saturation`)."""
    runtime = candidate.options.runtime
    inputs = {"model": model.key, "runtime": runtime, "made_by": made_by("quantize", "graph")}
    made = shop.run(
        "saturate", candidate.id, inputs, "edgewright.quantize.saturation:convert", model=str(model.path / MODEL),
        runtime=runtime, into="out",
    )  # fmt: skip
    return emulate(shop, made, candidate.id, spec)


def compile_artifact(shop: Workshop, model: Entry, spec: ModelSpec, candidate: Candidate, run: bool) -> Entry:
    """The artifact of a candidate: what its runtime loads, and ``artifact.json``. `run`: this machine is the target."""
    return _compile(shop, candidate.id, model, MODEL, spec, candidate.options, run)


def compile_reference(shop: Workshop, exported: Entry, spec: ModelSpec) -> Entry:
    """The reference's artifact: float32 torch where the source has a torch module, else ONNX Runtime float32.

    Of a file that is quantized already the graph is computed as it is written, without INT8 kernels.
    """
    has_torch = (exported.path / REFERENCE).exists()
    parity = msgspec.json.decode((exported.path / PARITY).read_bytes())
    if has_torch and parity.get("reference_batch") is None:  # it takes any number of images
        spec = msgspec.structs.replace(spec, input=msgspec.structs.replace(spec.input, batch=None))
    # An INT8 file stands for itself, computed exactly: some processors add its products in 16 bits.
    exact = not has_torch and bool(what_is(exported).operators)
    options = Options(runtime="torch" if has_torch else "onnxruntime", precision="f32", emulate=exact)
    file = REFERENCE if has_torch else MODEL
    return _compile(shop, "reference", exported, file, spec, options, True, _foreign)


def _compile(
    shop: Workshop, what: str, model: Entry, file: str, spec: ModelSpec, options: Options, run: bool,
    refuse: Callable[[Path], str] | None = None,
) -> Entry:  # fmt: skip
    how = {"spec": msgspec.to_builtins(spec), "options": msgspec.to_builtins(options), "run": run}
    inputs = {"model": model.key, "file": file, **how, "made_by": made_by("compile", "runtimes", "graph")}
    if run and options.runtime == "tensorrt":  # a plan is bound to more than the library's version
        from edgewright.runtimes import tensorrt

        inputs["device"] = tensorrt.identity()
    target = "edgewright.runtimes.artifact:build"
    return shop.run("compile", what, inputs, target, refuse=refuse, model=str(model.path / file), **how)


def evaluate(
    shop: Workshop, artifact: Entry, what: str, images: ImageSet, image_digests: list[str], machine: str,
    answer: Answer | None = None,
) -> Entry:  # fmt: skip
    """``outputs.npy`` (images x classes): what the artifact answers on every evaluation image.

    `machine` stands for the one that answers in the key; `answer` does it where that is not this one.
    """
    from edgewright.bench import accuracy

    labels = [item.label for item in images.items]
    inputs = {
        "artifact": artifact.key, "images": image_digests, "labels": labels, "machine": machine,
        "made_by": made_by("measure", "bench"),
    }  # fmt: skip

    def make(folder: Path, step: child.Progress) -> None:
        paths = [item.path for item in images.items]
        accuracy.evaluate(artifact.path, paths, labels, folder, limits=shop.limits, progress=step, answer=answer)

    return shop.keep("evaluate", what, inputs, make)


def finish(
    shop: Workshop, artifact: Entry, what: str, machine: str, complete: Callable[[Path, Path, child.Progress], None]
) -> Entry:
    """The artifact with what only the device `machine` can build of it: ``complete(artifact, folder, progress)``."""
    inputs = {"artifact": artifact.key, "machine": machine, "made_by": made_by("compile", "runtimes")}

    def make(folder: Path, step: child.Progress) -> None:
        complete(artifact.path, folder, step)
        Path(folder, "manifest.json").unlink(missing_ok=True)  # of the unfinished one; the store writes its own

    return shop.keep("finish", what, inputs, make)


def what_is(entry: Entry) -> Found:
    """What the ``model.onnx`` that a stage wrote is: in float, or quantized already."""
    from edgewright.graph import precision

    return precision.read(entry.path / MODEL)


def require_float(entry: Entry) -> None:
    """Raise `InvalidInput` where the model of `entry` is quantized already."""
    from edgewright.graph import precision

    if found := what_is(entry).operators:
        raise precision.already(Path(spec_of(entry).source or MODEL).name, found)


def spec_of(entry: Entry) -> ModelSpec:
    """The ModelSpec that a stage wrote beside its model."""
    return decode((entry.path / SPEC).read_bytes(), ModelSpec, SPEC)


def made_by(libraries: str, *rooms: str) -> dict[str, str | None]:
    """Versions of the libraries a stage uses, and a digest of the code of our own rooms that call them."""
    own = {room: code_digest(room) for room in (*rooms, "core", "vision")}
    return {**{name: version(name) for name in LIBRARIES[libraries]}, **own}


@functools.cache
def code_digest(room: str) -> str:
    """A digest of the Python files of one of our packages."""
    spec = importlib.util.find_spec(f"edgewright.{room}")
    assert spec is not None and spec.origin is not None, room
    folder = Path(spec.origin).parent
    sources = sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".toml"))
    return hashlib.sha256(b"".join(p.read_bytes() for p in sources)).hexdigest()[:16]


def _digest(path: str) -> str:
    return files.sha256(files.absolute(path))


def _beside(model: str) -> dict[str, str]:
    """Digests of the files beside a model file that may be read with it: its spec, its external data."""
    path = Path(model)
    if not path.is_file():
        return {}
    near = [path.with_suffix(".toml").name]
    if path.suffix == ".onnx":
        from edgewright.graph.files import external_names

        near += external_names(path)
    found = {}
    for name in near:
        with contextlib.suppress(InvalidInput, IntegrityError), files.open_contained(path.parent, name) as file:
            found[name] = files.sha256(file)  # what may not be opened the export refuses
    return found


def _named_digest(source: str) -> str | None:
    """A digest of the file that a source names, or of the module of its factory: an edit of it must export anew."""
    library, _, rest = source.partition("?")[0].partition(":")
    if library == "ultralytics" and (path := ultralytics.file_of(rest)):
        return files.sha256(path)
    if (folder := files.absolute(source) / PLAN).is_file():
        return files.sha256(folder) + files.sha256(folder.with_name(plan.WEIGHTS))
    if library != "torch":
        return None
    found = torch.file_of(rest)
    return files.sha256(found) if found else None  # the export says what is wrong with the name
