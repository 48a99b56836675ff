"""Split images into those to train on and those held out to rank weights."""

from __future__ import annotations

MOST_AT_RANDOM, MOST_SPREAD = 2000, 32


def at_random(images: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """The indices of the training images, and of the `share` held out, at most `MOST_AT_RANDOM`."""
    import torch

    order = torch.randperm(images, generator=torch.Generator().manual_seed(seed)).tolist()
    held_out = max(1, min(MOST_AT_RANDOM, round(images * share)))
    return sorted(order[held_out:]), sorted(order[:held_out])


def spread(images: int) -> tuple[list[int], list[int]]:
    """The same for few images: an eighth is held out, at most `MOST_SPREAD`, evenly spread."""
    count = min(MOST_SPREAD, images // 8)
    held_out = [i * images // count for i in range(count)]
    return [i for i in range(images) if i not in held_out], held_out
