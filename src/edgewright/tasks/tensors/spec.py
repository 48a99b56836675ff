"""The tensors section of ModelSpec: the shapes and types of the outputs."""

from __future__ import annotations

from typing import Annotated, ClassVar, cast

import msgspec

from edgewright.core.spec import ModelSpec, Section, Side

Shape = Annotated[tuple[Side, ...], msgspec.Meta(max_length=8)]


class Tensors(
    msgspec.Struct, Section, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="tensors", tag_field="kind"
):
    """What the outputs of a model are, in the order of ``outputs``. The export fills it in.

    - `shapes`: of each output for one sample, without a batch axis. `dtypes`: numpy's names of their types.
    """

    ANY: ClassVar[bool] = True

    shapes: Annotated[tuple[Shape, ...], msgspec.Meta(max_length=256)] = ()
    dtypes: Annotated[tuple[str, ...], msgspec.Meta(max_length=256)] = ()


SECTION = Tensors


def of(spec: ModelSpec) -> Tensors:
    """Return the section of a spec of this task."""
    return cast(Tensors, spec.task)
