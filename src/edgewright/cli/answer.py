"""`edgewright run` without its option parser, which starts faster."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import edgewright
from edgewright import tasks
from edgewright.core.errors import InvalidInput, UsageError


def opened(bundle: Path, trust_plan: bool = False) -> edgewright.Session:
    """The session of a bundle; its warnings are printed on standard error."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        session = edgewright.open(bundle, trust_plan=trust_plan)
    for warning in caught:
        from edgewright.cli import console

        console.print_warning(str(warning.message))
    return session


def answer(
    session: edgewright.Session, images: Sequence[Path], top: int = 3, score: float | None = None,
    save_images: Path | None = None, form: str = "text", save: Path | None = None,
) -> None:  # fmt: skip
    """Print the answer of `session` to each image, then close it. The rest are the options of `edgewright run`.

    `form`: "text", or one of `FORMATS`.

    Raises `UsageError` for `score` with a task that has no scores.
    """
    from edgewright.cli import console

    with session:
        task, spec = tasks.of(session.spec), session.spec
        try:
            task.decode.threshold(spec, score)
        except InvalidInput as error:
            raise UsageError(error.what, error.why, "Leave out --score.") from error
        answers = session(list(images), score)
    saved: dict[Path, Path] = {}
    if save:
        saved = _save(images, answers, save)
    if save_images:
        from edgewright.vision import draw

        saved = draw.save(task.draw.draw, images, answers, save_images, spec.turns)
    if form != "text":
        console.print_json(FORMATS[form](images, answers, top))
        return
    screen = console.output()
    width = max(len(path.name) for path in images)
    for path, found in zip(images, answers):
        first, *rest = found.lines(top)
        where = [("dim", f"  {saved[path]}")] if path in saved else []
        screen.print_line(f"{path.name:<{width}}  ", *first, *where)
        for line in rest:
            screen.print_line(*line)


def _save(images: Sequence[Path], answers: Sequence[Any], folder: Path) -> dict[Path, Path]:
    """Write the files of each answer to `folder`, named after its image. Returns the first file of each image."""
    import json

    from edgewright.core import files

    saved: dict[Path, Path] = {}
    for path, found in zip(images, answers):
        stem, number = path.stem, 1
        while any(other.stem == stem for other in saved.values()):
            number += 1
            stem = f"{path.stem}-{number}"
        kept = found.files() if hasattr(found, "files") else {".json": json.dumps(found.to_json()).encode()}
        for suffix, content in kept.items():
            files.write(files.absolute(folder / f"{stem}{suffix}"), content)
        saved[path] = folder / f"{stem}{next(iter(kept))}"
    return saved


def _json(images: Sequence[Path], answers: Sequence[Any], top: int) -> list[dict[str, Any]]:
    return [{"image": str(path), **found.to_json(top)} for path, found in zip(images, answers)]


def _ultralytics(images: Sequence[Path], answers: Sequence[Any], top: int) -> list[dict[str, Any]]:
    return [{"image": str(path), "summary": found.to_ultralytics()} for path, found in zip(images, answers)]


def _coco(images: Sequence[Path], answers: Sequence[Any], top: int) -> list[dict[str, Any]]:
    return [row for number, found in zip(_numbers(images), answers) for row in found.to_coco(number)]


def _numbers(images: Sequence[Path]) -> Sequence[int]:
    """Return COCO's ids of images: the numbers that are their names, or else their places in the command."""
    stems = [path.stem for path in images]
    named = [int(stem) for stem in stems if stem.isascii() and stem.isdigit()]
    return named if len(set(named)) == len(images) else range(len(images))


FORMATS: dict[str, Callable[[Sequence[Path], Sequence[Any], int], list[dict[str, Any]]]] = {
    "json": _json, "ultralytics": _ultralytics, "coco": _coco,
}  # fmt: skip
"""The formats of `--format` of `edgewright run`, as data for JSON: functions of the images, their answers and --top."""
