"""Masks, depth maps and images to restore are found in every layout, and a wrong one is an error with its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgewright.core.errors import InvalidInput
from edgewright.core.spec import Input, ModelSpec, Preprocess
from edgewright.data import masks, pairs, sets, units
from edgewright.data.pairs import IGNORE
from edgewright.data.wants import PLAIN, Wants
from edgewright.tasks.classify.spec import Classify


def spec_of_classes(classes: int, labels: tuple[str, ...] = ()) -> ModelSpec:
    how = Preprocess(resize="exact", resize_to=(8, 8))
    inputs = (Input(height=8, width=8, preprocess=how),)
    return ModelSpec(name="model", inputs=inputs, task=Classify(classes=classes, labels=labels))


CLASSES, DEPTH, RESTORE = (Wants(pair=kind) for kind in ("classes", "depth", "image"))
SIZE = (6, 4)


def photo(path: Path, size: tuple[int, int] = SIZE, orientation: int = 1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(str(path)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8))
    image.save(path, **({"exif": exif} if orientation > 1 else {}))
    return path


def mask(path: Path, ids: object = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    found = np.arange(24).reshape(4, 6) % 3 if ids is None else np.asarray(ids)
    Image.fromarray(found.astype(np.uint8)).save(path)
    return path


def depth(path: Path, meters: float = 2.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.full((4, 6), meters) + np.arange(24).reshape(4, 6) / 100
    if path.suffix == ".npy":
        np.save(path, values.astype(np.float32))
    else:
        Image.fromarray((values * 1000).astype(np.uint16)).save(path)
    return path


LAYOUTS = {
    "plain": ("images/{}.jpg", "masks/{}.png"),
    "labels": ("images/{}.jpg", "labels/{}.png"),
    "annotations": ("Images/{}.jpg", "Annotations/{}.png"),
    "splits inside": ("images/val/{}.jpg", "masks/val/{}.png"),
    "splits outside": ("val/images/{}.jpg", "val/masks/{}.png"),
    "ade20k": ("images/validation/{}.jpg", "annotations/validation/{}.png"),
    "cityscapes": ("leftImg8bit/val/{0}/{0}_000_leftImg8bit.png", "gtFine/val/{0}/{0}_000_gtFine_labelTrainIds.png"),
    "voc": ("JPEGImages/{}.jpg", "SegmentationClass/{}.png"),
    "added": ("img/{}.jpg", "mask/{}_mask.png"),
    "camvid": ("images/{}.png", "labels/{}_L.png"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_of_masks_gives_each_image_its_mask(tmp_path: Path, name: str) -> None:
    image, target = LAYOUTS[name]
    split = "val" if "val/" in image else "validation" if "validation/" in image else ""
    for stem in ("bonn", "aachen", "cologne"):
        photo(tmp_path / image.format(stem))
        mask(tmp_path / target.format(stem))
        if split:
            mask(tmp_path / target.format(stem).replace(split, "train", 1))
            photo(tmp_path / image.format(stem).replace(split, "train", 1))
    if name == "cityscapes":
        for other in ("color", "instanceIds", "labelIds"):
            mask(tmp_path / f"gtFine/val/bonn/bonn_000_gtFine_{other}.png")
    found = sets.read(tmp_path, split or None, CLASSES)
    for form, paths in ((image, found.paths), (target, [str(item.pair) for item in found.items])):
        assert paths == [str(tmp_path / form.format(stem)) for stem in ("aachen", "bonn", "cologne")]
    assert pairs.class_map(found.items[0]).tolist() == (np.arange(24).reshape(4, 6) % 3).tolist()
    blind = sets.read(tmp_path, split or None)
    assert blind.paths == found.paths and blind.unread and {item.pair for item in blind.items} == {None}
    assert sets.listed(tmp_path, split or None).paths == found.paths
    assert sets.splits(tmp_path) == sets.splits(tmp_path, CLASSES)


@pytest.mark.parametrize("form", ["calib/images/{}.jpg", "calib/{}.jpg"])
def test_a_split_without_masks_has_images_to_calibrate(tmp_path: Path, form: str) -> None:
    photo(tmp_path / form.format("b"))
    photo(tmp_path / "val/images/a.jpg")
    mask(tmp_path / "val/masks/a.png")
    assert sets.splits(tmp_path) == ["calib", "val"] == sets.splits(tmp_path, CLASSES)
    for found in (sets.listed(tmp_path, "calib"), sets.read(tmp_path, "calib", CLASSES)):
        assert found.paths == [str(tmp_path / form.format("b"))] and found.items[0].pair is None
    assert sets.read(tmp_path, "val", CLASSES).items[0].pair


def test_vocs_lists_say_which_images_count(tmp_path: Path) -> None:
    for stem in ("a", "b", "c"):
        photo(tmp_path / f"JPEGImages/{stem}.jpg")
    for stem in ("a", "b"):
        mask(tmp_path / f"SegmentationClass/{stem}.png", np.array([[0, 20, 255, 0, 0, 0]] * 4))
    lists = tmp_path / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\n")
    (lists / "val.txt").write_text("b\n")
    found = sets.read(tmp_path, "val", CLASSES)
    assert [Path(item.path).name for item in found.items] == ["b.jpg"] and found.classes[20] == "tvmonitor"
    assert pairs.class_map(found.items[0])[0].tolist() == [0, 20, IGNORE, 0, 0, 0]
    (lists / "val.txt").write_text("b\nb\n")
    with pytest.raises(InvalidInput, match=r"val.txt, line 2: 'b' is already in line 1"):
        sets.read(tmp_path, "val", CLASSES)
    (lists / "val.txt").write_text("b\n\nd\n")
    with pytest.raises(InvalidInput, match=r"val.txt, line 3: the image 'd' is missing"):
        sets.read(tmp_path, "val", CLASSES)
    (lists / "val.txt").write_text("c\n")
    with pytest.raises(InvalidInput, match="1 of 1 images have no mask"):
        sets.read(tmp_path, "val", CLASSES)


def test_names_come_from_a_list_a_table_of_colors_or_a_yaml(tmp_path: Path) -> None:
    photo(tmp_path / "images/a.png")
    colors = np.zeros((4, 6, 3), np.uint8)
    colors[0, 0], colors[1] = (128, 64, 0), (255, 255, 255)
    (tmp_path / "masks").mkdir()
    Image.fromarray(colors).save(tmp_path / "masks/a.png")
    with pytest.raises(InvalidInput, match="has colors, and no palette"):
        sets.read(tmp_path, None, CLASSES)
    wanted = [[1] + [0] * 5, [IGNORE] * 6, [0] * 6, [0] * 6]
    tables = {
        "class_dict.csv": "name,r,g,b\nroad,0,0,0\ncar,128,64,0\nVoid,255,255,255\n",
        "labelmap.txt": "# label:color_rgb:parts:actions\nroad:0,0,0::\ncar:128,64,0::\nvoid:255,255,255::\n",
        "label_colors.txt": "0 0 0\troad\n128 64 0\tcar\n255 255 255\tVoid\n",
    }
    for name, text in tables.items():
        (tmp_path / name).write_text(text)
        found = sets.read(tmp_path, None, CLASSES)
        assert found.classes == ("road", "car") and pairs.class_map(found.items[0]).tolist() == wanted, name
        (tmp_path / name).unlink()
    for name, text in {"classes.txt": "a\nb\nc\n", "data.yaml": "names: [a, b, c]\n"}.items():
        mask(tmp_path / "masks/a.png")
        (tmp_path / name).write_text(text)
        found = sets.read(tmp_path, None, CLASSES)
        assert (found.classes, found.order) == (("a", "b", "c"), "file"), name
        (tmp_path / name).unlink()


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("class_dict.csv", "name,r,g,b\nroad,0,0,300\n", "class_dict.csv, line 2: it is 'road 0 0 300'"),
        (
            "class_dict.csv",
            "name,r,g,b\nroad,0,0,0\ncar,0,0,0\n",
            "line 3: the color of 'car' is that of another class",
        ),
        ("classes.txt", "a\na\n", "classes.txt: the class 'a' is listed twice"),
        ("classes.txt", "\n", "classes.txt: it names no class"),
        ("_classes.csv", "Pixel Value, Class\n0, a\n0, b\n", "_classes.csv, line 3: it is '0,b'"),
        ("objectInfo150.txt", "Idx\tRatio\n1\t0.1\ta\n3\t0.1\tb\n", "objectInfo150.txt, line 3: the id is 3"),
    ],
)
def test_a_malformed_list_of_classes_is_an_error_with_its_line(tmp_path: Path, name: str, text: str, says: str) -> None:
    photo(tmp_path / "images/a.png")
    mask(tmp_path / "masks/a.png")
    (tmp_path / name).write_text(text)
    with pytest.raises(InvalidInput, match=says):
        sets.read(tmp_path, None, CLASSES)


def test_roboflows_masks_are_next_to_their_images(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        photo(tmp_path / split / "a.jpg")
        mask(tmp_path / split / "a_mask.png")
        (tmp_path / split / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, cat\n2, dog\n")
    found = sets.read(tmp_path, "valid", CLASSES)
    assert found.paths == [str(tmp_path / "valid/a.jpg")] and found.classes == ("background", "cat", "dog")
    assert sets.read(tmp_path, "valid").paths == found.paths


def test_masks_of_one_object_have_255_for_it(tmp_path: Path) -> None:
    photo(tmp_path / "images/a.png")
    mask(tmp_path / "masks/a.png", [[0, 0, 0, 255, 255, 255]] * 4)
    found = sets.read(tmp_path, None, CLASSES)
    assert pairs.class_map(found.items[0])[0].tolist() == [0, 0, 0, 1, 1, 1]
    assert [one.code for one in found.remarks] == ["binary-masks"]


def test_a_mask_turns_with_its_photo_only_if_it_is_stored_like_it(tmp_path: Path) -> None:
    photo(tmp_path / "images/a.jpg", orientation=6)
    ids = np.arange(24).reshape(4, 6)
    mask(tmp_path / "masks/a.png", ids)
    (item,) = sets.read(tmp_path, None, CLASSES).items
    assert (item.size, item.orientation, item.turn) == ((4, 6), 6, 6)
    assert (pairs.class_map(item) == np.rot90(ids, -1)).all()
    mask(tmp_path / "masks/a.png", np.rot90(ids, -1))
    (item,) = sets.read(tmp_path, None, CLASSES).items
    assert item.turn == 1 and (pairs.class_map(item) == np.rot90(ids, -1)).all()
    spec = spec_of_classes(24)
    (stored,) = masks.match(sets.read(tmp_path, None, CLASSES), spec).items
    assert (pairs.class_map(stored) == ids).all(), "the model sees the photo as stored"


def read_masks(folder: Path) -> sets.ImageSet:
    return sets.read(folder, None, CLASSES)


def spec(*labels: str) -> ModelSpec:
    return spec_of_classes(len(labels), labels)


def test_classes_are_matched_by_name_and_pixels_without_a_class_are_ignored(tmp_path: Path) -> None:
    photo(tmp_path / "images/a.png")
    mask(tmp_path / "masks/a.png")
    (tmp_path / "classes.txt").write_text("void\ncat\nDog\n")
    found = masks.match(read_masks(tmp_path), spec("dog", "bird", "cat"))
    assert pairs.class_map(found.items[0])[0].tolist() == [IGNORE, 2, 0, IGNORE, 2, 0]
    with pytest.raises(InvalidInput, match=r"2 classes .*and the model 'model' has 3"):
        masks.match(read_masks(tmp_path), spec("a", "b", "c"))
    (tmp_path / "classes.txt").write_text("bird\ncat\nmouse\n")
    with pytest.raises(InvalidInput, match="the class id 2 is unknown"):
        masks.match(read_masks(tmp_path), spec("bird", "cat"))


def test_ids_must_be_classes_of_the_model(tmp_path: Path) -> None:
    photo(tmp_path / "images/a.png")
    mask(tmp_path / "masks/a.png")
    found = masks.match(read_masks(tmp_path), spec_of_classes(3))
    assert pairs.class_map(found.items[0])[0].tolist() == [0, 1, 2, 0, 1, 2]
    with pytest.raises(InvalidInput, match=r"masks/a.png, pixel \(2, 0\): the class id 2 is unknown") as error:
        masks.match(read_masks(tmp_path), spec_of_classes(2))
    assert "reduce_zero" in error.value.fix
    found = masks.match(read_masks(tmp_path), spec_of_classes(2), reduce_zero=True)
    assert pairs.class_map(found.items[0])[0].tolist() == [IGNORE, 0, 1, IGNORE, 0, 1]
    many = masks.match(read_masks(tmp_path), spec_of_classes(150))
    assert [one.code for one in many.remarks] == ["classes-unseen"] and "3 of the model's 150" in many.remarks[0].text


def test_masks_that_do_not_fit_are_errors_with_their_file(tmp_path: Path) -> None:
    photo(tmp_path / "images/a.png")
    photo(tmp_path / "images/b.png")
    mask(tmp_path / "masks/a.png")
    with pytest.raises(InvalidInput, match=r"1 of 2 images have no mask: .*b.png has no .*masks/b.png"):
        read_masks(tmp_path)
    mask(tmp_path / "masks/b.png", np.zeros((5, 6)))
    with pytest.raises(InvalidInput, match=r"masks/b.png has 6x5 pixels, and its image .*b.png has 6x4"):
        read_masks(tmp_path)
    mask(tmp_path / "masks/b.png")
    mask(tmp_path / "masks/c.png")
    assert [one.code for one in read_masks(tmp_path).remarks] == ["labels-without-image"]
    mask(tmp_path / "masks/a.tif")
    with pytest.raises(InvalidInput, match=r"a.png has 2 files"):
        read_masks(tmp_path)


@pytest.mark.parametrize("suffix", [".png", ".npy"])
def test_depth_is_found_and_its_unit_checked(tmp_path: Path, suffix: str) -> None:
    for name in ("rgb_1.jpg", "rgb_2.jpg"):
        photo(tmp_path / "rgb" / name)
    for name in ("depth_1", "depth_2"):
        depth(tmp_path / "depth" / f"{name}{suffix}")
    found = sets.read(tmp_path, None, DEPTH)
    assert [Path(item.pair or "").stem for item in found.items] == ["depth_1", "depth_2"]
    assert abs(pairs.depth_map(found.items[0])[0, 0] - 2) < 1e-3
    assert units.require_meters(found).remarks == ()
    assert sets.read(tmp_path).paths == found.paths
    depth(tmp_path / "depth" / f"depth_1{suffix}", 2000.0 if suffix == ".npy" else 0.002)
    depth(tmp_path / "depth" / f"depth_2{suffix}", 2000.0 if suffix == ".npy" else 0.002)
    if suffix == ".npy":
        with pytest.raises(InvalidInput, match=r"reaches to 2e\+03 m") as error:
            units.require_meters(sets.read(tmp_path, None, DEPTH))
        assert "look like millimeters" in error.value.why


def test_whole_numbers_in_a_wrong_unit_are_found(tmp_path: Path) -> None:
    photo(tmp_path / "images/a.png")
    (tmp_path / "depth").mkdir()
    Image.fromarray(np.full((4, 6), 12, np.uint16)).save(tmp_path / "depth/a.png")
    found = sets.read(tmp_path, None, DEPTH)
    with pytest.raises(InvalidInput, match=r"reaches to 0\.012 m") as error:
        units.require_meters(found)
    assert "look like meters" in error.value.why
    assert units.require_meters(found, 1).remarks == ()
    Image.fromarray(np.full((4, 6), 9000, np.uint16)).save(tmp_path / "depth/a.png")
    with pytest.raises(InvalidInput, match=r"reaches to 9e\+03 m"):
        units.require_meters(sets.read(tmp_path, None, DEPTH), 1)
    Image.fromarray(np.zeros((4, 6), np.uint16)).save(tmp_path / "depth/a.png")
    with pytest.raises(InvalidInput, match="have no value"):
        units.require_meters(sets.read(tmp_path, None, DEPTH))


RESTORED = {
    "LR/{}.png": "HR/{}.png",
    "LR_bicubic/X2/{}x2.png": "HR/{}.png",
    "LR/x2/{}.png": "HR/{}.png",
    "DIV2K_valid_LR_bicubic/X2/{}x2.png": "DIV2K_valid_HR/{}.png",
    "valid/LR/{}.png": "valid/HR/{}.png",
    "low/{}.png": "high/{}.png",
    "noisy/{}.png": "clean/{}.png",
}


@pytest.mark.parametrize("poor", RESTORED)
def test_each_layout_of_images_to_restore(tmp_path: Path, poor: str) -> None:
    good = RESTORED[poor]
    for stem in ("0801", "0802"):
        photo(tmp_path / poor.format(stem))
        photo(tmp_path / good.format(stem), (12, 8))
    split = "valid" if "valid" in poor else None
    found = sets.read(tmp_path, split, RESTORE)
    assert found.paths == [str(tmp_path / poor.format(stem)) for stem in ("0801", "0802")]
    assert pairs.restored(found.items[0]).size == (12, 8) and pairs.scale_of(found.items[0]) == 2
    if "low" not in poor and "noisy" not in poor:
        assert sets.read(tmp_path, split).paths == found.paths and not sets.read(tmp_path, split).classes
    else:
        assert sets.read(tmp_path, split, PLAIN).classes == sets.read(tmp_path, split).classes != ()


def test_good_images_alone_are_images_without_a_pair(tmp_path: Path) -> None:
    photo(tmp_path / "HR/a.png")
    found = sets.read(tmp_path, None, RESTORE)
    assert found.paths == [str(tmp_path / "HR/a.png")] and found.items[0].pair is None


def test_images_to_restore_of_other_sizes_are_errors(tmp_path: Path) -> None:
    photo(tmp_path / "LR/a.png")
    photo(tmp_path / "HR/a.png", (13, 9))
    assert sets.read(tmp_path, None, RESTORE).items[0].pair, "sides that the scale does not divide"
    photo(tmp_path / "LR/b.png")
    photo(tmp_path / "HR/b.png", (18, 12))
    with pytest.raises(InvalidInput, match=r"HR/b.png has 18x12 pixels, and its image .*LR/b.png has 6x4") as error:
        sets.read(tmp_path, None, RESTORE)
    assert "12x8, at the scale 2" in error.value.why
    photo(tmp_path / "HR/a.png", (3, 2))
    with pytest.raises(InvalidInput, match="has more"):
        sets.read(tmp_path, None, RESTORE)
    for scale in ("x2", "x4"):
        photo(tmp_path / "set/LR" / scale / "a.png")
    photo(tmp_path / "set/HR/a.png", (12, 8))
    with pytest.raises(InvalidInput, match="has the scales x2, x4"):
        sets.read(tmp_path / "set", None, RESTORE)


def test_boxes_come_first_if_the_task_is_not_known(tmp_path: Path) -> None:
    for name in ("a", "b"):
        photo(tmp_path / f"images/{name}.jpg")
        mask(tmp_path / f"masks/{name}.png")
        (tmp_path / "labels").mkdir(exist_ok=True)
        (tmp_path / f"labels/{name}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    blind = sets.read(tmp_path)
    assert blind.items[0].boxes and not blind.unread
    assert read_masks(tmp_path).items[0].pair


@pytest.mark.parametrize("inner", ["calib/images", "calib"])
def test_calibration_images_need_no_files(tmp_path: Path, inner: str) -> None:
    for name in (inner, "val/images", "val/masks"):
        (tmp_path / name).mkdir(parents=True)
        Image.new("L", (8, 6), 1).save(tmp_path / name / "a.png")
    assert sets.splits(tmp_path) == ["calib", "val"]
    (bare,) = sets.read(tmp_path, "calib", Wants(pair="classes")).items
    (full,) = sets.read(tmp_path, "val", Wants(pair="classes")).items
    assert bare.pair is None and full.pair == str(tmp_path / "val/masks/a.png")
