"""Training branches are merged in what is exported, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
import torch

from edgewright.export.exporter import export
from edgewright.export.sources import merging, plan, timm
from edgewright.export.sources import torch as torch_source
from edgewright.export.sources.loaded import Trainable, outputs


def lively(module: torch.nn.Module) -> torch.nn.Module:
    """`module` with random statistics in its batch norms: those that they begin with hide a wrong fold."""
    random = torch.Generator().manual_seed(1)
    for norm in (m for m in module.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)):
        for tensor in (norm.running_mean, norm.bias.data):
            tensor.copy_(torch.randn(tensor.shape, generator=random) * 0.2)
        for tensor in (norm.running_var, norm.weight.data):
            tensor.copy_(torch.rand(tensor.shape, generator=random) + 0.5)
    return module.eval()


def timm_model(name: str) -> Trainable:
    found = timm.trainable(name, {"pretrained": False, "num_classes": 10})
    lively(found.module)
    return found


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("mobileone_s0", 417, 43), ("repvgg_a0", 105, 22), ("fastvit_t8", 138, 62), ("repvit_m0_9", 234, 103),
        ("repghostnet_050", 207, 143),
    ],
)  # fmt: skip
def test_a_model_of_timm_is_exported_merged_and_trained_as_it_was(name: str, before: int, after: int) -> None:
    found = timm_model(name)
    state = {key: value.clone() for key, value in found.module.state_dict().items()}
    loaded = found.load()
    assert loaded.notes == (f"Merged the training branches: {before} -> {after} convolutions and batch norms.",)
    own = found.module.state_dict()
    assert own.keys() == state.keys() and all(torch.equal(own[key], value) for key, value in state.items())
    x = torch.randn(2, 3, loaded.spec["input"]["height"], loaded.spec["input"]["width"])
    with torch.no_grad():
        first, second = found.module(x), loaded.model(x)
    assert float((first - second).abs().max() / first.abs().max()) < 1e-4


def test_a_model_without_branches_is_left_as_it_is() -> None:
    found = timm_model("resnet18")
    loaded = found.load()
    assert loaded.model is found.module and loaded.notes == ()


def test_the_exported_graph_has_one_convolution_for_all_branches(tmp_path: Path) -> None:
    export("timm:mobileone_s0?num_classes=3&pretrained=false", tmp_path)
    kinds = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert (kinds.count("Conv"), kinds.count("BatchNormalization"), kinds.count("Add")) == (43, 0, 0)


def test_a_pruned_model_is_merged_too(tmp_path: Path) -> None:
    from edgewright.quantize.pruning import groups

    found = timm_model("mobileone_s0")
    x = torch.rand(2, 3, 64, 64)
    channels = groups.find(found.module, outputs, x).groups
    gone = {g.name: groups.indices(g, torch.arange(g.channels).float(), g.units // 4) for g in channels}
    pruned = groups.prune(found.module, outputs, x, gone, channels)
    plan.write(tmp_path, "timm:mobileone_s0?num_classes=10", (found.module, pruned))
    loaded = plan.trainable(str(tmp_path), {}).load()
    assert loaded.notes == ("Merged the training branches: 417 -> 43 convolutions and batch norms.",)
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(x), pruned(x), rtol=1e-3, atol=1e-3 * float(pruned(x).abs().max()))


FACTORY = """
import torch

class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.one = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Conv2d(3, 4, 1), None

    def forward(self, x):
        return self.one(x) if self.one is not None else self.a(x) + self.b(x)

    def switch_to_deploy(self):
        self.one = torch.nn.Conv2d(3, 4, 3, padding=1)
        wide = torch.nn.functional.pad(self.b.weight.data, [1, 1, 1, 1])
        self.one.weight.data = self.a.weight.data + wide
        self.one.bias.data = (self.a.bias + self.b.bias).data * {factor}
        del self.a, self.b

class Other(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fuse = torch.nn.Conv2d(3, 4, 1)  # a layer of that name, no method

    def forward(self, x):
        return self.fuse(x)

def right(): return torch.nn.Sequential(Block(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
def layer(): return torch.nn.Sequential(Other(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
def fixed(): return torch.nn.Sequential(Block(), torch.nn.Flatten(), torch.nn.Linear(4 * 90 * 90, 2))
"""


def factory(folder: Path, name: str, factor: float = 1) -> Trainable:
    (folder / "mine.py").write_text(FACTORY.replace("{factor}", str(factor)))
    return torch_source.trainable(f"{folder}/mine.py:{name}", {})


def test_blocks_of_a_users_own_model_are_merged_by_their_own_method(tmp_path: Path) -> None:
    found = factory(tmp_path, "right")
    loaded = found.load()
    assert loaded.notes == ("Merged the training branches: 2 -> 1 convolutions and batch norms.",)
    x = torch.randn(1, 3, 50, 70)
    torch.testing.assert_close(loaded.model(x), found.module(x))


@pytest.mark.parametrize(
    ("name", "factor", "said"),
    [("right", 3, "its outputs would change by"), ("fixed", 1, "takes no random input"), ("layer", 1, "")],
)
def test_what_cannot_be_proven_stays_unmerged_and_is_said(tmp_path: Path, name: str, factor: float, said: str) -> None:
    found = factory(tmp_path, name, factor)
    loaded = found.load()
    assert loaded.model is found.module
    assert [note for note in loaded.notes if said in note] == list(loaded.notes)
    assert bool(loaded.notes) == bool(said)


def test_a_method_of_another_kind_is_no_failure() -> None:
    class Odd(torch.nn.Module):
        def fuse(self, level: int) -> None: ...

    module = torch.nn.Sequential(Odd())
    assert merging.merge(module)[0] is module
    assert "were not merged" in merging.merge(module)[1][0]
