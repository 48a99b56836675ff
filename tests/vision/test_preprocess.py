"""Preprocessing gives the same bits as timm's and torchvision's own transforms."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.tasks.classify.spec import Classify
from edgewright.vision.image import open_image
from edgewright.vision.preprocess import batch, placement, preprocess

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
INTERPOLATIONS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")


def noise(width: int, height: int, seed: int = 0, mode: str = "RGB") -> Image.Image:
    shape = (height, width) if mode == "L" else (height, width, 3)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def timm_bits(image: Image.Image, size: tuple[int, int], crop_pct: float, mode: str, interpolation: str) -> np.ndarray:
    from timm.data import create_transform

    transform = create_transform(
        (3, *size), interpolation=interpolation, mean=MEAN, std=STD, crop_pct=crop_pct, crop_mode=mode
    )
    return transform(image.convert("RGB")).numpy()


def our_bits(image: Image.Image, size: tuple[int, int], crop_pct: float, mode: str, interpolation: str) -> np.ndarray:
    scaled = tuple(math.floor(side / crop_pct) for side in size)
    p = Preprocess(
        resize="exact" if mode == "squash" else "shorter",
        resize_to=scaled, crop=size, interpolation=interpolation, mean=MEAN, std=STD,
    )  # fmt: skip
    return preprocess(image, p, Input(height=size[0], width=size[1]))


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("mode", ["center", "squash"])
@pytest.mark.parametrize("source", [(500, 375), (375, 500), (299, 299), (640, 640), (47, 31), (2, 3), (1024, 512)])
def test_equals_timm(source: tuple[int, int], mode: str, interpolation: str) -> None:
    image = noise(*source)
    for size, crop_pct in (((224, 224), 0.875), ((224, 224), 0.95), ((64, 64), 1.0), ((96, 160), 0.9)):
        ours = our_bits(image, size, crop_pct, mode, interpolation)
        assert ours.dtype == np.float32 and ours.flags.c_contiguous
        np.testing.assert_array_equal(ours, timm_bits(image, size, crop_pct, mode, interpolation))


@settings(max_examples=150, deadline=None)
@given(
    width=st.integers(2, 400), height=st.integers(2, 400), size=st.tuples(st.integers(8, 128), st.integers(8, 128)),
    square=st.booleans(), crop_pct=st.sampled_from([0.5, 0.7, 0.875, 0.9, 0.965, 1.0]),
    mode=st.sampled_from(["center", "squash"]), interpolation=st.sampled_from(INTERPOLATIONS), seed=st.integers(0, 9),
    color=st.sampled_from(["RGB", "L"]),
)  # fmt: skip
def test_equals_timm_at_any_size(
    width: int, height: int, size: tuple[int, int], square: bool, crop_pct: float, mode: str, interpolation: str,
    seed: int, color: str,
) -> None:  # fmt: skip
    size = (size[0], size[0]) if square else size
    if max(width, height) > 50 * min(width, height):
        width = height
    image = noise(width, height, seed, color)
    ours = our_bits(image, size, crop_pct, mode, interpolation)
    np.testing.assert_array_equal(ours, timm_bits(image, size, crop_pct, mode, interpolation))


@settings(max_examples=100, deadline=None)
@given(
    width=st.integers(2, 700), height=st.integers(2, 700), resize=st.sampled_from([16, 32, 64, 128, 256, 232]),
    share=st.floats(0.3, 1.6), interpolation=st.sampled_from(INTERPOLATIONS),
)  # fmt: skip
def test_equals_torchvision_presets(width: int, height: int, resize: int, share: float, interpolation: str) -> None:
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms._presets import ImageClassification

    if max(width, height) > 50 * min(width, height):
        width = height
    crop = max(1, int(resize * share))  # also larger than the image: padded with black
    image = noise(width, height)
    theirs = ImageClassification(
        crop_size=crop, resize_size=resize, interpolation=InterpolationMode(interpolation)
    )(image).numpy()  # fmt: skip
    p = Preprocess(
        resize_to=(resize, resize), crop=(crop, crop), interpolation=interpolation, mean=MEAN, std=STD
    )  # fmt: skip
    np.testing.assert_array_equal(preprocess(image, p, Input(height=crop, width=crop)), theirs)


def test_every_pixel_value_is_rounded_as_torch_does() -> None:
    from torchvision.transforms import functional as F

    image = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2))
    for mean, std in ((MEAN, STD), ((0.5,) * 3, (0.5,) * 3), ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616))):
        p = Preprocess(resize="none", mean=mean, std=std)
        theirs = F.normalize(F.to_tensor(image), mean, std).numpy()
        np.testing.assert_array_equal(preprocess(image, p, Input(height=16, width=16)), theirs)


def test_layouts_colours_and_uint8() -> None:
    image = noise(16, 16)
    pixels = np.asarray(image)
    graph = Preprocess(resize="none", normalize="graph")
    nhwc = Input(height=16, width=16, dtype="uint8", layout="NHWC")
    np.testing.assert_array_equal(preprocess(image, graph, nhwc), pixels)
    assert preprocess(image, graph, nhwc).dtype == np.uint8
    wide = preprocess(image, graph, msgspec.structs.replace(nhwc, dtype="int32"))
    assert wide.dtype == np.int32 and np.array_equal(wide, preprocess(image, graph, nhwc))
    bgr = Preprocess(resize="none", color="BGR", divide=1.0, mean=(103.53, 116.28, 123.675))
    expected = pixels[..., ::-1].transpose(2, 0, 1).astype(np.float32) - np.float32(bgr.mean)[:, None, None]
    np.testing.assert_array_equal(preprocess(image, bgr, Input(height=16, width=16)), expected)
    host = Preprocess(resize="none", mean=MEAN, std=STD)
    planes = preprocess(image, host, Input(height=16, width=16))
    packed = preprocess(image, host, Input(height=16, width=16, layout="NHWC"))
    np.testing.assert_array_equal(packed, planes.transpose(1, 2, 0))


def test_grey_model_takes_colour_and_grey_images() -> None:
    p = Preprocess(resize_to=(8, 8), color="L", mean=(0.5,), std=(0.25,))
    i = Input(height=8, width=8, channels=1)
    colour, grey = noise(20, 20), noise(20, 20).convert("L")
    np.testing.assert_array_equal(preprocess(colour, p, i), preprocess(grey, p, i))
    assert preprocess(grey, p, i).shape == (1, 8, 8)


def test_batch_stacks_what_single_images_give() -> None:
    p = Preprocess(resize_to=(36, 36), crop=(32, 32), mean=MEAN, std=STD)
    spec = ModelSpec(name="m", inputs=(Input(height=32, width=32, preprocess=p),), task=Classify(classes=2))
    images = [noise(50 + k, 40, k) for k in range(3)]
    stacked = batch([images[0], np.asarray(images[1]), images[2]], spec)
    assert stacked.shape == (3, 3, 32, 32) and stacked.flags.c_contiguous
    for row, image in zip(stacked, images):
        np.testing.assert_array_equal(row, preprocess(image, p, spec.input))


@pytest.mark.parametrize(
    ("p", "i"),
    [
        (Preprocess(resize_to=(16, 16)), Input(height=8, width=8)),
        (Preprocess(resize="none", color="L"), Input(height=8, width=8)),
        (Preprocess(resize="none", mean=(0.0,)), Input(height=8, width=8)),
        (Preprocess(resize="none", std=(1.0, 0.0, 1.0)), Input(height=8, width=8)),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(p: Preprocess, i: Input) -> None:
    with pytest.raises(InvalidInput, match="does not fit"):
        preprocess(noise(8, 8), p, i)


@pytest.mark.zoo
def test_equals_timm_on_real_images(zoo: Path) -> None:
    files = sorted((zoo / "imagenet/images").iterdir())[:12]
    files += sorted((zoo / "coco-val/images").iterdir())[:12] + sorted((zoo / "cifar10/test/cat").iterdir())[:12]
    for k, file in enumerate(files):
        with Image.open(file) as raw:
            for mode, crop_pct in (("center", 0.875), ("squash", 1.0), ("squash", 0.875)):
                args = ((224, 224), crop_pct, mode, INTERPOLATIONS[k % 6])
                np.testing.assert_array_equal(our_bits(open_image(file), *args), timm_bits(raw, *args), err_msg=file)


@pytest.mark.zoo
def test_equals_torchvision_on_real_images(zoo: Path) -> None:
    from torchvision.models import ResNet50_Weights, SqueezeNet1_1_Weights

    for weights, resize in ((SqueezeNet1_1_Weights.IMAGENET1K_V1, 256), (ResNet50_Weights.IMAGENET1K_V2, 232)):
        p = Preprocess(resize_to=(resize, resize), crop=(224, 224), mean=MEAN, std=STD)
        for file in sorted((zoo / "coco-val/images").iterdir())[:20]:
            with Image.open(file) as raw:
                theirs = weights.transforms()(raw.convert("RGB")).numpy()
            ours = preprocess(open_image(file), p, Input(height=224, width=224))
            np.testing.assert_array_equal(ours, theirs, err_msg=str(file))


def ultralytics_letterbox(pixels: np.ndarray, height: int, width: int, centre: bool, pad: int) -> np.ndarray:
    """The formula of Ultralytics' ``LetterBox``."""
    cv2 = pytest.importorskip("cv2")
    old = pixels.shape[:2]
    r = min(height / old[0], width / old[1])
    new = round(old[1] * r), round(old[0] * r)
    dw, dh = width - new[0], height - new[1]
    if centre:
        dw, dh = dw / 2, dh / 2
    if old[::-1] != new:
        pixels = cv2.resize(pixels, new, interpolation=cv2.INTER_LINEAR)
    top, bottom = round(dh - 0.1) if centre else 0, round(dh + 0.1)
    left, right = round(dw - 0.1) if centre else 0, round(dw + 0.1)
    return cv2.copyMakeBorder(pixels, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(pad,) * 3)


