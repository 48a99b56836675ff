"""The verb prune, from images to a folder that is a source; what cannot be pruned is refused before anything is cut."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgewright.bench.layer_table import Cost, Table, widths
from edgewright.bench.results import Accuracy
from edgewright.cli.main import run_command
from edgewright.core.errors import InvalidInput
from edgewright.data import digits
from edgewright.graph.layers import Layer, narrowed
from edgewright.pipeline.jobs import prune as pruning
from edgewright.pipeline.jobs.prune import Reached
from edgewright.pipeline.jobs.prune_cut import Anchor, Costs, Cut, Matched, Narrower, Wanted
from edgewright.quantize.distillation.schedule import Schedule
from edgewright.quantize.pruning.groups import Group, Member
from edgewright.targets.detect import this_machine

NET = """\
import torch
from torch import nn

def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(),
        nn.Conv2d(64, 128, 3, padding=1), nn.BatchNorm2d(128), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(128, 128, 3, padding=1), nn.BatchNorm2d(128), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10),
    )
"""
SPEC = """\
name = "digits"
classes = 10
[input]
height = 64
width = 64
[preprocess]
resize = "exact"
resize_to = [64, 64]
mean = [0.3, 0.3, 0.3]
std = [0.4, 0.4, 0.4]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits, a network for them, and its description."""
    folder = tmp_path_factory.mktemp("prune")
    digits.write(folder / "digits")
    (folder / "net.py").write_text(NET)
    (folder / "net.toml").write_text(SPEC)
    return folder


@pytest.fixture(autouse=True)
def _own_store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One store for all tests here: the network is exported, and its layers are timed, once; what is measured to choose
    by, too."""
    monkeypatch.setenv("EDGEWRIGHT_CACHE", str(folder / "store"))
    monkeypatch.setattr(pruning, "RUNS", 1)


def prune(folder: Path, *arguments: str) -> int:
    """The exit code of the verb on the network of `folder`."""
    source = ["prune", f"torch:{folder}/net.py:network", "--spec", f"{folder}/net.toml"]
    return run_command([*source, "--data", f"{folder}/digits", "-o", f"{folder}/slim", *arguments])


def test_a_model_loses_channels_by_the_table_and_is_a_source_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--runtime", "openvino", "--speedup", "1.15", "--epochs", "1", "--json")
    assert prune(folder, *arguments) == 0
    found = json.loads(capsys.readouterr().out)
    before, after = found["parameters"]
    assert after < before
    assert found["predicted_ms"] < found["before_ms"]
    assert all(after % 8 == 0 for _, after in found["widths"].values())
    assert any(after < before for before, after in found["widths"].values())
    assert found["rounds"][0]["history"]["epochs"]
    plan = json.loads((folder / "slim" / "plan.json").read_text())
    assert plan["source"].endswith("net.py:network")
    assert prune(folder, *arguments) == 0  # the same cut and the same training, from the store
    again = capsys.readouterr()
    told = json.loads(again.out)
    assert (told["widths"], told["rounds"]) == (found["widths"], found["rounds"])
    lines = [line for line in again.err.splitlines() if " prune " in line or " distill " in line]
    assert len(lines) >= 3, "the half that anchors the table, cuts by it and the training"
    assert all("from the store" in line for line in lines)
    out = folder / "slim.onnx"
    # A plan that calls a factory must be trusted.
    assert run_command(["export", f"{folder}/slim", "-o", str(out)]) == 4
    assert run_command(["export", f"{folder}/slim", "--trust-checkpoint", "-o", str(out)]) == 0


class Rounds:
    """`pruning.narrow` with what is built, cut and trained made up: after each cut it is `began` times faster."""

    def __init__(self, began: list[float]) -> None:
        self.began, self.parts, self.trained = began, list[Wanted](), list[Schedule | None]()

    def run(self, wanted: Wanted, schedule: Schedule | None) -> Rounds:
        began = iter(self.began)

        def cut_once(_state: Any, _build: Any, _training: Any, part: Wanted, _widths: Any) -> Any:
            self.parts.append(part)
            return SimpleNamespace(path=Path(str(len(self.parts))))

        recipe = SimpleNamespace(seed=0)
        job: Any = pruning.Job(
            source=None, data=Path(), split=None, calibration=None, target=None, recipe=recipe, budget=None
        )  # type: ignore[arg-type]
        state: Any = SimpleNamespace(job=job, measured_here=True, host=SimpleNamespace(is_here=True), runner=None)
        made_up: dict[str, Any] = {
            "_built": lambda *_: None, "prepare": lambda *_: state, "_cut_once": cut_once,
            "_began": lambda *_: next(began),
            "_trained": lambda _state, folder, share: (folder, share),
        }  # fmt: skip
        with pytest.MonkeyPatch.context() as patch:
            for name, value in made_up.items():
                patch.setattr(pruning, name, value)
            patch.setattr(pruning.distill, "gather", lambda *_: (None, SimpleNamespace(items=range(100))))
            patch.setattr(pruning.cut, "read", lambda _: Cut(parameters=(2, 1)))
            rounds: Any = pruning.narrow(state, None, wanted, schedule).rounds  # type: ignore[arg-type]
        self.trained = [one.history for one in rounds]
        return self


