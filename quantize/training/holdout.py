"""Which images are learned from, and which are held out to tell how good weights are."""

from __future__ import annotations

MOST_AT_RANDOM, MOST_SPREAD = 2000, 32


def at_random(images: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """The numbers of the images to learn from, and of the `share` held out, at most `MOST_AT_RANDOM`."""
    import torch

    order = torch.randperm(images, generator=torch.Generator().manual_seed(seed)).tolist()
    held_out = max(1, min(MOST_AT_RANDOM, round(images * share)))
    return sorted(order[held_out:]), sorted(order[:held_out])


def spread(images: int) -> tuple[list[int], list[int]]:
    """The same of few images: an eighth is held out, at most `MOST_SPREAD`, evenly spread."""
    count = min(MOST_SPREAD, images // 8)
    held_out = [i * images // count for i in range(count)]
    return [i for i in range(images) if i not in held_out], held_out