@settings(max_examples=100, deadline=None)
@given(
    width=st.integers(2, 700), height=st.integers(2, 700), to=st.sampled_from([(64, 64), (96, 160), (320, 320)]),
    align=st.sampled_from(["center", "corner"]), pad=st.sampled_from([0, 114]),
)  # fmt: skip
def test_letterbox_equals_ultralytics(width: int, height: int, to: tuple[int, int], align: str, pad: int) -> None:
    if max(width, height) > 50 * min(width, height):
        width = height
    image = noise(width, height)
    p = Preprocess(
        resize="letterbox", resize_to=to, interpolation="opencv", align=align, pad=pad, normalize="graph"
    )  # fmt: skip
    i = Input(height=to[0], width=to[1], dtype="uint8", layout="NHWC")
    theirs = ultralytics_letterbox(np.asarray(image), *to, align == "center", pad)
    np.testing.assert_array_equal(preprocess(image, p, i), theirs)


def test_a_letterbox_is_normalized_with_its_margins() -> None:
    p = Preprocess(resize="letterbox", resize_to=(32, 32), interpolation="opencv", color="BGR", mean=MEAN, std=STD)
    pixels = ultralytics_letterbox(np.asarray(noise(64, 40)), 32, 32, True, 114)[..., ::-1].astype(np.float32)
    expected = ((pixels / np.float32(255) - np.float32(MEAN)) / np.float32(STD)).transpose(2, 0, 1)
    np.testing.assert_array_equal(preprocess(noise(64, 40), p, Input(height=32, width=32)), expected)


