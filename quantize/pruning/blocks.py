"""Remove complete residual blocks, for models whose latency comes from depth and not from widths."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch

from edgewright.core.errors import InvalidInput
from edgewright.quantize.distillation.features import Answers

from .groups import LAYERS, watched

Tick = Callable[[int, int, str], None]
CLOSE = 1e-4
"""The largest relative difference between a block's output with zero weights and its input."""


def find(module: torch.nn.Module, answers: Answers, images: torch.Tensor) -> list[str]:
    """The names of the smallest residual blocks of `module`, in the order in which they run.

    A block is residual if it returns its input when all its weights are zero. Such a block can be removed, and the
    layers after it see nearly the same values. Blocks that change the shape of their input cannot be removed.
    """
    seen: dict[str, torch.Tensor] = {}
    names = {one: name for name, one in module.named_modules() if name and _layers(one) > 1}

    def see(one: torch.nn.Module, given: tuple[object, ...], answer: object) -> None:
        x = given[0] if len(given) == 1 else None
        if isinstance(x, torch.Tensor) and isinstance(answer, torch.Tensor) and answer.shape == x.shape:
            seen[names[one]] = x.detach()

    with watched(names, see), torch.no_grad():
        answers(module, images)
    residual = [name for name, x in seen.items() if _is_residual(module.get_submodule(name), x)]
    return [name for name in residual if not any(other.startswith(f"{name}.") for other in residual)]


def remove(module: torch.nn.Module, names: Sequence[str]) -> torch.nn.Module:
    """A copy of `module` in which the blocks `names` return their input."""
    changed = copy.deepcopy(module)
    for name in names:
        parent, _, leaf = name.rpartition(".")
        setattr(changed.get_submodule(parent), leaf, torch.nn.Identity())
    return changed


def choose(
    module: torch.nn.Module, answers: Answers, batches: Sequence[torch.Tensor], count: int,
    tick: Tick = lambda done, total, what: None,
) -> list[str]:  # fmt: skip
    """The `count` blocks of `module` whose removal, one after another, changes its outputs for `batches` least.

    The importance of a block depends on the removed ones and usually rises as blocks go. Each round therefore measures
    the block with the lowest known importance again, then the next, until one is lower than the known values of the
    rest (Minoux 1978, "Accelerated greedy algorithms"). Raises `InvalidInput` if there are not enough blocks.
    """
    left = find(module, answers, batches[0][:1])
    if not 0 < count <= len(left):
        raise InvalidInput(
            f"{count} blocks cannot be removed.", f"The model has {len(left)} residual blocks that can be removed.",
            f"Ask for 1 to {len(left)}." if left else "Prune its channels: --speedup.",
        )  # fmt: skip
    with torch.no_grad():
        wanted = [answers(module, images) for images in batches]
    gone: list[str] = []
    worth = dict.fromkeys(left, 0.0)
    while len(gone) < count:
        best = None
        for name in sorted(worth, key=lambda name: worth[name]):
            if best is not None and worth[name] >= worth[best]:
                break
            tick(len(gone), count, f"blocks, {name}")
            worth[name] = _loss(remove(module, [*gone, name]), answers, batches, wanted)
            if best is None or worth[name] < worth[best]:
                best = name
        gone.append(str(best))
        del worth[gone[-1]]
    return gone


def _loss(
    module: torch.nn.Module, answers: Answers, batches: Sequence[torch.Tensor], wanted: Sequence[list[torch.Tensor]]
) -> float:
    """The energy of the outputs' error divided by the energy of their variation."""
    error = energy = 0.0
    with torch.no_grad():
        for images, right in zip(batches, wanted):
            for given, truth in zip(answers(module, images), right):
                error += float((given - truth).square().sum())
                energy += float((truth - truth.mean()).square().sum())
    return error / (energy + 1e-12)


def _layers(one: torch.nn.Module) -> int:
    return sum(isinstance(inner, LAYERS) for inner in one.modules())


@torch.no_grad()  # type: ignore[untyped-decorator]
def _is_residual(block: torch.nn.Module, x: torch.Tensor) -> bool:
    empty = copy.deepcopy(block).eval()
    for parameter in empty.parameters():
        parameter.zero_()
    for name, buffer in empty.named_buffers():
        if name.endswith("running_mean"):
            buffer.zero_()
    found = empty(x)
    return bool((found - x).abs().max() <= CLOSE * x.abs().max())
