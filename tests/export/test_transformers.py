"""Models of transformers keep the library's pixels, labels, scores and boxes; nothing of a repository runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from edgewright.core.errors import IntegrityError, InvalidInput, Unavailable, UsageError
from edgewright.core.spec import Input, Preprocess
from edgewright.export import exporter, overrides, sources
from edgewright.export.sources import transformers, transformers_processor
from edgewright.export.sources.parse import parse
from edgewright.tasks.detect.decode import read
from edgewright.vision import preprocess

from . import transformers_models

library = pytest.importorskip("transformers")


def photos() -> list[Image.Image]:
    from sklearn.datasets import load_sample_image

    china, flower = (Image.fromarray(load_sample_image(f"{name}.jpg")) for name in ("china", "flower"))
    return [china, flower.crop((100, 20, 441, 400)), flower.crop((0, 0, 640, 343)), china.resize((61, 92))]


CLASSES = (
    "Beit", "Bit", "CLIP", "ConvNext", "DeiT", "EfficientNet", "GLPN", "Levit", "MobileNetV1", "MobileNetV2",
    "MobileViT", "PoolFormer", "Pvt", "Segformer", "Siglip", "ViT", "DPT", "PromptDepthAnything", "Detr",
    "ConditionalDetr", "DeformableDetr", "RTDetr", "Yolos", "MaskFormer", "Mask2Former", "TextNet",
)  # fmt: skip
"""Processors with their defaults, of the architectures that the source builds and their relatives."""
SMALLER: dict[str, dict[str, Any]] = {
    "ConvNext": {"size": {"shortest_edge": 224}},
    "EfficientNet": {"rescale_offset": True},
    "MobileViT": {"size": {"shortest_edge": 288}},
    "DPT": {"size": {"height": 252, "width": 252}, "keep_aspect_ratio": True, "ensure_multiple_of": 14},
    **{
        name: {"size": {"shortest_edge": 240, "longest_edge": 400}}
        for name in ("Detr", "ConditionalDetr", "DeformableDetr", "Yolos", "MaskFormer", "Mask2Former")
    },
}
"""Other options, for the branches that the defaults leave out, and for speed."""


def pixels(processor: Any, image: Image.Image) -> np.ndarray:
    return np.asarray(processor(image, return_tensors="np")["pixel_values"][0])


def levels(processor: Any, found: transformers_processor.Found, images: list[Image.Image]) -> list[float]:
    """The largest difference in levels of 8 bits, for each image of which the processor gives the input's size."""
    p = msgspec.convert(found.preprocess, Preprocess)
    i = Input(height=found.size[0], width=found.size[1], preprocess=p)
    scale = np.asarray(p.std)[:, None, None] * p.divide
    wanted = [(image, pixels(processor, image)) for image in images]
    kept = [(image, truth) for image, truth in wanted if truth.shape[1:] == found.size]
    return [float((np.abs(preprocess.preprocess(image, p, i) - truth) * scale).max()) for image, truth in kept]


@pytest.mark.parametrize("name", CLASSES)
def test_pixels_are_the_processors_own(name: str) -> None:
    """Pillow's backend is the reference: equal but for float rounding. torchvision's rounds resized pixels."""
    pil = getattr(library, f"{name}ImageProcessorPil")(**SMALLER.get(name, {}))
    found = transformers_processor.fields(pil)
    images = photos()
    if found.notes:
        assert "keeps the aspect ratio" in found.notes[0]
        images = [image.resize((640, 480)) for image in images]
    gaps = levels(pil, found, images)
    assert len(gaps) == 4 and max(gaps) < 0.02, gaps
    fast = levels(getattr(library, f"{name}ImageProcessor")(**SMALLER.get(name, {})), found, images)
    assert len(fast) == 4 and max(fast) < 8, fast


@pytest.mark.parametrize("name", ["Perceiver", "ZoeDepth"])
def test_a_processor_that_does_more_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=r"cannot be described|never gives"):
        transformers_processor.fields(getattr(library, f"{name}ImageProcessorPil")())