def test_a_grey_image_is_letterboxed_for_a_colour_model() -> None:
    p = Preprocess(resize="letterbox", resize_to=(32, 32), interpolation="opencv")
    grey = noise(50, 20, mode="L")
    i = Input(height=32, width=32)
    np.testing.assert_array_equal(preprocess(grey, p, i), preprocess(grey.convert("RGB"), p, i))


def test_exact_resize_takes_opencv_pixels() -> None:
    cv2 = pytest.importorskip("cv2")
    p = Preprocess(resize="exact", resize_to=(35, 52), interpolation="opencv", normalize="graph")
    i = Input(height=35, width=52, dtype="uint8", layout="NHWC")
    np.testing.assert_array_equal(preprocess(noise(99, 80), p, i), cv2.resize(np.asarray(noise(99, 80)), (52, 35)))


@pytest.mark.parametrize(
    "p",
    [
        Preprocess(resize="letterbox", resize_to=(96, 128), interpolation="opencv"),
        Preprocess(resize="letterbox", resize_to=(96, 128), interpolation="opencv", align="corner"),
        Preprocess(resize="exact", resize_to=(96, 128), interpolation="opencv"),
        Preprocess(resize="shorter", resize_to=(140, 140), crop=(96, 128)),
        Preprocess(resize="none", crop=(96, 128)),
    ],
)
def test_placement_says_where_a_pixel_went(p: Preprocess) -> None:
    i = Input(height=96, width=128)
    for width, height in ((400, 300), (300, 400), (131, 257)):
        x, y = width // 2 - 10, height // 2 + 8
        rows, columns = np.mgrid[:height, :width] + 0.5
        spot = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 200)  # smooth, so that sampling moves it little
        found = preprocess(Image.fromarray(np.rint(spot).astype(np.uint8)), msgspec.structs.replace(p, pad=0), i)[0]
        weight = found / found.sum()
        place = placement((width, height), p, i)
        assert (weight.sum(axis=0) @ (np.arange(128) + 0.5)) == pytest.approx(x * place.scale_x + place.left, abs=0.1)
        assert (weight.sum(axis=1) @ (np.arange(96) + 0.5)) == pytest.approx(y * place.scale_y + place.top, abs=0.1)


def test_placement_refuses_what_does_not_fit_the_input() -> None:
    with pytest.raises(InvalidInput, match="does not fit"):
        placement((64, 64), Preprocess(resize="letterbox", resize_to=(32, 32)), Input(height=64, width=32))


@pytest.mark.parametrize("color", ["RGB", "BGR"])
def test_an_image_that_lies_outside_of_the_crop_leaves_the_margin(color: str) -> None:
    p = Preprocess(resize="letterbox", resize_to=(64, 64), align="corner", crop=(32, 32), pad=114, color=color)  # type: ignore[arg-type]
    found = preprocess(noise(64, 10), p, Input(height=32, width=32))
    np.testing.assert_allclose(found, 114 / 255, rtol=1e-6)
