"""One random data set, written as each labelling tool writes it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

Row = tuple[int, float, float, float, float]
Split = Mapping[str, Sequence[Row]]
"""The rows of each image, by its name."""


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def text(rows: Sequence[Row]) -> str:
    return "".join(f"{row[0]} {' '.join(f'{value:.9f}' for value in row[1:])}\n" for row in rows)


def pairs(split: Split, images: Path, labels: Path) -> None:
    for name, rows in split.items():
        write(images / name)
        write((labels / name).with_suffix(".txt"), text(rows))


def ultralytics(folder: Path, splits: Mapping[str, Split], names: Sequence[str]) -> None:
    for key, split in splits.items():
        pairs(split, folder / "images" / key, folder / "labels" / key)
    keys = "".join(f"{key}: images/{key}\n" for key in splits)
    write(folder / "data.yaml", f"path: ../datasets/pets\n{keys}names: {json.dumps(names, ensure_ascii=False)}\n")


def roboflow(folder: Path, splits: Mapping[str, Split], names: Sequence[str]) -> None:
    called = {"train": "train", "val": "valid", "test": "test"}
    for key, split in splits.items():
        pairs(split, folder / called[key] / "images", folder / called[key] / "labels")
    keys = "".join(f"{key}: ../{called[key]}/images\n" for key in splits)
    write(folder / "data.yaml", f"{keys}nc: {len(names)}\nnames: {json.dumps(names, ensure_ascii=False)}\n")
    write(folder / "README.roboflow.txt", "Exported.\n")


def roboflow_package(folder: Path, splits: Mapping[str, Split], names: Sequence[str]) -> None:
    """Downloaded by Roboflow's package into a folder Pets-1, which has another name now."""
    called = {"train": "train", "val": "valid", "test": "test"}
    for key, split in splits.items():
        pairs(split, folder / called[key] / "images", folder / called[key] / "labels")
    keys = "".join(f"{key}: Pets-1/{called[key]}/images\n" for key in splits)
    write(folder / "data.yaml", f"names: {json.dumps(names, ensure_ascii=False)}\nnc: {len(names)}\n{keys}")


def fiftyone(folder: Path, splits: Mapping[str, Split], names: Sequence[str]) -> None:
    called = {"train": "train", "val": "validation", "test": "test"}
    for key, split in splits.items():
        pairs(split, folder / "images" / called[key], folder / "labels" / called[key])
    by_index = "".join(f"  {k}: {json.dumps(name, ensure_ascii=False)}\n" for k, name in enumerate(names))
    keys = "".join(f"{called[key]}: ./images/{called[key]}/\n" for key in splits)
    write(folder / "dataset.yaml", f"names:\n{by_index}path: /home/somebody/elsewhere\n{keys}")


def supervisely(folder: Path, splits: Mapping[str, Split], names: Sequence[str]) -> None:
    for key, split in splits.items():
        pairs(split, folder / "images" / key, folder / "labels" / key)
    keys = "".join(f"{key}: ../{folder.name}/images/{key}\n" for key in splits)
    colors = f"colors: {[[k, 0, 0] for k in range(len(names))]}\n"
    write(
        folder / "data_config.yaml", f"{colors}names: {json.dumps(names, ensure_ascii=False)}\nnc: {len(names)}\n{keys}"
    )


def cvat_darknet(folder: Path, splits: Mapping[str, Split], names: Sequence[str]) -> None:
    """CVAT's "YOLO 1.1"; Datumaro's "yolo" is the same."""
    lines = f"classes = {len(names)}\nnames = data/obj.names\nbackup = backup/\n"
    for key, split in splits.items():
        called = "valid" if key == "val" else key
        pairs(split, folder / f"obj_{called}_data", folder / f"obj_{called}_data")
        write(folder / f"{called}.txt", "".join(f"data/obj_{called}_data/{name}\n" for name in split))
        lines += f"{called} = data/{called}.txt\n"
    write(folder / "obj.data", lines)
    write(folder / "obj.names", "\n".join(names))


