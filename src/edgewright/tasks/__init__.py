"""The tasks of vision. Each task has one folder with all code about it.

Only `get` selects code by the task of a model. A task is a package with the modules below; `contract` has their
signatures. The light modules run on devices with numpy. The others run on the host and import heavy libraries inside
functions.

| half | module | content |
| --- | --- | --- |
| light | `spec` | the task's section of ModelSpec |
| | `decode` | outputs of the graph -> answers, and rows for the accuracy |
| | `answer` | the answer's fields, `to_json()`, lines for a terminal |
| | `draw` | draws the answer on the image |
| host | `fit` | checks a description against a model's outputs |
| | `truth` | the labels that a data set needs |
| | `metric` | scores with names, units, direction; contributions of images; paired difference; default budget |
| | `loss` | the distance between two outputs: for choosing ranges, sensitivity, parity |
| | `training` | training losses, against a teacher and from labels; torch |
| | `protect` | what stays in float, and what is corrected after quantization |
| | `rewrite` | optional: the last step of decoding, computed in the graph |
| | `report` | columns, plot axis and pictures of reports |
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import pkgutil
import re
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from edgewright.core.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import EntryPoint

    import msgspec

    from edgewright.core.spec import ModelSpec

    from . import contract

GROUP = "edgewright.tasks"
"""Group of entry points for tasks from other packages: ``rotation = "my_package.rotation"``."""
NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Task:
    """A task: its name and its package. Its modules are imported on first use."""

    name: str
    package: str

    def _part(self, name: str) -> Any:
        return importlib.import_module(f"{self.package}.{name}")

    @property
    def section(self) -> type[msgspec.Struct]:
        """The type of its section in ModelSpec."""
        return cast("type[msgspec.Struct]", self._part("spec").SECTION)

    @property
    def decode(self) -> contract.Decode:
        """Outputs of the graph -> answers."""
        return cast("contract.Decode", self._part("decode"))

    @property
    def fit(self) -> contract.Fit:
        """Checks of a description against a model's outputs."""
        return cast("contract.Fit", self._part("fit"))

    @property
    def truth(self) -> contract.Truth:
        """Requirements on the labels of a data set."""
        return cast("contract.Truth", self._part("truth"))

    @property
    def metric(self) -> contract.Metric:
        """Scores, their differences, and the contribution of each image."""
        return cast("contract.Metric", self._part("metric"))

    @property
    def report(self) -> contract.Report:
        """Texts and pictures for reports."""
        return cast("contract.Report", self._part("report"))

    @property
    def draw(self) -> contract.Draw:
        """Drawing answers on images."""
        return cast("contract.Draw", self._part("draw"))

    @property
    def loss(self) -> contract.Loss:
        """Distances between two outputs."""
        return cast("contract.Loss", self._part("loss"))

    @property
    def training(self) -> contract.Training:
        """Training a network of the task: torch."""
        return cast("contract.Training", self._part("training"))

    @property
    def protect(self) -> contract.Protect:
        """What stays in float, and what is corrected after quantization."""
        return cast("contract.Protect", self._part("protect"))

    @property
    def rewrite(self) -> contract.Rewrite | None:
        """The last step of decoding, computed in the graph; None if the task has no such step."""
        if importlib.util.find_spec(f"{self.package}.rewrite") is None:
            return None
        return cast("contract.Rewrite", self._part("rewrite"))


@functools.cache  # cached, because a session calls it for each image
def get(name: str) -> Task:
    """Return the task called `name`. Raises `InvalidInput` with the known names."""
    if NAME.fullmatch(name):
        if name in _own():
            return Task(name, f"{__name__}.{name}")
        for point in _foreign():
            if point.name == name:
                return Task(name, point.value)
    raise InvalidInput(f"There is no task '{name}'.", f"Known tasks: {', '.join(names())}.", "Use one of them.")


def of(spec: ModelSpec) -> Task:
    """Return the task of a model."""
    return get(spec.task.kind)


def names() -> list[str]:
    """Return the names of all tasks, sorted: edgewright's own and those of installed packages."""
    return list(_names(tuple(sys.path)))


@functools.cache
def _names(path: tuple[str, ...]) -> tuple[str, ...]:
    """Cached, because reading the entry points takes 10 ms, and a budget needs them several times per term."""
    return tuple(sorted({*_own(), *(point.name for point in _foreign())}))


@functools.cache
def _own() -> tuple[str, ...]:
    return tuple(found.name for found in pkgutil.iter_modules(__path__) if found.ispkg)


def _foreign() -> Iterable[EntryPoint]:
    from importlib import metadata  # slow to import, and not needed for edgewright's own tasks

    return metadata.entry_points(group=GROUP)
