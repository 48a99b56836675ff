"""Names, edges and OKS sigmas of the skeletons that people use, selected by their number of points."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Edges = tuple[tuple[int, int], ...]


class Skeleton(NamedTuple):
    """A skeleton: the `names` of its points, its `edges` as pairs of points, and the OKS `sigmas` (empty: unknown)."""

    names: tuple[str, ...] = ()
    edges: Edges = ()
    sigmas: tuple[float, ...] = ()


_PERSON = (
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
    "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
)
_SIGMAS = (.26, .25, .25, .35, .35, .79, .79, .72, .72, .62, .62, 1.07, 1.07, .87, .87, .89, .89)  # fmt: skip
COCO = Skeleton(
    tuple(_PERSON.split()),
    ((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10),
     (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
    tuple(value / 10 for value in _SIGMAS),
)  # fmt: skip
"""The 17 points of persons in COCO, with the sigmas of its evaluation."""

FACE = Skeleton(("right_eye", "left_eye", "nose", "mouth", "right_ear", "left_ear"), ((0, 1), (2, 3)))
"""The 6 points of BlazeFace."""

_HAND = tuple(f"{finger}_{joint}" for finger in ("thumb", "index", "middle", "ring", "pinky") for joint in range(1, 5))
HAND = Skeleton(
    ("wrist", *_HAND),
    (*((0 if k % 4 == 1 else k - 1, k) for k in range(1, 21)), (5, 9), (9, 13), (13, 17)),
)
"""The 21 points of a hand (MediaPipe, COCO-WholeBody)."""

_BLAZEPOSE = (
    "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear "
    "mouth_left mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_pinky "
    "right_pinky left_index right_index left_thumb right_thumb left_hip right_hip left_knee right_knee left_ankle "
    "right_ankle left_heel right_heel left_foot_index right_foot_index"
)
_BODY = (
    (0, 1), (1, 2), (2, 3), (3, 7), (0, 4), (4, 5), (5, 6), (6, 8), (9, 10), (11, 12), (11, 13), (13, 15), (15, 17),
    (15, 19), (15, 21), (17, 19), (12, 14), (14, 16), (16, 18), (16, 20), (16, 22), (18, 20), (11, 23), (12, 24),
    (23, 24), (23, 25), (24, 26), (25, 27), (26, 28), (27, 29), (28, 30), (29, 31), (30, 32), (27, 31), (28, 32),
)  # fmt: skip
BLAZEPOSE = Skeleton(tuple(_BLAZEPOSE.split()), _BODY)
"""The 33 points of BlazePose. Its 6 further points are auxiliary: the crop of the next frame."""


def _curves(*curves: tuple[int, int, bool]) -> Edges:
    """Return the edges of curves through consecutive points, each as (first, last, closed)."""
    edges = list[tuple[int, int]]()
    for first, last, closed in curves:
        edges += [(k, k + 1) for k in range(first, last)] + ([(last, first)] if closed else [])
    return tuple(edges)


FACE_68 = Skeleton(
    edges=_curves(
        (0, 16, False), (17, 21, False), (22, 26, False), (27, 30, False), (31, 35, False), (36, 41, True),
        (42, 47, True), (48, 59, True), (60, 67, True),
    )
)  # fmt: skip
"""The 68 points of a face in 300W."""
FACE_98 = Skeleton(
    edges=_curves(
        (0, 32, False), (33, 41, True), (42, 50, True), (51, 54, False), (55, 59, False), (60, 67, True),
        (68, 75, True), (76, 87, True), (88, 95, True),
    )
)  # fmt: skip
"""The 98 points of a face in WFLW."""

_KNOWN = {6: FACE, 17: COCO, 21: HAND, 33: BLAZEPOSE, 39: BLAZEPOSE, 68: FACE_68, 98: FACE_98}


def of(points: int, names: tuple[str, ...] = (), edges: Edges = ()) -> Skeleton:
    """Return the skeleton of an object with this number of `points`: `names` and `edges` where given, else the known
    ones of that number."""
    known = _KNOWN.get(points, Skeleton())
    rest = tuple(f"point_{k}" for k in range(len(known.names), points)) if known.names else ()
    return Skeleton(names or known.names + rest, edges or known.edges, known.sigmas)


def sigmas(points: int, given: tuple[float, ...] = ()) -> np.ndarray:
    """Return the OKS sigma of each point: `given`, else COCO's for 17 points, else 1 / `points` as in Ultralytics."""
    known = given or of(points).sigmas or (1 / points,) * points
    return np.asarray(known, np.float64)
