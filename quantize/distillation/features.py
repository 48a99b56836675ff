"""Choose the inner tensors of a teacher and its student to compare, and capture them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from edgewright.core.errors import InvalidInput

Pair = tuple[str, str]
"""The names of a module in the student and of its counterpart in the teacher."""

Answers = Callable[[torch.nn.Module, torch.Tensor], list[torch.Tensor]]
"""The compared outputs of a module for images (N, C, H, W): [logits], or a detector's raw head, in train and eval mode.
"""

SMALLEST = 2
"""Maps with a shorter side are not compared: a pooled feature has no spatial pattern."""


@contextmanager
def caught(module: torch.nn.Module, names: Sequence[str], repeated: set[str] | None = None) -> Iterator[dict[str, Any]]:
    """Inside the block: the last outputs of the named modules; "" is `module` itself.

    The names of modules that ran more than once are added to `repeated`.
    """
    found: dict[str, Any] = {}

    def catch(name: str) -> Callable[..., None]:
        def hook(_module: torch.nn.Module, _inputs: Any, output: Any) -> None:
            if found.pop(name, None) is not None and repeated is not None:  # the order is that of the last run
                repeated.add(name)
            found[name] = output

        return hook

    handles = [module.get_submodule(name).register_forward_hook(catch(name)) for name in names]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def pairs(
    student: torch.nn.Module, teacher: torch.nn.Module, run: Callable[[torch.nn.Module], Any]
) -> tuple[Pair, ...]:
    """The last feature map of each resolution that both networks have: the ends of their stages.

    For a pruned copy these are the same modules, for another architecture those that Zagoruyko and Komodakis compare.
    `run` gives the outputs of one of the two for a batch. None for networks without maps (transformers of tokens).
    """
    ours, theirs = (_last_of_each_resolution(module, run) for module in (student, teacher))
    return tuple((ours[side], theirs[side]) for side in theirs if side in ours)


def require(student: torch.nn.Module, teacher: torch.nn.Module, named: Sequence[Pair]) -> None:
    """Raise `InvalidInput` for a name that its network does not have."""
    for kind, module, names in (
        ("student", student, [a for a, _ in named]),
        ("teacher", teacher, [b for _, b in named]),
    ):
        known = dict(module.named_modules())
        for name in names:
            if name not in known:
                raise InvalidInput(
                    f"The {kind} has no module '{name}'.", "Its features should be compared.",
                    f"Name one of its modules, for example {', '.join([n for n in known if n][:4])}.",
                )  # fmt: skip


def _last_of_each_resolution(
    module: torch.nn.Module, run: Callable[[torch.nn.Module], Any]
) -> dict[tuple[int, int], str]:
    shared: set[str] = set()  # one activation module that serves several layers
    with torch.no_grad(), caught(module, [name for name, _ in module.named_modules() if name], shared) as found:
        run(module)
    parents = [
        name for name, output in found.items() if not isinstance(output, torch.Tensor) and _has_parts(module, name)
    ]
    head = f"{parents[-1]}." if parents else None  # the last of these returns the outputs
    maps: dict[tuple[int, int], str] = {}
    for name, output in found.items():
        if name in shared or (head and name.startswith(head)):
            continue
        if isinstance(output, torch.Tensor) and output.ndim == 4 and min(output.shape[2:]) >= SMALLEST:
            maps[output.shape[2], output.shape[3]] = name
    return maps


def _has_parts(module: torch.nn.Module, name: str) -> bool:
    return next(module.get_submodule(name).children(), None) is not None