def test_a_size_is_for_processors_that_leave_it_open() -> None:
    detr = library.DetrImageProcessorPil(size={"shortest_edge": 96, "longest_edge": 160})
    assert transformers_processor.fields(detr, (96, 160)).size == (96, 160)
    assert transformers_processor.fields(detr).size == (96, 128)
    with pytest.raises(InvalidInput, match="never gives 100x100"):
        transformers_processor.fields(detr, (100, 100))
    with pytest.raises(InvalidInput, match="gives 224x224"):
        transformers_processor.fields(library.ViTImageProcessorPil(), (96, 96))


def loaded(name: str, folder: Path, **options: Any) -> Any:
    path = transformers_models.save(name, folder)
    found = transformers.trainable(str(path), options).load()
    return found.model, overrides.build(found.spec, name), path


def test_a_classifier_gives_the_librarys_logits_and_labels(tmp_path: Path) -> None:
    module, spec, path = loaded("vit", tmp_path)
    assert spec.labels == transformers_models.LABELS and spec.task.kind == "classify"
    model = library.ViTForImageClassification.from_pretrained(path).eval()
    images = photos()
    with torch.no_grad():
        truth = model(**library.ViTImageProcessorPil.from_pretrained(path)(images, return_tensors="pt")).logits
        found = module(torch.from_numpy(preprocess.batch(images, spec)))
    assert torch.allclose(found, truth, atol=1e-4 * float(truth.abs().max())) and float(truth.std(0).max()) > 1e-3


@pytest.mark.parametrize("name", ["detr", "yolos", "rt_detr"])
def test_a_detector_gives_the_boxes_of_the_librarys_postprocessing(name: str, tmp_path: Path) -> None:
    module, spec, path = loaded(name, tmp_path)
    processor = library.AutoImageProcessor.from_pretrained(path, backend="pil")
    model = library.AutoModelForObjectDetection.from_pretrained(path).eval()
    image = photos()[0].resize((640, 480))
    with torch.no_grad():
        inputs = processor(image, return_tensors="pt")
        raw = model(pixel_values=inputs["pixel_values"])
        outputs = module(torch.from_numpy(preprocess.batch([image], spec)))
    (truth,) = processor.post_process_object_detection(raw, threshold=0.0, target_sizes=[(480, 640)])
    (found,) = read([outputs.numpy()], spec, [image.size], 0.0)
    wanted = {(int(c), round(float(s), 4)) for c, s in zip(truth["labels"], truth["scores"])}
    assert wanted == {(int(c), round(float(s), 4)) for c, s in zip(found.indices, found.scores)}
    order = np.argsort(-truth["scores"].numpy(), kind="stable")
    theirs = np.clip(truth["boxes"].numpy()[order], 0, [640, 480, 640, 480])
    first = int(order[0])
    assert np.abs(found.boxes[0] - np.clip(truth["boxes"].numpy()[first], 0, [640, 480, 640, 480])).max() < 0.1
    assert np.abs(np.sort(found.boxes, axis=0) - np.sort(theirs, axis=0)).max() < 0.1


def test_a_segmentation_model_gives_maps_and_the_rule_of_its_masks(tmp_path: Path) -> None:
    module, spec, _ = loaded("segformer", tmp_path)
    assert spec.task.kind == "segment" and spec.task.reduce_zero and spec.classes == 5  # type: ignore[attr-defined]
    assert module(torch.zeros(1, 3, 64, 64)).shape == (1, 5, 16, 16)


def test_depth_models_give_the_librarys_map_and_unit(tmp_path: Path) -> None:
    module, spec, path = loaded("depth_anything", tmp_path)
    assert (spec.task.values, spec.task.unit) == ("disparity", "relative")  # type: ignore[attr-defined]
    assert (spec.input.height, spec.input.width) == (70, 98)
    model = library.AutoModelForDepthEstimation.from_pretrained(path).eval()
    x = torch.from_numpy(preprocess.batch(photos()[:1], spec))
    with torch.no_grad():
        assert torch.allclose(module(x), model(pixel_values=x).predicted_depth, atol=1e-4)
    _, spec, _ = loaded("glpn", tmp_path)
    assert (spec.task.values, spec.task.unit, spec.task.max_depth) == ("depth", "m", 10)  # type: ignore[attr-defined]