def cvat_ultralytics(folder: Path, splits: Mapping[str, Split], names: Sequence[str]) -> None:
    """CVAT's "Ultralytics YOLO Detection 1.0"; Datumaro's "yolo_ultralytics" is the same."""
    for key, split in splits.items():
        pairs(split, folder / "images" / key, folder / "labels" / key)
        write(folder / f"{key}.txt", "".join(f"images/{key}/{name}\n" for name in split))
    by_index = "".join(f"  {k}: {json.dumps(name, ensure_ascii=False)}\n" for k, name in enumerate(names))
    write(folder / "data.yaml", "path: ./\n" + "".join(f"{key}: {key}.txt\n" for key in splits) + f"names:\n{by_index}")


def coco_lists(folder: Path, splits: Mapping[str, Split], names: Sequence[str]) -> None:
    """Ultralytics' own coco.yaml: lists relative to themselves, here with the line ends of Windows and a comment."""
    for key, split in splits.items():
        pairs(split, folder / "images" / f"{key}2017", folder / "labels" / f"{key}2017")
        lines = [f"./images/{key}2017/{name}" for name in split]
        write(folder / f"{key}2017.txt", "\r\n".join(["# a list", "", *lines, ""]))
    keys = "".join(f"{key}: {key}2017.txt\n" for key in splits)
    write(folder / "coco.yaml", f"{keys}names: {json.dumps(names, ensure_ascii=False)}\n")


def windows(folder: Path, splits: Mapping[str, Split], names: Sequence[str]) -> None:
    for key, split in splits.items():
        pairs(split, folder / "images" / key, folder / "labels" / key)
        write(folder / f"{key}.txt", "".join(f"C:\\Users\\me\\pets\\images\\{key}\\{name}\n" for name in split))
    keys = "".join(f"{key}: C:\\Users\\me\\pets\\{key}.txt\n" for key in splits)
    write(folder / "data.yaml", f"path: C:\\Users\\me\\pets\n{keys}names: {json.dumps(names, ensure_ascii=False)}\n")


def class_file(folder: Path, splits: Mapping[str, Split], names: Sequence[str]) -> None:
    """No YAML: folders of splits, with a file of class names."""
    for key, split in splits.items():
        pairs(split, folder / "images" / key.capitalize(), folder / "labels" / key.capitalize())
    write(folder / "classes.txt", "\n".join(names) + "\n")


def labelimg_in_splits(folder: Path, splits: Mapping[str, Split], names: Sequence[str]) -> None:
    for key, split in splits.items():
        pairs(split, folder / key, folder / key)
        write(folder / key / "classes.txt", "\n".join(names) + "\n")


WITH_SPLITS: list[Callable[[Path, Mapping[str, Split], Sequence[str]], None]] = [
    ultralytics, roboflow, roboflow_package, fiftyone, supervisely, cvat_darknet, cvat_ultralytics, coco_lists, windows,
    class_file, labelimg_in_splits,
]  # fmt: skip


def labelimg(folder: Path, split: Split, names: Sequence[str]) -> None:
    pairs(split, folder, folder)
    write(folder / "classes.txt", "\n".join(names) + "\n")


def labelimg_with_labels_apart(folder: Path, split: Split, names: Sequence[str]) -> None:
    pairs(split, folder / "images", folder / "labels")
    write(folder / "labels/classes.txt", "\n".join(names) + "\n")


def label_studio(folder: Path, split: Split, names: Sequence[str]) -> None:
    pairs(split, folder / "images", folder / "labels")
    write(folder / "classes.txt", "\n".join(names))
    write(folder / "notes.json", json.dumps({"categories": [{"id": k, "name": n} for k, n in enumerate(names)]}))


def roboflow_darknet(folder: Path, split: Split, names: Sequence[str]) -> None:
    """One of the split folders of Roboflow's "YOLO Darknet"."""
    pairs(split, folder, folder)
    write(folder / "_darknet.labels", "\n".join(names))


def fiftyone_list(folder: Path, split: Split, names: Sequence[str]) -> None:
    """FiftyOne's YOLOv4Dataset."""
    pairs(split, folder / "data", folder / "data")
    write(folder / "images.txt", "".join(f"data/{name}\n" for name in split))
    write(folder / "obj.names", "\n".join(names))


WITHOUT_SPLITS: list[Callable[[Path, Split, Sequence[str]], None]] = [
    labelimg, labelimg_with_labels_apart, label_studio, roboflow_darknet, fiftyone_list,
]  # fmt: skip
