"""Channels that hang together go together, nothing else does, and the wanted latency is met with the least lost."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
import torch
from torch import nn

from edgewright.core.errors import InvalidInput
from edgewright.export.sources import trainable
from edgewright.export.sources.loaded import outputs
from edgewright.export.sources.parse import parse
from edgewright.quantize.pruning import blocks, choice, groups, importance, sparsity
from edgewright.quantize.pruning.groups import Group, Member


class Split(nn.Module):  # type: ignore[misc]
    """A residual sum, a chunk whose second half is read twice, and a concatenation: what YOLO's C2f has."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.norm, self.last = nn.BatchNorm2d(24), nn.Conv2d(24, 12, 1)
        self.head = nn.Linear(12, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.first(x).chunk(2, 1)
        joined = self.norm(torch.cat([a, b, b + self.inner(b)], 1)).relu()
        return self.head(self.last(joined).relu().mean((2, 3)))


def test_halves_of_a_chunk_lose_equally_many() -> None:
    torch.manual_seed(0)
    net, images = Split().eval(), torch.rand(2, 3, 8, 8)
    found = groups.find(net, outputs, images)
    by_name = {group.name: group for group in found.groups}
    assert by_name["first"].blocks == 2
    assert "outputs" in found.kept["head"]
    gone = groups.indices(by_name["first"], torch.arange(16.0), 3)
    assert gone == [0, 1, 2, 8, 9, 10]
    narrow = groups.prune(net, outputs, images, {"first": gone}, found.groups)
    assert (narrow.first.out_channels, narrow.inner.in_channels, narrow.last.in_channels) == (10, 5, 15)
    with torch.no_grad():  # silence the same channels instead
        net.last.weight[:, [0, 1, 2, 8, 9, 10, 16, 17, 18]] = 0
        net.inner.weight[:, [0, 1, 2]] = 0
        assert torch.allclose(narrow(images), net(images), atol=1e-6)


@pytest.mark.parametrize(
    "source",
    ["timm:test_vit", "timm:test_efficientnet", "timm:test_convnext", "ultralytics:yolo11n.yaml?imgsz=64&nc=3"],
)
def test_groups_of_real_architectures_can_go(source: str) -> None:
    if source.startswith("timm"):
        source += "?pretrained=false&num_classes=4"
    found = trainable(parse(source))
    side = found.finish(trainable(parse(source)).module).spec["input"]["height"]
    images = torch.rand(1, 3, side, side)
    every = groups.find(found.module, found.answers, images).groups  # proves them, or leaves them out
    layers = sum(isinstance(one, groups.LAYERS) for one in found.module.modules())
    assert sum(m.side == "out" for g in every for m in g.members) > 0.6 * layers
    gone = {g.name: groups.indices(g, torch.rand(g.channels), g.units // 3) for g in every}
    narrow = groups.prune(found.module, found.answers, images, gone, every)
    before, after = (sum(p.numel() for p in m.parameters()) for m in (found.module, narrow))
    assert after < 0.75 * before
    with torch.no_grad():
        assert [a.shape for a in found.answers(narrow, images)] == [
            a.shape for a in found.answers(found.module, images)
        ]


def test_heads_go_as_a_whole() -> None:
    found = trainable(parse("timm:test_vit?pretrained=false&num_classes=4"))
    images = torch.rand(1, 3, 160, 160)
    group = next(g for g in groups.find(found.module, found.answers, images).groups if g.aligned)
    worth = torch.zeros(group.channels)
    worth[: group.grain] = 1.0  # the first head is worth most
    gone = groups.indices(group, worth, 1)
    assert len(gone) == 3 * group.grain
    assert min(gone) == group.grain
    attention = groups.prune(found.module, found.answers, images, {group.name: gone}, [group]).get_submodule(
        group.name.rpartition(".")[0]
    )
    assert attention.num_heads == group.units - 1


@pytest.mark.parametrize("kind", ["fisher", "taylor", "l1", "l2"])
def test_channels_that_do_nothing_are_worth_least(kind: importance.Importance) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(96, 4))
    with torch.no_grad():
        for dead in (2, 5):
            net[0].weight[dead] *= 1e-3
            net[0].bias[dead] = 0
            net[2].weight[:, dead] *= 1e-3
    images = torch.rand(16, 3, 8, 8)
    found = groups.find(net.eval(), outputs, images[:1]).groups
    worth = importance.measure(kind, net, outputs, found, [(images, torch.randint(0, 4, (16,)))])
    assert sorted(worth["0"].argsort()[:2].tolist()) == [2, 5]


def test_one_seed_gives_one_worth_and_another_another() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval()
    images = torch.rand(8, 3, 8, 8)
    found = groups.find(net, outputs, images[:1]).groups
    once, again, other = (
        importance.measure("fisher", net, outputs, found, [(images, None)], seed=seed)["0"] for seed in (1, 1, 2)
    )
    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def by_hand(found: list[Group], price: Mapping[str, float]) -> choice.Cost:
    """A cost in which two neighbours multiply, as channels in and out do."""

    def cost(gone: Mapping[str, int]) -> float:
        left = {g.name: 1 - gone[g.name] / g.units for g in found}
        return 1.0 + sum(price[n] * left[n] for n in left) + left["a"] * left["b"]

    return cost


def made(name: str, channels: int) -> Group:
    return Group(name=name, channels=channels, members=(Member(name, "out", channels),))


def test_the_choice_is_as_good_as_trying_all_of_them() -> None:
    found = [made("a", 32), made("b", 32), made("c", 32)]
    cost = by_hand(found, {"a": 1.0, "b": 2.0, "c": 3.0})
    torch.manual_seed(1)
    lost = {g.name: groups.lost(g, torch.rand(32) * s) for g, s in zip(found, (1.0, 3.0, 2.0))}
    wanted = 0.6 * cost({"a": 0, "b": 0, "c": 0})
    allowed = {g.name: choice.options(g, 8, 3.2) for g in found}
    chosen = choice.choose(allowed, lost, cost, wanted)
    assert cost(chosen) <= wanted
    every = itertools.product(*allowed.values())
    best = min(
        sum(lost[g.name][n] for g, n in zip(found, some)) for some in every if cost(dict(zip("abc", some))) <= wanted
    )
    assert sum(lost[name][n] for name, n in chosen.items()) <= 1.15 * best
    assert all((g.units - chosen[g.name]) % 8 == 0 for g in found)


def test_what_widths_cannot_reach_is_said() -> None:
    found = [made("a", 32), made("b", 32)]
    lost = {g.name: groups.lost(g, torch.ones(32)) for g in found}
    allowed = {g.name: choice.options(g, 8, 3.2) for g in found}
    with pytest.raises(InvalidInput, match="depth costs the rest"):
        choice.choose(allowed, lost, by_hand(found, {"a": 0.1, "b": 0.1}), 0.5)


def test_what_must_stay_is_counted_in_channels() -> None:
    heads = Group(name="heads", channels=64, members=(), grain=16)
    assert choice.options(heads, 8, 0.0) == [0, 1, 2, 3]
    assert choice.options(heads, 8, 33.0) == [0, 1]
    assert choice.options(made("a", 32), 8, 17.0) == [0, 8]


def test_a_ratio_that_takes_nothing_is_refused() -> None:
    assert choice.uniform([made("a", 32)], 0.3, {"a": 8}) == {"a": 8}
    with pytest.raises(InvalidInput, match="removes nothing"):
        choice.uniform([made("a", 16)], 0.05, {"a": 8})


def test_blocks_that_can_go_are_the_smallest_residual_ones() -> None:
    found = trainable(parse("timm:resnet18?pretrained=false&num_classes=4&zero_init_last=false"))
    images = torch.rand(2, 3, 64, 64)
    names = blocks.find(found.module, found.answers, images)
    assert names == ["layer1.0", "layer1.1", "layer2.1", "layer3.1", "layer4.1"]  # the others change the shape
    transformer = trainable(parse("timm:test_vit?pretrained=false&num_classes=4"))
    images = torch.rand(1, 3, 160, 160)
    assert all(name.startswith("blocks.") for name in blocks.find(transformer.module, transformer.answers, images))
    with torch.no_grad():
        for parameter in found.module.layer3[1].parameters():
            parameter.mul_(1e-3)
    batches = [torch.rand(2, 3, 64, 64)]
    with torch.no_grad():
        truth = [found.answers(found.module, batches[0])]
    tried: list[str] = []
    gone = blocks.choose(found.module, found.answers, batches, 2, lambda _done, _all, what: tried.append(what))
    assert gone[0] == "layer3.1"
    left = [name for name in names if name != gone[0]]
    losses = {n: blocks._loss(blocks.remove(found.module, [gone[0], n]), found.answers, batches, truth) for n in left}
    assert gone[1] == min(left, key=lambda name: losses[name])
    assert len(names) < len(tried) < 2 * len(names) - 1, "those worth much are not tried again"
    assert isinstance(blocks.remove(found.module, gone).layer3[1], nn.Identity)
    with pytest.raises(InvalidInput, match="5 residual blocks"):
        blocks.choose(found.module, found.answers, batches, 6)


def test_two_of_four_weights_go_where_sparse_kernels_can_use_it() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.Conv2d(16, 24, 3), nn.Conv2d(24, 24, 3, groups=24), nn.Flatten(), nn.Linear(64, 8)
    )
    less, names = sparsity.prune(net)
    assert names == ["1", "4"]  # three inputs are too few, and depthwise layers have no products to skip
    assert torch.equal(less[2].weight, net[2].weight)
    for layer, whole in ((less[1], net[1]), (less[4], net[4])):
        fours = layer.weight.movedim(1, -1).reshape(-1, 4)
        assert ((fours == 0).sum(1) == 2).all()
        was = whole.weight.movedim(1, -1).reshape(-1, 4)
        assert torch.equal(fours.abs().sum(1), was.abs().topk(2, 1).values.sum(1))  # the larger two stay, as they were
    assert set(sparsity.masks(less)) == {"1.weight", "4.weight"}
    assert not sparsity.masks(net)
    with pytest.raises(InvalidInput, match="No layer can be made 2:4 sparse"):
        sparsity.prune(nn.Conv2d(3, 8, 3))
