"""Image sets are read as they lie, or refused with file and line; calibration and evaluation never share an image."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgewright.core.errors import EdgewrightError, IntegrityError, InvalidInput
from edgewright.core.spec import Input, ModelSpec
from edgewright.data.sets import ImageSet, apart, divide, match_labels, read, require_disjoint, splits
from edgewright.tasks.classify.spec import Classify


def picture(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 9, 3), dtype=np.uint8)).save(path)
    return path


def pictures(folder: Path, names: str, seed: int = 0) -> Path:
    for k, name in enumerate(names.split()):
        picture(folder / name, seed + k)
    return folder


def table(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "labels.csv").write_text(text)
    return folder


def spec(classes: int, *labels: str) -> ModelSpec:
    return ModelSpec(name="model", inputs=(Input(height=8, width=8),), task=Classify(classes=classes, labels=labels))


def pairs(images: ImageSet, folder: Path) -> list[tuple[str, int | None]]:
    return [(str(Path(item.path).relative_to(folder)), item.label) for item in images.items]


# --- layouts ----------------------------------------------------------------------------------------------------------


def test_a_folder_a_class(tmp_path: Path) -> None:
    pictures(tmp_path, "dog/b.png dog/a.JPG.png cat/x.webp dog/.hidden.png")
    (tmp_path / "dog" / "readme.txt").write_text("not an image")
    images = read(tmp_path)
    assert images.classes == ("cat", "dog")
    assert pairs(images, tmp_path) == [("cat/x.webp", 0), ("dog/a.JPG.png", 1), ("dog/b.png", 1)]
    assert (images.name, images.split, splits(tmp_path)) == (tmp_path.name, "", [])


def test_split_folders_number_classes_alike(tmp_path: Path) -> None:
    pictures(tmp_path, "train/ant/1.png train/bee/2.png train/cow/3.png calib/cow/4.png Test/ant/5.png")
    assert splits(tmp_path) == ["Test", "calib", "train"]
    calib = read(tmp_path, "calib")
    assert (calib.classes, pairs(calib, tmp_path)) == (("ant", "bee", "cow"), [("calib/cow/4.png", 2)])


def test_a_flat_folder_has_no_labels(tmp_path: Path) -> None:
    images = read(pictures(tmp_path, "b.png a.png"))
    assert pairs(images, tmp_path) == [("a.png", None), ("b.png", None)]
    assert images.classes == ()


def test_flat_calibration_beside_labelled_test(tmp_path: Path) -> None:
    pictures(tmp_path, "calib/1.png calib/2.png test/ant/3.png")
    assert [item.label for item in read(tmp_path, "calib").items] == [None, None]
    assert read(tmp_path, "test").classes == ("ant",)


def test_a_table_with_names_indices_and_splits(tmp_path: Path) -> None:
    pictures(tmp_path / "images", "1.png 2.png 3.png")
    table(tmp_path, "\ufefffile,label,split\n1.png,dog,calib\n2.png,cat,eval\n3.png,ant,eval\n")
    assert splits(tmp_path) == ["calib", "eval"]
    images = read(tmp_path, "eval")
    assert images.classes == ("ant", "cat", "dog")
    assert pairs(images, tmp_path) == [("images/2.png", 1), ("images/3.png", 0)]
    table(tmp_path, 'label0,note,file\n7,"a, b",2.png\n')
    assert pairs(read(tmp_path), tmp_path) == [("images/2.png", 7)]
    assert read(tmp_path).classes == ()


def test_a_single_split_needs_no_name_and_several_do(tmp_path: Path) -> None:
    pictures(tmp_path, "test/ant/1.png")
    assert read(tmp_path).split == "test"
    pictures(tmp_path, "train/ant/2.png")
    with pytest.raises(InvalidInput, match="splits test, train"):
        read(tmp_path)
    with pytest.raises(InvalidInput, match=r"no split 'calib'.*\n.*test, train"):
        read(tmp_path, "calib")


# --- what is refused --------------------------------------------------------------------------------------------------


def test_missing_empty_and_imageless_folders(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("x")
    pictures(tmp_path / "hole", "cat/1.png")
    (tmp_path / "hole" / "dog").mkdir()
    for name, why in (("no", "does not exist"), ("file", "is a file"), ("empty", "No images"), ("texts", "No images"),
                      ("hole", "class folder .*dog has no images")):  # fmt: skip
        with pytest.raises(InvalidInput, match=why) as caught:
            read(tmp_path / name)
        assert str(tmp_path / name) in caught.value.what


def test_mixed_layouts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="mixes class folders"):
        read(pictures(tmp_path / "a", "cat/1.png 2.png"))
    with pytest.raises(InvalidInput, match="'test' and, next to it, cat"):
        read(pictures(tmp_path / "b", "test/1.png cat/2.png"))
    with pytest.raises(InvalidInput, match="'test' and, next to it, loose images"):
        read(pictures(tmp_path / "c", "test/1.png 2.png"))


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("", 1, "columns are: none"),
        ("name,label\n1.png,cat\n", 1, "columns are: name, label"),
        ("file,split\n1.png,test\n", 1, "columns are: file, split"),
        ("file,label,label\n1.png,cat,dog\n", 1, "columns are"),
        ("file,label\n1.png,cat\n2.png\n", 3, "number of values"),
        ("file,label\n1.png,cat,dog\n", 2, "number of values"),
        ("file,label\n1.png,\n", 2, "'label' is empty"),
        ("file,label\n,cat\n", 2, "'file' is empty"),
        ("file,label0\n1.png,0\n\n2.png,-1\n", 4, "label0 is '-1'"),
        ("file,label0\n1.png,cat\n", 2, "label0 is 'cat'"),
        ("file,label0\n1.png," + "9" * 5000 + "\n", 2, "label0 is"),
        ("file,label\n1.png,a\n1.png,b\n", 3, "already in line 2"),
        ("file,label\n3.png,a\n", 2, "'3.png' is missing"),
        ('file,label\n1.png,"a\n', 1, "not CSV"),
        ("file,label,split\n1.png,a,test\n2.png,a,\n", 3, "split is empty"),
    ],
)
def test_a_bad_table_is_named_with_its_line(tmp_path: Path, text: str, line: int, why: str) -> None:
    table(pictures(tmp_path, "1.png 2.png"), text)
    with pytest.raises(InvalidInput, match=f"labels.csv, line {line}: .*{why}"):
        read(tmp_path)


def test_a_table_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_bytes(b"file,label\n\xff\xfe,cat\n")
    with pytest.raises(InvalidInput, match="UTF-8"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["../secret.png", "{outside}/secret.png", "linked/../../secret.png"])
def test_a_table_cannot_reach_outside_its_folder(tmp_path: Path, name: str) -> None:
    picture(tmp_path / "secret.png", 0)
    data = tmp_path / "data"
    name = name.format(outside=tmp_path)
    table(data, f"file,label\n{name},cat\n")
    with pytest.raises(IntegrityError, match="line 2") as caught:
        read(data)
    assert name in caught.value.what


def test_links_that_the_user_made_are_read(tmp_path: Path) -> None:
    """DVC, hub caches and data sets put together by hand link their images; a FIFO is no image."""
    (tmp_path / "store").mkdir()
    real = [picture(tmp_path / f"store/{k}.png", k) for k in range(3)]
    data = tmp_path / "data"
    table(data, "file,label\nsoft.png,cat\nhard.png,dog\nfolder/2.png,cat\n")
    (data / "soft.png").symlink_to(real[0])
    (data / "hard.png").hardlink_to(real[1])
    (data / "folder").symlink_to(tmp_path / "store")
    assert [Path(item.path).name for item in read(data).items] == ["soft.png", "hard.png", "2.png"]
    (data / "soft.png").unlink()
    os.mkfifo(data / "soft.png")
    with pytest.raises(InvalidInput, match=r"soft\.png"):
        read(data)


# --- labels -----------------------------------------------------------------------------------------------------------


def matched(folder: Path, model: ModelSpec) -> list[int | None]:
    return [item.label for item in match_labels(read(folder), model).items]


def test_labels_match_by_name_whatever_the_order(tmp_path: Path) -> None:
    pictures(tmp_path, "ant/1.png Great_White/2.png")
    model = spec(3, "great white", "bee", "Ant")
    assert matched(tmp_path, model) == [0, 2]
    again = match_labels(match_labels(read(tmp_path), model), model)
    assert ([item.label for item in again.items], again.classes) == ([0, 2], model.labels)


def test_integer_folders_are_indices(tmp_path: Path) -> None:
    pictures(tmp_path, "0/1.png 2/1.png 10/1.png")
    with pytest.raises(InvalidInput, match="numbers"):  # as ImageFolder numbers 0 to 10, 10 has the index 2
        matched(tmp_path, spec(11))
    assert matched(tmp_path, spec(11, *"abcdefghijk")) == [0, 10, 2]
    with pytest.raises(InvalidInput, match="exceeds 9"):
        matched(tmp_path, spec(10))


def test_sorted_order_only_where_the_model_has_no_names(tmp_path: Path) -> None:
    pictures(tmp_path, "cat/1.png dog/2.png")
    assert matched(tmp_path, spec(2)) == [0, 1]
    with pytest.raises(InvalidInput, match=r"has 2 classes, the model has 3"):
        matched(tmp_path, spec(3))
    with pytest.raises(InvalidInput, match=r"'cat' is not a class of the model \(did you mean 'cats'"):
        matched(tmp_path, spec(2, "cats", "dogs"))


def test_wordnet_folders_follow_the_order_of_imagenet(tmp_path: Path) -> None:
    pictures(tmp_path, "n01440764/1.png n01443537/2.png")
    assert matched(tmp_path, spec(2, "tench, Tinca tinca", "goldfish")) == [0, 1]
    with pytest.raises(InvalidInput, match="is not a class of the model"):
        matched(tmp_path, spec(3, "tench", "goldfish", "shark"))


def test_a_name_that_the_model_has_twice_is_no_match(tmp_path: Path) -> None:
    pictures(tmp_path, "crane/1.png")
    with pytest.raises(InvalidInput, match="'crane'"):
        matched(tmp_path, spec(3, "crane", "crane", "maillot"))


def test_two_folders_of_one_class_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="two classes are the same"):
        matched(pictures(tmp_path, "01/1.png 1/2.png"), spec(2))


def test_indices_beyond_the_model_and_missing_labels(tmp_path: Path) -> None:
    table(pictures(tmp_path / "a", "1.png"), "file,label0\n1.png,5\n")
    with pytest.raises(InvalidInput, match=r"1\.png has label 5, the last class is 4"):
        matched(tmp_path / "a", spec(5))
    with pytest.raises(InvalidInput, match="have no labels"):
        matched(pictures(tmp_path / "b", "1.png"), spec(5))


# --- identity and division --------------------------------------------------------------------------------------------


def test_the_same_image_in_another_file_is_found(tmp_path: Path) -> None:
    one, other = pictures(tmp_path / "one", "1.png 2.png"), pictures(tmp_path / "other", "3.png", seed=7)
    require_disjoint(read(one), read(other))
    with Image.open(one / "2.png") as image:
        image.save(other / "copy.webp", lossless=True)
    with pytest.raises(InvalidInput, match="1 of the validation images") as caught:
        require_disjoint(read(one), read(other))
    assert str(one / "2.png") in caught.value.what
    assert str(other / "copy.webp") in caught.value.what


def test_size_counts_and_bad_files_count_by_their_bytes(tmp_path: Path) -> None:
    Image.new("RGB", (4, 8)).save(tmp_path / "a.png")
    Image.new("RGB", (8, 4)).save(tmp_path / "b.png")
    Image.new("L", (8, 4)).save(tmp_path / "c.png")
    Image.fromarray(np.full((8, 4), 300, np.uint16)).save(tmp_path / "d.png")
    (tmp_path / "e.png").write_bytes(b"no image")
    (tmp_path / "f.png").write_bytes(b"no image")
    a, b, c, d, e, f = read(tmp_path).digests
    assert b == c and e == f
    assert len({a, b, d, e}) == 4


def test_division_is_repeatable_stratified_and_disjoint(tmp_path: Path) -> None:
    pictures(tmp_path / "x", " ".join(f"{c}/{k}.png" for c in "ab" for k in range(20)) + " c/1.png c/2.png")
    images = read(tmp_path / "x")
    calibration, evaluation = divide(images, 10)
    assert len(calibration.items) == 10 and len(evaluation.items) == 32
    assert all(4 <= len([i for i in calibration.items if i.label == k]) <= 5 for k in (0, 1))
    require_disjoint(calibration, evaluation)
    assert (calibration.split, evaluation.split) == ("calibration", "evaluation")
    assert divide(images, 10) == (calibration, evaluation)
    assert divide(images, 10, seed=1) != (calibration, evaluation)
    (tmp_path / "x").rename(tmp_path / "y")  # elsewhere, the same choice
    moved, _ = divide(read(tmp_path / "y"), 10)
    assert moved.digests == divide(read(tmp_path / "y"), 10)[0].digests
    assert [Path(item.path).name for item in moved.items] == [Path(item.path).name for item in calibration.items]


def test_division_keeps_copies_apart(tmp_path: Path) -> None:
    for k in range(30):
        picture(tmp_path / f"{k}.png", k % 10)  # each image three times
    calibration, evaluation = divide(read(tmp_path), 4)
    assert (len(calibration.items), len(set(calibration.digests))) == (4, 4)
    evaluation = apart(calibration, evaluation)
    assert len(evaluation.items) == 18
    require_disjoint(calibration, evaluation)
    with pytest.raises(InvalidInput, match="Cannot take 0 calibration images out of the 30"):
        divide(read(tmp_path), 0)
    with pytest.raises(InvalidInput, match=r"All \d+ images .* are copies"):
        apart(*divide(read(tmp_path), 10))
    with pytest.raises(InvalidInput, match="Cannot take 8 calibration images out of the 8"):
        divide(read(pictures(tmp_path / "few", "1.png 2.png 3.png 4.png 5.png 6.png 7.png 8.png")), 8)


# --- real folders -----------------------------------------------------------------------------------------------------


@pytest.mark.zoo
def test_the_imagenet_table_reads_as_it_is(zoo: Path) -> None:
    assert splits(zoo / "imagenet") == ["calib", "eval"]
    calib, evaluation = read(zoo / "imagenet", "calib"), read(zoo / "imagenet", "eval")
    assert (len(calib.items), len(evaluation.items)) == (100, 400)
    assert Path(calib.items[0].path).name == "000b7d55b6184b08.webp" and calib.items[0].label == 388
    assert match_labels(calib, spec(1000)).items == calib.items
    require_disjoint(calib, evaluation)
    with pytest.raises(EdgewrightError, match="the last class is 9"):
        match_labels(calib, spec(10))


@pytest.mark.zoo
def test_cifar10_reads_as_it_is_and_is_compared_quickly(zoo: Path) -> None:
    assert splits(zoo / "cifar10") == ["test", "train"]
    test = read(zoo / "cifar10", "test")
    assert len(test.items) == 3000 and len(test.classes) == 10
    assert len(read(zoo / "cifar10", "train").items) == 12000
    start = time.process_time()
    assert len(set(test.digests)) > 2990
    assert time.process_time() - start < 20  # 0.6 s; a guard against something quadratic, not a speed


def test_a_file_that_was_written_anew_has_another_digest(tmp_path: Path) -> None:
    path = picture(tmp_path / "cat" / "a.png", 1)
    found = []
    for seed in (1, 2, 1):
        picture(path, seed)
        found += read(tmp_path).digests
    assert found[0] == found[2] != found[1]