@pytest.mark.slow
def test_each_round_goes_out_from_what_the_one_before_it_reached(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--runtime", "openvino", "--ratio", "0.5", "--rounds", "2", "--epochs", "2", "--json")
    assert prune(folder, *arguments) == 0
    found = json.loads(capsys.readouterr().out)
    first, second = found["rounds"]
    assert found["parameters"][0] > first["parameters"] > second["parameters"] == found["parameters"][1]
    assert [len(one["history"]["epochs"]) for one in (first, second)] == [1, 1], "the passes are shared out"
    assert found["widths"]["0"] == [64, 32]
    assert found["widths"]["3"] == [128, 64]


def test_blocks_go_first_and_channels_for_what_is_then_missing() -> None:
    """A speed-up of 2 in two rounds, of which the blocks alone give 1.25, and a channel round 1.6."""
    found = Rounds([1.25, 1.6]).run(Wanted(speedup=2.0, blocks=3, rounds=2), Schedule(epochs=10))
    assert found.parts == [Wanted(blocks=3), Wanted(speedup=2**0.5 / 1.25), Wanted(speedup=2 / 1.6)]
    assert [h.epochs if h else None for h in found.trained] == [None, 5, 5], "blocks before channels are not trained"


def test_blocks_that_are_enough_get_all_of_the_training() -> None:
    found = Rounds([2.5, 2.5]).run(Wanted(speedup=2.0, blocks=3, rounds=2), Schedule(epochs=10))
    assert found.parts == [Wanted(blocks=3)]
    assert [h.epochs if h else None for h in found.trained] == [10]


def test_nothing_is_trained_where_that_is_not_wanted() -> None:
    found = Rounds([2.5]).run(Wanted(speedup=2.0, blocks=3), None)
    assert found.trained == [None]


def test_a_small_speedup_is_not_taken_for_one_that_is_there() -> None:
    assert Rounds([]).run(Wanted(speedup=1.01), None).parts == [Wanted(speedup=1.01)]


def test_what_went_in_all_rounds_is_told_together() -> None:
    blocks = Cut(parameters=(100, 80), removed=("layer1.1",))
    channels = Cut(parameters=(80, 40), widths={"a": (64, 32)}, fixed={"fc": "the answers"}, left=0.6)
    more = Cut(parameters=(40, 30), widths={"a": (32, 16)}, fixed={"fc": "the answers"}, left=0.8)
    assert pruning.whole_of([blocks, channels, more]) == Cut(
        parameters=(100, 30), removed=("layer1.1",), widths={"a": (64, 16)}, fixed={"fc": "the answers"}, left=0.8
    )


def test_what_became_of_channels_is_told_beside_blocks_that_are_gone() -> None:
    from edgewright.cli.prune import _notes
    from edgewright.quantize.pruning import IS_OUTPUT

    scored = Accuracy(images=1, primary="top1")
    found = pruning.Pruned(
        artifact="openvino-int8", importance="fisher", images=1, parameters=(2, 1), accuracy_before=scored,
        accuracy=scored, rounds=(), removed=("layer1.1",), widths={"a": (64, 32)}, untimed=("b",),
        fixed={"c": "it is shared", "head": IS_OUTPUT},
    )  # fmt: skip
    notes = "; ".join(_notes(found))
    parts = ("layer1.1", "1 of 1 channel groups", "the prediction lacks", "c (it is shared)")
    assert all(part in notes for part in parts)
    assert "head" not in notes


@pytest.mark.slow
def test_zeros_for_a_device_that_is_not_here(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("--sparsity", "2:4", "--epochs", "0", "--json")
    assert prune(folder, *arguments, "--runtime", "openvino") == 5
    assert "no kernels for 2:4 zeros" in capsys.readouterr().err
    assert prune(folder, *arguments, "--target", "jetson-xavier-nx") == 5
    assert "from Ampere on" in capsys.readouterr().err
    assert prune(folder, *arguments, "--target", "jetson-orin-nano-8gb") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["artifact"].startswith("tensorrt-int8")
    assert found["sparse"] == ["3", "7"]
    assert found["accuracy"]["agreement"] > 0
    assert "not measured" in found["unmeasured"]
    assert "after_ms" not in found


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "Nothing was given"),
        (("--speedup", "2", "--ratio", "0.3"), 2, "speedup and ratio"),
        (("--ratio", "0.3", "--blocks", "1"), 2, "ratio and blocks"),
        (("--speedup", "2", "--latency", "1", "--blocks", "1"), 2, "speedup and latency_ms and blocks"),
        (("--speedup", "2", "--blocks", "0"), 2, "at least 1"),
        (("--speedup", "0.5"), 2, "above 1"),
        (("--ratio", "1.0"), 2, "share of channels to remove"),
        (("--ratio", "0.3", "--train-data", "no/such"), 3, "no/such"),
        (("--ratio", "0.3", "--importance", "luck"), 2, "importance 'luck' is unknown"),
        (("--sparsity", "1:2"), 2, "sparsity '1:2' is unknown"),
        (("--blocks", "2", "--rounds", "3"), 2, "1 to 2"),
        (("--speedup", "2", "--target", "jetson-orin-nano-8gb"), 5, "Layers are timed on the target itself"),
        (("--ratio", "0.3", "--target", "raspberry-pi-5"), 5, "emulates only TensorRT"),
        (("--latency", "1000", "--runtime", "openvino"), 3, "already takes"),
    ],
)
def test_what_cannot_be_done_is_said(
    folder: Path, arguments: tuple[str, ...], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prune(folder, *arguments) == code
    assert message in capsys.readouterr().err


def test_an_onnx_file_is_refused_before_anything_is_measured(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = ["prune", "net.onnx", "--data", f"{folder}/digits", "--speedup", "2", "-o", f"{folder}/x"]
    assert run_command(source) == 3
    assert "is an ONNX file" in capsys.readouterr().err


def test_a_data_set_of_one_split_is_not_enough(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only = folder / "only"
    only.mkdir()
    for number in range(10):
        (only / str(number)).symlink_to(next((folder / "digits").glob(f"*/{number}")))
    source = ["prune", f"torch:{folder}/net.py:network", "--spec", f"{folder}/net.toml", "--ratio", "0.3"]
    assert run_command([*source, "--data", str(only), "-o", str(folder / "x")]) == 3
    assert "has no training images besides" in capsys.readouterr().err


@pytest.mark.slow
def test_the_main_job_compares_a_pruned_model_with_the_whole_one(folder: Path) -> None:
    import edgewright
    from edgewright.pipeline.recipe import Recipe

    scheme = next(one for one in this_machine().runtimes if one.name == "openvino").schemes[0]
    int8 = scheme.replace("openvino", "openvino-int8") + "-minmax"
    recipe = Recipe(
        runtimes=("openvino",), schemes=(scheme,), methods=("minmax",), normalize=("host",), finalists=0,
        min_duration_s=0.1, min_count=20, prune=(1.5, 1000.0), distill=(f"torch:{folder}/net.py:network",),
        train_time_s=5.0,
    )  # fmt: skip
    found = edgewright.optimize(
        f"torch:{folder}/net.py:network", spec=folder / "net.toml", data=folder / "digits", out=folder / "out",
        budget="top1 >= -100", recipe=recipe,
    ).report  # fmt: skip
    rows = {row.id: row for row in found.measurements}
    assert {"openvino-f32", "openvino-f32-pruned1.5x", f"{int8}-pruned1.5x"} <= set(rows)
    assert rows[f"{int8}-student-net.py-network"].status == "ok"
    slim8 = rows[f"{int8}-pruned1.5x"]
    assert any(f.code == "predicted-latency" and "measured" in f.text for f in slim8.findings)
    whole, slim = rows["openvino-f32"], rows["openvino-f32-pruned1.5x"]
    assert slim.status == whole.status == "ok"
    assert slim.size_bytes < whole.size_bytes
    assert slim.accuracy is not None and slim.accuracy.delta is not None, "paired with the reference"
    impossible = next(row for row in found.measurements if row.status == "failed")
    assert impossible.stage == "prune" and "depth costs the rest" in (impossible.reason or "")


class World:
    """Networks as a width from 1 down: what is left of the latency by the table, and truly (with `off` too much)."""

    def __init__(self, off: float, floor: float = 0.1) -> None:
        self.off, self.floor, self.asked = off, floor, list[float]()

    def measured(self, width: float, told: float | None = None) -> Reached:
        return Reached(2.0, min(1.0, width + self.off * (1 - width)), {"0": (1000, round(1000 * width))}, told)

    def choose(self, wanted: float) -> Callable[[Anchor], tuple[float, Reached]]:
        def chosen(anchor: Anchor) -> tuple[float, Reached]:
            points = [(1.0, anchor.whole_ms), *((one.widths["0"][1] / 1000, one.ms) for one in anchor.narrower)]
            (wide, slow), (narrow, fast) = points[-2:]
            each = (slow - fast) / (wide - narrow) if slow > fast else 0.0
            if each <= 0 or slow - each * (wide - self.floor) > anchor.whole_ms / wanted:
                raise InvalidInput("depth costs the rest", "", "")
            width = wide - (slow - anchor.whole_ms / wanted) / each
            self.asked.append(width)
            return width, self.measured(width, 1 / wanted)

        return chosen


@pytest.mark.parametrize("off", [0.0, 0.3, -0.2])
def test_a_choice_that_was_told_well_is_taken_at_once(off: float) -> None:
    world = World(off)
    assert pruning.approach(1.5, world.measured(0.5), world.choose(1.5)) == world.asked[-1]
    assert len(world.asked) == 1, "the half told how much the table is off"


def test_what_the_table_thinks_too_well_of_is_chosen_again() -> None:
    world = World(0.5)
    half = Reached(2.0, 0.5, {"0": (1000, 500)})  # measured faster than the networks that are chosen
    width = pruning.approach(1.5, half, world.choose(1.5))
    assert len(world.asked) == 3
    assert world.measured(width).share == pytest.approx(1 / 1.5, abs=0.01)
    assert width == world.asked[-1]


def test_of_what_was_measured_the_nearest_is_taken() -> None:
    shares, asked = [0.9, 0.62, 0.8], list[Anchor]()

    def choose(anchor: Anchor) -> tuple[int, Reached]:
        asked.append(anchor)
        share = shares[len(asked) - 1]
        return len(asked), Reached(2.0, share, {"0": (1000, round(1000 * share))}, 1 / 1.4)

    assert pruning.approach(1.4, Reached(2.0, 0.75, {"0": (1000, 750)}), choose) == 3
    found = [[(one.ms / 2, one.widths["0"][1]) for one in anchor.narrower] for anchor in asked]
    assert found == [[(0.75, 750)], [(0.9, 900)], [(0.9, 900), (0.62, 620)]], "with the one on the other side, if any"


@pytest.mark.parametrize("before", [0, 1])
def test_what_cannot_be_is_refused_unless_something_was_measured(before: int) -> None:
    made: list[int] = []

    def choose(anchor: Anchor) -> tuple[str, Reached]:
        if len(made) == before:
            raise InvalidInput("depth costs the rest", "", "")
        made.append(1)
        return "first", Reached(2.0, 0.99, {}, 0.9)

    half = Reached(2.0, 0.8, {})
    if before:
        assert pruning.approach(1.1, half, choose) == "first"
    else:
        with pytest.raises(InvalidInput, match="depth costs"):
            pruning.approach(1.1, half, choose)


@pytest.mark.parametrize(
    ("measured", "told"),
    [
        ([(3.2, 48)], {48: 3.2, 32: 2.4}),
        ([(3.6, 48), (2.8, 32)], {48: 3.6, 32: 2.8, 16: 2.0}),
        ([(3.9, 32), (2.8, 32)], {48: 3.4, 32: 2.8}),  # alike by the table: through the unpruned one and the last
        ([(3.9, 16), (2.8, 32)], {48: 3.4, 32: 2.8}),
    ],
)
def test_predictions_are_on_the_line_through_what_was_measured(
    measured: list[tuple[float, int]], told: dict[int, float]
) -> None:
    layer = Layer(kind="conv", cin=3, cout=64, height=8, width=8)
    costs = {narrowed(layer, 3, n): Cost(microseconds=10.0 * n, kernel="", is_int8=False) for n in widths(64, 16)}
    network = Matched({"node": layer}, {"node": [("0", "out", 1.0)]}, [], [])
    group = Group(name="0", channels=64, members=(Member("0", "out", 64),))
    narrower = tuple(Narrower(ms=ms, widths={"0": (64, n)}) for ms, n in measured)
    predicted = Costs(Table(costs, 16), Anchor(whole_ms=4.0, narrower=narrower), network, [group])
    assert {n: predicted({"0": 64 - n}) for n in told} == pytest.approx(told)
