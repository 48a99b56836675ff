"""Whole residual blocks that can go: what helps where a model's depth costs the time, and not its widths."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch

from edgewright.core.errors import InvalidInput
from edgewright.quantize.distillation.features import Answers

from .groups import LAYERS, watched

Tick = Callable[[int, int, str], None]
CLOSE = 1e-4
"""How far a block without weights may be from giving back its input, relative to it."""


def find(module: torch.nn.Module, answers: Answers, images: torch.Tensor) -> list[str]:
    """The names of the smallest residual blocks of `module`, in the order in which they run.

    A block is residual where it gives back its input once all its weights are zero; then it can go, and what is behind
    it sees nearly what it saw. Blocks that change the shape of what they are given cannot.
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
    """A copy of `module` in which the blocks `names` give back what they are given."""
    changed = copy.deepcopy(module)
    for name in names:
        parent, _, leaf = name.rpartition(".")
        setattr(changed.get_submodule(parent), leaf, torch.nn.Identity())
    return changed


def choose(
    module: torch.nn.Module, answers: Answers, batches: Sequence[torch.Tensor], count: int,
    tick: Tick = lambda done, total, what: None,
) -> list[str]:  # fmt: skip
    """The `count` blocks of `module` that change its answers to `batches` least, taken out one after the other.

    What a block is worth depends on those that are gone, and is taken to rise as they go (it need not): each time the
    one of least worth so far is tried anew, then the next, until one is worth less than the others were before (Minoux
    1978, "Accelerated greedy algorithms"). Raises `InvalidInput` where there are not so many.
    """
    left = find(module, answers, batches[0][:1])
    if not 0 < count <= len(left):
        raise InvalidInput(
            f"{count} blocks cannot be taken out.", f"The model has {len(left)} residual blocks that keep their shape.",
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
    """The energy of the answers' error over that of their variation."""
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
