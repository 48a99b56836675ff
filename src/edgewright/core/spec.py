"""ModelSpec: what travels with the weights from the training library to the device.

Plain data (msgspec structs, JSON), stored in the ONNX metadata and in the bundle. Preprocessing is described exactly as
the model was trained with it, so that the device computes the same pixels as the training library.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec

from edgewright.core.errors import InvalidInput

SCHEMA_VERSION = 1
METADATA_KEY = "edgewright.spec"


class Input(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The one image input of a model. `batch` None: any batch size."""

    name: str = "images"
    height: int
    width: int
    channels: int = 3
    batch: int | None = 1
    dtype: Literal["float32", "uint8"] = "float32"
    layout: Literal["NCHW", "NHWC"] = "NCHW"

    def shape(self, batch: int = 1) -> tuple[int, int, int, int]:
        """The array shape for `batch` images, in the model's layout."""
        hw = (self.height, self.width)
        return (batch, self.channels, *hw) if self.layout == "NCHW" else (batch, *hw, self.channels)


class Preprocess(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From an 8-bit image to the model's input: resize, crop, then (pixel / divide - mean) / std per channel.

    `resize`: "shorter" scales the shorter side to `resize_to[0]` (torchvision's Resize(int)), "exact" to
    (height, width) `resize_to`, "none" leaves the size. `crop` is a centre crop to (height, width), zero-padded where
    the image is smaller. `normalize` "graph": the division, mean and std are inside the graph, which then takes uint8.
    """

    resize: Literal["shorter", "exact", "none"] = "shorter"
    resize_to: tuple[int, int] = (256, 256)
    interpolation: Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"] = "bilinear"
    crop: tuple[int, int] | None = None
    color: Literal["RGB", "BGR", "L"] = "RGB"
    divide: float = 255.0
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    normalize: Literal["host", "graph"] = "host"


class Postprocess(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How outputs are read. `scores`: what turns the outputs into probabilities ("none": they are already)."""

    scores: Literal["softmax", "sigmoid", "none"] = "softmax"
    top: int = 5


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything about a model that its weights do not say."""

    schema_version: int = SCHEMA_VERSION
    name: str
    task: Literal["classify"] = "classify"
    source: str = ""
    input: Input
    preprocess: Preprocess = Preprocess()
    outputs: tuple[str, ...] = ("logits",)
    postprocess: Postprocess = Postprocess()
    classes: int
    labels: tuple[str, ...] = ()

    def label(self, index: int) -> str:
        """The name of class `index`, or the index itself where the model has no names."""
        return self.labels[index] if self.labels else str(index)


T = TypeVar("T")


def decode(content: bytes | str, kind: type[T], what: str) -> T:
    """Parse one of our JSON files as `kind`; a newer schema version or a wrong field is an `InvalidInput`."""
    try:
        newer = msgspec.json.decode(content, type=_Versioned).schema_version
        if newer > SCHEMA_VERSION:
            raise InvalidInput(
                f"{what} has schema version {newer}.",
                f"This edgewright reads versions up to {SCHEMA_VERSION}.",
                "Update edgewright: pip install -U edgewright",
            )
        return msgspec.json.decode(content, type=kind)
    except msgspec.MsgspecError as error:
        raise InvalidInput(
            f"{what} is not valid: {error}.",
            f"It must be the JSON of a {kind.__name__}.",
            "Write it again with edgewright, or correct the field that is named.",
        ) from None


def encode(value: Any) -> bytes:
    """The JSON of one of our structs: indented, stable, fields that hold their default None left out by the struct."""
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


class _Versioned(msgspec.Struct):
    schema_version: int = SCHEMA_VERSION
