"""Choose the clipping range of each tensor that changes the model's outputs least.

Gradients of the outputs in random directions estimate, to first order, how much an error of a tensor changes the
outputs, like the Fisher information. (Yuan et al. 2022, "PTQ4ViT", weight errors by its diagonal. We multiply the error
of the tensor with its gradient, because clipping errs in one direction.) One backward pass covers every tensor, so
no range needs a run of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgewright import tasks
from edgewright.core.errors import RuntimeFailed
from edgewright.core.spec import ModelSpec
from edgewright.quantize.state import FloatState
from edgewright.quantize.steps import ChooseClipping, Kind

from .images import Calibration
from .statistics import Range, Statistics, Tick, find

if TYPE_CHECKING:
    import onnx
    import torch

PROPOSALS: tuple[Kind, ...] = ("minmax", "mean", "percentile")
PIXELS = 16 * 224 * 224
"""How much data is used: 16 images of 224 x 224, from 8 larger ones to 32 smaller ones."""
DIRECTIONS = 4
TRIMMED = 0.1
SHRINKS = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
"""Fractions of the widest range to try in addition to the ranges that statistics propose."""


def apply(_step: ChooseClipping, state: FloatState) -> int:
    """Add the ranges of the kind "output" to the statistics. A model with an operator without a gradient gets none."""
    try:
        state.statistics = choose(state.model, state.calibration, state.seen, state.tick, state.seed)
    except RuntimeFailed as error:
        missing = f"Ranges by the loss of the outputs are not available: {error.what}"
        state.statistics = state.seen._replace(missing=missing)
    return len(state.statistics.best)


def choose(model: onnx.ModelProto, calibration: Calibration, seen: Statistics, tick: Tick, seed: int = 0) -> Statistics:
    """`seen` with the best range of every float tensor of `model`: among those from statistics and fractions of the
    widest.

    Computed for grids with any zero point and for centered grids. Also stores how much noise on each channel of a
    feature map changes the outputs, from the same gradients. `tick` is called with (images done, images, text). Raises
    `RuntimeFailed` for an operator without a gradient in `autograd`.
    """
    import torch

    from edgewright.quantize import autograd

    generator = torch.Generator().manual_seed(seed)
    constants = autograd.constants(model)
    names = seen.names
    outputs = [value.name for value in model.graph.output]
    either = [find(seen, kind, False) for kind in PROPOSALS]
    proposed = {centered: [*either, find(seen, "mse", centered)] for centered in (False, True)}
    ranges = {
        (name, centered): _candidates([ranges[name] for ranges in proposed[centered]])
        for name in names
        for centered in proposed
    }
    errors: dict[tuple[str, bool], list[list[float]]] = {key: [] for key in ranges}
    noise: dict[str, np.ndarray] = {}
    images = min(32, max(8, PIXELS // calibration.spec.values))
    feeds = list(calibration.batches(images))
    for step, feed in enumerate(feeds):
        given = {name: torch.from_numpy(array) for name, array in feed.items()}
        for one in calibration.spec.images:
            # As float32, because integers have no gradient. Networks for integer pixels convert them first.
            given[one.name] = given[one.name].float()
        for array in given.values():
            array.requires_grad_(array.is_floating_point())
        values = dict(zip(names, autograd.run(model, {**constants, **given}, names)))
        answers, tensors = [values[name] for name in outputs], [values[name] for name in names]
        moved = [value for value in tensors if value.requires_grad]  # constants have no gradient
        gradients = []
        for along in _directions(answers, calibration.spec, generator):
            felt = torch.autograd.grad(list(along), moved, list(along.values()), retain_graph=True, allow_unused=True)
            gradients.append(dict(zip(map(id, moved), felt)))
        with torch.no_grad():
            for name, value in zip(names, tensors):
                known = [g.flatten() for gradient in gradients if (g := gradient.get(id(value))) is not None]
                slopes = torch.stack(known) if known else torch.zeros(1, value.numel())
                if value.ndim == 4:
                    squares = slopes.square().mean(0).reshape(value.shape) * (value != 0)  # Zero is on every grid.
                    gained = squares.sum((0, 2, 3)).numpy()
                    noise[name] = noise[name] + gained if name in noise else gained
                for centered in proposed:
                    changes = [rounded(value, *ends, centered) - value for ends in ranges[name, centered]]
                    errors[name, centered].append([float((slopes @ c.flatten()).square().sum()) for c in changes])
        tick(step + 1, len(feeds), "clipping ranges")
    best = [[ranges[n, centered][_best(np.array(errors[n, centered]))] for n in names] for centered in proposed]
    slopes_of_all = np.concatenate([np.zeros(0), *(noise[name] for name in names if name in noise)])
    widths = np.array([len(noise.get(name, ())) for name in names], np.int64)
    return seen._replace(best=np.array(best), slopes=slopes_of_all, slope_widths=widths)


def _best(errors: np.ndarray) -> int:
    """The index of the range with the lowest mean of `errors` (images, ranges), without the tenth of the images with
    the largest."""
    kept = len(errors) - int(len(errors) * TRIMMED)
    return int(np.sort(errors, axis=0)[:kept].mean(axis=0).argmin())


def rounded(x: torch.Tensor, low: float, high: float, centered: bool) -> torch.Tensor:
    """`x` on the 8-bit grid for the range from `low` to `high`."""
    if centered:
        step = max(-low, high, 1e-8) / 127
        return (x / step).round_().clamp_(-128, 127).mul_(step)
    step = max(high - low, 1e-8) / 255
    zero = round(-low / step)
    return (x / step).round_().clamp_(-zero, 255 - zero).mul_(step)


def _candidates(proposed: Sequence[Range]) -> list[Range]:
    low, high = min(low for low, _ in proposed), max(high for _, high in proposed)
    return list(
        dict.fromkeys([*proposed, *((low * s, high * s) for s in SHRINKS), *((low, high * s) for s in SHRINKS)])
    )


def _directions(
    answers: Sequence[torch.Tensor], spec: ModelSpec, generator: torch.Generator
) -> list[dict[torch.Tensor, torch.Tensor]]:
    """Random directions in output space. Squared products with them sum to the loss.

    Gaussian directions divided by the norm of an output give its relative error. The directions of the task's own loss
    are added.
    """
    import torch

    directions, found = tasks.of(spec).training.directions, []
    for _ in range(DIRECTIONS):
        found.append({a: torch.randn(a.shape, generator=generator) / (a.detach().norm() + 1e-12) for a in answers})
        if own := directions(answers, spec, generator):
            found.append(own)
    return found
