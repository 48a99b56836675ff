"""What a task of vision is: one folder a task, and nothing about it anywhere else.

`get` is the only place that asks which task a model has. A task is a package with these modules; `contract` gives their
signatures. The light ones run on devices with numpy, the others on the host and import heavy libraries in functions.

| half | module | says |
| --- | --- | --- |
| light | `spec` | the task's section of ModelSpec |
| | `decode` | outputs of the graph -> answers, and the rows that accuracy is computed of |
| | `answer` | the answer's fields, `to_json()`, one line for a terminal |
| | `draw` | the answer on the image |
| host | `fit` | whether a description fits what a model answers |
| | `truth` | what a data set must hold for it |
| | `metric` | scores with names, units, direction; contributions of images; paired difference; default budget |
| | `loss` | how far two outputs are apart: for choosing ranges, sensitivity, parity |
| | `training` | losses of training, against a teacher and from labels; torch |
| | `protect` | what stays in float, and what is repaired after quantization |
| | `report` | its columns, its plot axis, what the gallery shows |
"""

from __future__ import annotations

import functools
import importlib
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
"""Entry points of this group name packages of tasks from outside: ``rotation = "my_package.rotation"``."""
NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Task:
    """A task: its name and its package. Its parts are imported when they are asked for."""

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
        """Whether a description fits what a model answers."""
        return cast("contract.Fit", self._part("fit"))

    @property
    def truth(self) -> contract.Truth:
        """What a data set must hold."""
        return cast("contract.Truth", self._part("truth"))

    @property
    def metric(self) -> contract.Metric:
        """Scores, their differences, what each image contributes."""
        return cast("contract.Metric", self._part("metric"))

    @property
    def report(self) -> contract.Report:
        """What reports call and show of it."""
        return cast("contract.Report", self._part("report"))

    @property
    def draw(self) -> contract.Draw:
        """The answer on the image."""
        return cast("contract.Draw", self._part("draw"))

    @property
    def loss(self) -> contract.Loss:
        """How far two outputs are apart."""
        return cast("contract.Loss", self._part("loss"))

    @property
    def training(self) -> contract.Training:
        """How a network of the task is trained: torch."""
        return cast("contract.Training", self._part("training"))

    @property
    def protect(self) -> contract.Protect:
        """What stays in float, and what is repaired."""
        return cast("contract.Protect", self._part("protect"))


@functools.cache  # a session asks for each image
def get(name: str) -> Task:
    """The task called `name`. Raises `InvalidInput` that lists the known ones."""
    if NAME.fullmatch(name):
        if name in _own():
            return Task(name, f"{__name__}.{name}")
        for point in _foreign():
            if point.name == name:
                return Task(name, point.value)
    raise InvalidInput(f"There is no task '{name}'.", f"Known tasks: {', '.join(names())}.", "Use one of them.")


def of(spec: ModelSpec) -> Task:
    """The task of a model."""
    return get(spec.task.kind)


def names() -> list[str]:
    """The tasks that there are, sorted: edgewright's own and those of installed packages."""
    return list(_names(tuple(sys.path)))


@functools.cache
def _names(path: tuple[str, ...]) -> tuple[str, ...]:
    """Cached, since reading what all installed packages say takes 10 ms, and a budget asks several times a term."""
    return tuple(sorted({*_own(), *(point.name for point in _foreign())}))


@functools.cache
def _own() -> tuple[str, ...]:
    return tuple(found.name for found in pkgutil.iter_modules(__path__) if found.ispkg)


def _foreign() -> Iterable[EntryPoint]:
    from importlib import metadata  # slow to import, and edgewright's own tasks need it not

    return metadata.entry_points(group=GROUP)
