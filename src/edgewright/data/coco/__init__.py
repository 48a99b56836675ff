"""COCO's object detection JSON, read as pycocotools reads it (https://cocodataset.org/#format-data).

files.py says which files hold it, schema.py decodes them. Only images that the JSON lists count. Labels index
the categories sorted by id (COCO's ids go to 90, its classes are 80).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from edgewright.core.errors import IntegrityError, InvalidInput
from edgewright.data import plausible
from edgewright.data.boxes import Absent, Annotated, Annotations, Box, box, outline, wrong
from edgewright.data.lookup import Found, Lookup, ends, is_outside, place_remarks
from edgewright.data.remarks import Remark, remark
from edgewright.data.runs import around
from edgewright.data.wants import PLAIN, Wants

from . import schema, shapes
from .files import chosen, files, foreign, image_folders, marks

__all__ = ["foreign", "images", "marks", "read", "splits"]

_FIRST = 100
"""If none of this many images exists, the split was not downloaded."""


def splits(folder: Path, wants: Wants | None = None) -> list[str]:
    """The splits that `folder` has annotations for, sorted; none if one file is for all of it."""
    return sorted(set(files(folder, wants)) - {""})


def images(folder: Path, split: str, wants: Wants | None = None) -> tuple[str, ...]:
    """The absolute paths of the images of `split`, in the order of the JSON."""
    path = chosen(folder, split, wants)
    listed = schema.decoded(path, schema.Images).images
    return tuple(found.path for found in _located(folder, path, split, listed))


def read(folder: Path, split: str, wants: Wants | None = None) -> Annotations:
    """The images and boxes of `split`, with the masks or keypoints that a task wants.

    Raises `InvalidInput` that names the file and the line, index or id.
    """
    path = chosen(folder, split, wants)
    content = schema.decoded(path, schema.File)
    for note in content.annotations:
        note.image_id, note.category_id = schema.same(note.image_id), schema.same(note.category_id)
    located = _located(folder, path, split, content.images)
    categories, class_remarks = _classes(path, content)
    objects = _Objects(path, content.images, categories, wants or PLAIN)
    for k, note in enumerate(content.annotations):
        objects.add(k, note)
    found = tuple(
        Annotated(
            path=one.path, boxes=tuple(objects.boxes[image.id]), size=image.size(),
            where=_where(path, "images", k, image.id),
        )
        for k, (image, one) in enumerate(zip(content.images, located))
    )  # fmt: skip
    first = objects.first
    plausible.require_pixels(objects.pixels, (one.size for one in found), lambda: _where(path, "annotations", *first))
    remarks = (
        *class_remarks, *place_remarks([(image.file_name, one) for image, one in zip(content.images, located)]),
        *objects.remarks(), *plausible.duplicates(found),
    )  # fmt: skip
    numbered = all(isinstance(category.id, int) for category in categories)
    names = tuple(str(category.name) for category in categories)
    return Annotations(images=found, classes=names, ordered=numbered, remarks=remarks, skeleton=objects.skeleton)


def _where(path: Path, what: str, k: int, id: object) -> str:
    return f"{path}, {what}[{k}]" + (f" (id {id})" if id is not None else "")


# --- images -----------------------------------------------------------------------------------------------------------


def _located(folder: Path, path: Path, split: str, listed: Sequence[schema.Image]) -> list[Found]:
    """The file of each image. Gives the images their ids as `schema.same` has them."""
    for image in listed:
        image.id = schema.same(image.id)
    schema.require_once(path, "images", [image.id for image in listed], "id")
    schema.require_once(path, "images", [image.file_name for image in listed], "file_name")
    lookup = Lookup(image_folders(folder, path, split))
    found, first = list[Found](), dict[str, int]()
    for k, image in enumerate(listed):
        one = lookup.find(image.file_name)
        if one is None:
            where, names = _where(path, "images", k, image.id), [other.file_name for other in listed[:_FIRST]]
            if k == 0 and not any(map(lookup.find, names)):
                raise _missing(where, image.file_name, lookup.folders, none_of=len(names))
            raise _missing(where, image.file_name, lookup.folders)
        if one.path in first:
            other = listed[first[one.path]].file_name
            what = f"file_name '{image.file_name}' is the file of images[{first[one.path]}] ('{other}') already"
            raise wrong(_where(path, "images", k, image.id), what, f"each file once; both names lead to {one.path}")
        first[one.path] = k
        found.append(one)
    return found


def _missing(
    where: str, name: str, folders: Sequence[Path], none_of: int = 0
) -> InvalidInput | Absent | IntegrityError:
    """The error for a missing image. `none_of`: none of so many images is there."""
    if not is_outside(name):
        none = f" (none of the first {none_of} images is there)" if none_of > 1 else ""
        found = wrong(where, f"the image '{name}' is missing{none}", f"a file in {' or '.join(map(str, folders))}")
        return Absent(found.what, found.why, found.fix) if none_of else found
    climbs = ".." in name.replace("\\", "/").split("/")
    short = next(reversed(ends(name)), "photo.jpg")
    return IntegrityError(
        f"{where}: file_name is '{name}': the path {'contains ..' if climbs else 'is absolute'}.",
        f"edgewright reads images from the data folder only, and no end of this path is a file in {folders[0]}.",
        f"Copy the image there, and write file_name relative to it: '{short}'.",
    )


# --- classes ----------------------------------------------------------------------------------------------------------


def _classes(path: Path, content: schema.File) -> tuple[list[schema.Category], list[Remark]]:
    """The categories in the order of the classes, and remarks on them."""
    for category in content.categories:
        category.id = schema.same(category.id)
    schema.require_once(path, "categories", [category.id for category in content.categories], "id")
    used = {note.category_id for note in content.annotations}
    root = _root(content.categories, used)
    kept = [category for category in content.categories if category is not root]
    _require_names_once(path, kept, used)
    numbers = [category.id for category in kept]
    ordered = sorted(kept, key=_number) if all(isinstance(id, int) for id in numbers) else kept
    text = "Classes are numbered by their ids, as in pycocotools. The file lists them in another order."
    group = "The category '{}' (id 0) is the group of all others and has no boxes: it is not a class.".format
    return ordered, [
        *remark("note", "class-order", [path.name] if ordered != kept else [], text),
        *remark("note", "root-category", [str(root.name)] if root else [], group(root.name) if root else ""),
    ]


def _number(category: schema.Category) -> float:
    assert isinstance(category.id, int)
    return category.id


def _root(categories: Sequence[schema.Category], used: set[schema.Id]) -> schema.Category | None:
    """The category that Roboflow writes for the whole project."""
    root = next((one for one in categories if one.id == 0 and one.supercategory == "none"), None)
    others = [one for one in categories if one is not root]
    is_group = root is not None and 0 not in used and all(one.supercategory == root.name for one in others)
    return root if others and is_group else None


def _require_names_once(path: Path, categories: Sequence[schema.Category], used: set[schema.Id]) -> None:
    first = dict[str, schema.Category]()
    for category in categories:
        name = str(category.name)
        if category.id in used:
            if name in first:
                ids = f"{first[name].id} and {category.id}"
                raise wrong(f"{path}, categories", f"'{name}' is the name of the ids {ids}", "a name once")
            first[name] = category


# --- boxes ------------------------------------------------------------------------------------------------------------


class _Objects:
    """The boxes of the images by the images' ids, and what was noticed of the annotations."""

    def __init__(
        self, path: Path, images: Sequence[schema.Image], categories: Sequence[schema.Category], wants: Wants
    ) -> None:
        self._path, self._wants = path, wants
        self.skeleton = shapes.skeleton(path, categories) if wants.keypoints else None
        self._categories = {
            category.id: category for category in categories if self.skeleton and shapes.names(path, category)
        }
        """The categories that have keypoints."""
        self._sizes = {image.id: image.size() for image in images} if wants.masks else {}
        self._label: Mapping[schema.Id, int] = {category.id: k for k, category in enumerate(categories)}
        self.boxes: dict[schema.Id, list[Box]] = {image.id: [] for image in images}
        self.pixels = list[Sequence[float]]()
        """x, y, width and height of the boxes that have an area."""
        self.first: tuple[int, object] = (0, None)
        """Index and id of the first of them."""
        self._ids = set[str]()
        self._without = dict[str, list[str]](area=[], box=[], id=[], mask=[])
        self._short = list[str]()
        self._outlines = list[str]()

    def add(self, k: int, note: schema.Annotation) -> None:
        """Add the annotation with the index `k`."""
        index = self._checked(k, note)
        polygons, rle = None, None
        if self._wants.masks:
            polygons, rle = shapes.mask(self._at(k, note), note.segmentation, self._sizes[note.image_id], self._short)
        sides: Sequence[float] | None = note.bbox
        if not sides and rle:
            sides = around(rle)
        if not sides and (sides := schema.outline(self._at(k, note), note.segmentation)):
            self._outlines.append(self._at(k, note))
        if not sides:
            self._without["box"].append(self._at(k, note))
            return
        if len(sides) != 4:
            raise wrong(self._at(k, note), f"bbox is {note.bbox}", "four numbers: x, y, width, height in pixels")
        x, y, width, height = sides
        area, crowd = note.area, note.iscrowd
        if isinstance(area, str):
            area = schema.area(self._at(k, note), area)
        if not isinstance(crowd, bool):
            crowd = crowd != 0 and schema.crowd(self._at(k, note), crowd)
        found = box(index, (x, y, x + width, y + height), area, crowd)
        if found is None:
            self._without["area"].append(self._at(k, note))
            return
        if not self.pixels:
            self.first = (k, note.id)
        self.pixels.append(sides)
        if self._wants.masks and not polygons and not rle:
            self._without["mask"].append(self._at(k, note))
            polygons = outline(found)
        if self._wants.masks:
            found = msgspec.structs.replace(found, polygons=polygons, rle=rle)
        if self.skeleton and (category := self._categories.get(note.category_id)):
            points = shapes.points(self._at(k, note), note.keypoints, category, self.skeleton.points)
            found = msgspec.structs.replace(found, keypoints=points)
        self.boxes[note.image_id].append(found)

    def remarks(self) -> list[Remark]:
        """The remarks on all annotations."""
        outlines = "{count|annotation has|annotations have} a polygon or mask and no bbox: the box around it is used."
        box = "{count|annotation has|annotations have} neither a bbox nor a segmentation: left out."
        ids = "{count|annotation has|annotations have} no unique id: read without it."
        mask = "{count|object has|objects have} no mask: the box is used as the mask."
        short = "{count|polygon has|polygons have} fewer than three points: left out."
        return [
            *remark("warning", "objects-without-mask", self._without["mask"], mask),
            *remark("warning", "polygons-too-short", self._short, short),
            *plausible.without_area(self._without["area"]),
            *remark("warning", "annotations-without-box", self._without["box"], box),
            *remark("note", "polygons-as-boxes", self._outlines, outlines),
            *remark("note", "annotation-ids", self._without["id"], ids),
        ]

    def _at(self, k: int, note: schema.Annotation) -> str:
        return _where(self._path, "annotations", k, note.id)

    def _checked(self, k: int, note: schema.Annotation) -> int:
        """The class index of an annotation whose ids are known."""
        if note.image_id not in self.boxes:
            raise wrong(self._at(k, note), f"image_id {note.image_id} is the id of no image", "an id of `images`")
        if note.category_id not in self._label:
            known = sorted(map(str, self._label), key=lambda id: (len(id), id))
            allowed = f"an id of `categories` ({', '.join(known[:10])}{' ...' if len(known) > 10 else ''})"
            raise wrong(self._at(k, note), f"category_id {note.category_id} is the id of no category", allowed)
        if note.id is None or str(note.id) in self._ids:
            self._without["id"].append(self._at(k, note))
        self._ids.add(str(note.id))
        return self._label[note.category_id]
