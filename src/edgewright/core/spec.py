"""ModelSpec: the description that accompanies the weights from the training library to the device.

Plain data (msgspec structs, JSON), stored in the ONNX metadata and in the bundle. It describes the preprocessing of the
training exactly, so that the device computes the same pixels as the training library.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal, TypeVar, cast

import msgspec

from . import description
from .errors import InvalidInput

SCHEMA_VERSION = 2
METADATA_KEY = "edgewright.spec"
MAX_PIXELS = 89_478_485
"""The most pixels of an input or image; larger files are decompression bombs (Pillow's own limit for its warning)."""

Side = Annotated[int, msgspec.Meta(ge=1, le=1 << 16)]
Count = Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]


class Preprocess(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The preprocessing from an 8-bit image to the model's input: resize, crop, normalize.

    - `resize`: "shorter" scales the shorter side to `resize_to[0]` (torchvision's Resize(int)); "exact" scales to the
      (height, width) `resize_to`; "letterbox" fits the image into `resize_to`, keeps its aspect ratio and fills the
      rest with `pad`; "none" keeps the size; "tiles" keeps it, too, and a session runs the network on
      overlapping parts of the input's size (tasks with `overlap` only).
    - `pad`: a gray level, or a color in the order of `color`. `align` "center" pads all sides, "corner" right and
      bottom.
    - `interpolation`: "opencv" is OpenCV's INTER_LINEAR, as detectors are trained; the others are Pillow's.
    - `crop`: a center crop to (height, width). A smaller image is padded with zeros, after a letterbox with `pad`.
      `rounding`: if an odd number of pixels is left over, the crop starts at the "nearest" whole pixel, a half to the
      even one (torchvision, timm), or one is rounded "down" (transformers).
    - `divide`, `mean`, `std`: an input value is (pixel / divide - mean) / std, by channel. A pixel is from 0 to 255.
    - `normalize`: "graph" means that the graph divides and normalizes; it takes the pixels, from 0 to 255.
    - `exif`: whether the EXIF orientation of a photo is applied first. OpenCV's imread applies it (and Ultralytics),
      and Pillow does not (nor timm and torchvision). None: as the library of `interpolation` does.
    """

    resize: Literal["shorter", "exact", "none", "letterbox", "tiles"] = "shorter"
    resize_to: tuple[Side, Side] = (256, 256)
    interpolation: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos", "opencv"] = "bilinear"
    pad: int | tuple[int, int, int] = 114
    align: Literal["center", "corner"] = "center"
    crop: tuple[Side, Side] | None = None
    rounding: Literal["nearest", "down"] = "nearest"
    color: Literal["RGB", "BGR", "L"] = "RGB"
    divide: float = 255.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    normalize: Literal["host", "graph"] = "host"
    exif: Literal["apply", "ignore"] | None = None

    def __str__(self) -> str:
        """One line for people: "exact to 64x64, bilinear, RGB / 255, mean 0.5 0.5 0.5, std 0.5 0.5 0.5"."""
        size = self.resize_to[:1] if self.resize == "shorter" else self.resize_to
        steps = [] if self.resize in ("none", "tiles") else [f"{self.resize} to {'x'.join(map(str, size))}"]
        steps += ["tiles"] if self.resize == "tiles" else []
        steps += [f"crop to {'x'.join(map(str, self.crop))}"] if self.crop not in (None, size) else []
        steps += [self.interpolation, f"{self.color} / {self.divide:g}"]
        steps += [f"{name} {' '.join(f'{v:.4g}' for v in of)}" for name, of in (("mean", self.mean), ("std", self.std))]
        return ", ".join(steps)

    @property
    def turns(self) -> bool:
        """Whether photos are turned by their EXIF orientation."""
        return self.exif == "apply" or (self.exif is None and self.interpolation == "opencv")


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="image"):
    """An image input of the graph.

    - `name`: in the graph. `height`, `width`: in pixels. `channels`: 1 or 3.
    - `batch`: the images of one inference; None is any number.
    - `dtype`, `layout`: of the array. NCHW is (batch, channels, height, width), NHWC is (batch, height, width,
      channels).
    - `preprocess`: how an image becomes the array.
    """

    name: str = "images"
    height: Side
    width: Side
    channels: Annotated[int, msgspec.Meta(ge=1, le=16)] = 3
    batch: Side | None = 1
    dtype: Literal["float32", "uint8", "int32"] = "float32"
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    preprocess: Preprocess = Preprocess()

    def shape(self, batch: int = 1) -> tuple[int, int, int, int]:
        """The shape of the array for `batch` images, in the model's layout."""
        hw = (self.height, self.width)
        return (batch, self.channels, *hw) if self.layout == "NCHW" else (batch, *hw, self.channels)


class TensorInput(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="tensor"
):
    """An input that takes an array as it is, for instance of a sample file.

    - `name`: in the graph. `shape`: of one sample, without the batch axis; empty for one number. `dtype`: of the array.
    - `batched`: whether the graph has a batch axis in front of `shape`. A model with an input without it takes one
      sample per inference. `batch`: the samples of one inference; None is any number.
    """

    name: str
    dims: Annotated[tuple[Side, ...], msgspec.Meta(max_length=8)] = msgspec.field(name="shape")
    dtype: Literal["float32", "uint8", "int8", "int16", "uint16", "int32", "int64", "bool"] = "float32"
    batched: bool = True
    batch: Side | None = 1

    def shape(self, batch: int = 1) -> tuple[int, ...]:
        """The shape of the array for `batch` samples."""
        return (batch, *self.dims) if self.batched else self.dims


AnyInput = Input | TensorInput


class Section:
    """The task's part of a ModelSpec; its type determines the task.

    Each task has one: a frozen struct with the tag field ``kind``, called ``SECTION`` in its module ``spec``.
    """

    __slots__ = ()
    ANY: ClassVar[bool] = False
    """Whether the task takes any inputs and outputs. Other tasks take one image."""
    INTEGERS: ClassVar[bool] = False
    """Whether the outputs may be whole numbers, such as the class of each pixel."""
    TABLE: ClassVar[str] = ""
    """The table of a description with its fields; empty: the table with the task's name."""

    @property
    def kind(self) -> str:
        """The task's name."""
        tag = cast("msgspec.Struct", self).__struct_config__.tag
        assert isinstance(tag, str), tag
        return tag


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about a model except its weights.

    `name`: the name of its bundles. `source`: its origin. `inputs`: one image (`Input`); for the task `tensors` any
    number of `Input` and `TensorInput`, in the graph's order. `outputs`: the outputs of the graph that are read, in
    order. `task`: the task's section, such as `Classify` or `Detect`.
    """

    schema_version: int = SCHEMA_VERSION
    name: str
    source: str = ""
    inputs: Annotated[tuple[AnyInput, ...], msgspec.Meta(min_length=1, max_length=16)]
    outputs: tuple[str, ...] = ("logits",)
    task: Section

    @staticmethod
    def upgraded(data: dict[str, Any]) -> dict[str, Any]:
        """A spec of schema 1, converted to this schema."""
        return {**description.structured(data), "schema_version": SCHEMA_VERSION}

    @property
    def images(self) -> tuple[Input, ...]:
        """The inputs that take images."""
        return tuple(one for one in self.inputs if isinstance(one, Input))

    @property
    def takes_image(self) -> bool:
        """Whether the model has exactly one input, and it takes an image."""
        return len(self.inputs) == 1 and isinstance(self.inputs[0], Input)

    @property
    def input(self) -> Input:
        """The first image input. Raises `InvalidInput` for a model that takes no image."""
        for one in self.inputs:
            if isinstance(one, Input):
                return one
        raise InvalidInput(
            f"{self.name} takes no image.",
            f"Its inputs are arrays: {', '.join(one.name for one in self.inputs)}.",
            "Give samples: arrays by input name, or .npz files with them.",
        )

    @property
    def preprocess(self) -> Preprocess:
        """The preprocessing of the first image input."""
        return self.input.preprocess

    @property
    def turns(self) -> bool:
        """Whether photos are turned by their EXIF orientation before they are resized."""
        return any(one.preprocess.turns for one in self.images)

    @property
    def batch(self) -> int | None:
        """The samples of one inference; None is any number."""
        if any(isinstance(one, TensorInput) and not one.batched for one in self.inputs):
            return 1
        return self.inputs[0].batch

    @property
    def values(self) -> int:
        """The size of a sample: the pixels of its images, and the numbers of its other arrays."""
        return sum(one.height * one.width if isinstance(one, Input) else math.prod(one.dims) for one in self.inputs)

    @property
    def classes(self) -> int:
        """The number of classes; 0 if the task has none."""
        return getattr(self.task, "classes", 0)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the classes; empty if the model has none."""
        return getattr(self.task, "labels", ())

    @property
    def is_tiled(self) -> bool:
        """Whether a session runs the network on overlapping parts of a photo."""
        return self.takes_image and self.preprocess.resize == "tiles"

    @property
    def overlap(self) -> int | None:
        """The pixels that neighboring tiles share at least; None if the task does not run on tiles."""
        return getattr(self.task, "overlap", None)

    def label(self, index: int) -> str:
        """The name of class `index`; the index as text if the model has no names."""
        return self.labels[index] if self.labels else str(index)

    def with_input(self, **changes: Any) -> ModelSpec:
        """This spec with `changes` to its first image input."""
        first = self.input
        changed = msgspec.structs.replace(first, **changes)
        return msgspec.structs.replace(self, inputs=tuple(changed if one is first else one for one in self.inputs))

    def with_batch(self, batch: int | None) -> ModelSpec:
        """This spec with `batch` samples per inference (None: any number)."""
        inputs = tuple(msgspec.structs.replace(one, batch=batch) for one in self.inputs)
        return msgspec.structs.replace(self, inputs=inputs)

    def with_task(self, **changes: Any) -> ModelSpec:
        """This spec with `changes` to its task's section."""
        task = msgspec.structs.replace(cast("msgspec.Struct", self.task), **changes)
        return msgspec.structs.replace(self, task=task)


def flat(spec: ModelSpec) -> dict[str, Any]:
    """The flat description of a model (see `description`) as plain data, without the schema version."""
    fields: dict[str, Any] = msgspec.to_builtins(spec)
    section, kind = fields["task"], spec.task.kind
    own = {name: section.pop(name) for name in description.top_level_fields(kind)}
    tables: dict[str, Any] = {"inputs": {one.pop("name"): one for one in fields["inputs"]}}
    if spec.takes_image:
        tables = {"input": flat_input(spec.input), "preprocess": msgspec.to_builtins(spec.preprocess)}
    tables[description.table_of(kind)] = {name: value for name, value in section.items() if name != "kind"}
    return {**{name: fields[name] for name in ("name", "source", "outputs")}, "task": kind, **tables, **own}


def flat_input(image: Input) -> dict[str, Any]:
    """The table ``input`` of the only input; its preprocessing has its own table."""
    fields: dict[str, Any] = msgspec.to_builtins(image)
    return {name: value for name, value in fields.items() if name not in ("kind", "preprocess")}


def inconsistency(spec: ModelSpec) -> str:
    """The contradiction inside `spec`, as text; empty if there is none."""
    if not spec.takes_image and not spec.task.ANY:
        return f"the task {spec.task.kind} takes one image, but the model has {_listed(spec)}"
    if len({one.name for one in spec.inputs}) < len(spec.inputs):
        return "two inputs have the same name"
    if len({one.batch for one in spec.inputs}) > 1:
        return "the inputs have different batches"
    for one in spec.inputs:
        if isinstance(one, TensorInput) and math.prod(one.dims) > MAX_PIXELS:
            return f"the input {one.name} has {math.prod(one.dims)} values, more than the allowed {MAX_PIXELS}"
    several = len(spec.inputs) > 1
    found = ((one, _image_inconsistency(one, spec.overlap)) for one in spec.images)
    if wrong := next(((one, text) for one, text in found if text), None):
        return f"{wrong[1]} (input {wrong[0].name})" if several else wrong[1]
    if spec.labels and len(spec.labels) != spec.classes:
        return f"there are {len(spec.labels)} labels, but {spec.classes} classes"
    return ""


def _listed(spec: ModelSpec) -> str:
    kinds = [f"{'the image' if isinstance(one, Input) else 'the array'} {one.name}" for one in spec.inputs]
    return ", ".join(kinds)


def _image_inconsistency(i: Input, overlap: int | None) -> str:
    p = i.preprocess
    size = (i.height, i.width)
    if i.height * i.width > MAX_PIXELS:
        return f"the input has {i.height}x{i.width} pixels, more than the allowed {MAX_PIXELS}"
    fixed = p.resize in ("exact", "letterbox")
    result = p.crop or (p.resize_to if fixed else size if p.resize in ("none", "tiles") else None)
    if p.resize == "tiles" and (overlap is None or p.crop or not 0 <= overlap < min(size)):
        return f'resize = "tiles" needs a task that runs on tiles, no crop, and an overlap below {min(size)} pixels'
    if result != size:
        shown = "no fixed size (set crop)" if result is None else f"{result[0]}x{result[1]}"
        return f"preprocessing gives {shown}, but the input is {i.height}x{i.width}"
    if i.channels != (1 if p.color == "L" else 3):
        return f"color is {p.color}, but the input has {i.channels} channels"
    if len(p.mean) != i.channels or len(p.std) != i.channels:
        return f"mean has {len(p.mean)} and std {len(p.std)} values, but the input has {i.channels} channels"
    pad = p.pad if isinstance(p.pad, tuple) else (p.pad,)
    if len(pad) not in (1, i.channels) or not all(0 <= level <= 255 for level in pad):
        return f"pad is {p.pad}: allowed is one gray level from 0 to 255, or one for each of {i.channels} channels"
    if i.dtype != "float32" and p.normalize == "host":
        return f'the input is {i.dtype}, which holds no normalized values: set normalize = "graph"'
    if p.divide <= 0 or not all(value > 0 for value in p.std):
        return "divide and std must be positive"
    return ""


T = TypeVar("T")


def decode(content: bytes | str, kind: type[T], what: str) -> T:
    """Parse one of our JSON files as `kind`. Raises `InvalidInput` for a newer schema version or a wrong field.

    A file of an older schema is converted by the function ``upgraded`` of `kind`.
    """
    newest = _newest(kind)
    try:
        found = msgspec.json.decode(content, type=_Versioned).schema_version
        if found > newest:
            raise InvalidInput(
                f"{what} has schema version {found}.",
                f"This edgewright reads versions up to {newest}.",
                "Update edgewright: pip install -U edgewright",
            )
        if found < newest and (older := getattr(kind, "upgraded", None)):
            return convert(older(msgspec.json.decode(content)), kind)
        return msgspec.json.decode(content, type=kind, dec_hook=section)
    except msgspec.MsgspecError as error:
        raise InvalidInput(
            f"{what} is not valid: {error}.",
            f"It must be the JSON of a {kind.__name__}.",
            "Write it again with edgewright, or correct the named field.",
        ) from None


def upgraded(data: dict[str, Any], *fields: str) -> dict[str, Any]:
    """The data of a struct of schema 1, with those of its `fields` that are specs converted to this schema."""
    specs = {name: ModelSpec.upgraded(data[name]) for name in fields if isinstance(data.get(name), dict)}
    return {**data, **specs}


def convert(value: Any, kind: type[T]) -> T:
    """Plain data as `kind`, whose fields may be specs. Raises `msgspec.ValidationError` for wrong data."""
    return msgspec.convert(value, type=kind, strict=True, dec_hook=section)


def section(kind: type, value: Any) -> Any:
    """For msgspec: convert the `value` of a `Section` field to the section of its task."""
    if kind is not Section:
        return value
    name = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(name, str):
        raise ValueError("Expected an object with the field `kind`, the name of a task")
    try:
        return msgspec.convert(value, type=description.section_of(name), strict=True)
    except msgspec.ValidationError as error:
        raise ValueError(str(error).replace(" - at `$.", " - at `.")) from error


def encode(value: Any) -> bytes:
    """The JSON of one of our structs: indented, stable; fields with the default None are omitted by the struct."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


def _newest(kind: Any) -> int:
    """The schema version that `kind` writes."""
    for field in msgspec.structs.fields(kind):
        if field.name == "schema_version":
            newest: int = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
            return newest
    return 1


class _Versioned(msgspec.Struct):
    schema_version: int = 1