def test_it_exports_with_parity(tmp_path: Path) -> None:
    path = transformers_models.save("resnet", tmp_path)
    spec = exporter.export(f"transformers:{path}", tmp_path / "out")
    assert spec.preprocess.rounding == "down" and spec.classes == 5


def test_weights_can_be_random_or_from_a_checkpoint(tmp_path: Path) -> None:
    path = transformers_models.save("vit", tmp_path)
    (path / "model.safetensors").rename(tmp_path / "weights.safetensors")
    with pytest.raises(InvalidInput, match="has no weights"):
        transformers.trainable(str(path), {})
    random = transformers.trainable(str(path), {"pretrained": False, "num_labels": 7}).load()
    assert random.spec["classes"] == 7 and random.weights == "random, seed 0"
    found = transformers.trainable(str(path), {}, str(tmp_path / "weights.safetensors")).load()
    assert found.weights.endswith("weights.safetensors")


def change(path: Path, **fields: Any) -> str:
    settings = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**settings, **fields}))
    return str(path)


def test_code_of_a_repository_never_runs(tmp_path: Path) -> None:
    path = transformers_models.save("vit", tmp_path)
    (path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    code = {"AutoConfig": "evil.Config", "AutoModelForImageClassification": "evil.Model"}
    with pytest.raises(IntegrityError, match="Python code of its own"):
        transformers.trainable(change(path, model_type="evil", auto_map=code), {})
    assert transformers.trainable(change(path, model_type="vit"), {}).load()  # the library's own class is used
    assert not (tmp_path / "ran").exists()
    with pytest.raises(UsageError, match="trust_remote_code"):
        sources.trainable(parse(f"transformers:{path}?trust_remote_code=true"))


def test_a_pickle_needs_trust(tmp_path: Path) -> None:
    path = transformers_models.save("vit", tmp_path)
    model = library.ViTForImageClassification.from_pretrained(path)
    (path / "model.safetensors").unlink()
    torch.save(model.state_dict(), path / "pytorch_model.bin")
    with pytest.raises(IntegrityError, match="a Python pickle"):
        transformers.trainable(str(path), {})
    assert transformers.trainable(str(path), {}, None, trust=True).load()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"model_type": "unheard"}, "does not ship"), ({"quantization_config": {}}, "is quantized"),
        ({"model_type": "timm_wrapper"}, "a model of timm"), ({"architectures": ["ViTModel"]}, "architecture ViTModel"),
        ({"architectures": None}, "does not name"), ({"hidden_size": 48}, "lack"), ({"hidden_size": "x"}, "build"),
    ],
)  # fmt: skip
def test_other_configurations_are_refused(fields: dict[str, Any], says: str, tmp_path: Path) -> None:
    path = transformers_models.save("vit", tmp_path)
    with pytest.raises(InvalidInput, match=says):
        transformers.trainable(change(path, **fields), {})


def test_damaged_folders_are_named(tmp_path: Path) -> None:
    path = transformers_models.save("vit", tmp_path)
    (path / "preprocessor_config.json").write_text('{"image_processor_type": "NoProcessor"}')
    with pytest.raises(InvalidInput, match="cannot build the image processor"):
        transformers.trainable(str(path), {})
    (path / "preprocessor_config.json").unlink()
    with pytest.raises(InvalidInput, match=r"has no preprocessor_config\.json"):
        transformers.trainable(str(path), {})
    (path / "config.json").write_text("{")
    with pytest.raises(InvalidInput, match="is not valid JSON"):
        transformers.trainable(str(path), {})
    (path / "config.json").unlink()
    with pytest.raises(InvalidInput, match=r"'config\.json' is missing"):
        transformers.trainable(str(path), {})
    with pytest.raises(InvalidInput, match="There is no folder"):
        transformers.trainable(str(tmp_path / "none"), {})


def test_the_hub_is_named_when_it_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Unavailable, match=r"cannot be downloaded"):
        transformers.trainable("nobody/no-such-model", {})
