"""Networks made up by hypothesis: operators, shapes, operator sets, names. None ends in an error, all answer right."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

import onnxruntime
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from edgewright.core.errors import InvalidInput, RuntimeFailed
from edgewright.quantize.schemes import SCHEMES


def _sibling(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"graphs_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


networks, operators, trial = _sibling("net"), _sibling("operators"), _sibling("trial")
SHARES = 4
"""The networks of CI, so that several processes can share them."""
EACH = 50
NOT_BY_NNCF = ("layers are in INT8", "are computed")
"""What NNCF alone is refused for: convolutions over one and three dimensions stay in float, computed weights fail."""


class Network(NamedTuple):
    """A model, how it came to be, and a number by which the costly checks are shared out."""

    model: Any
    made: tuple[Any, ...]
    turn: int

    def __repr__(self) -> str:
        return f"Network{self.made}"


@st.composite
def network(draw: Any) -> Network:
    """A stem, up to three steps and a head."""
    opset, names = draw(st.sampled_from(networks.OPSETS)), draw(st.sampled_from(networks.NAMES))
    size = draw(st.tuples(st.sampled_from((8, 9, 12, 16)), st.sampled_from((8, 11, 12, 16))))
    turn = draw(st.integers(0, 1 << 16))
    net = networks.Net(opset, names, size, turn)
    x = net.relu(net.conv(net.images, 16, 3))

    def pick(options: Any) -> Any:
        return draw(st.sampled_from(list(options)))

    steps = draw(st.lists(st.sampled_from(_known(operators.STEPS, opset)), min_size=1, max_size=3))
    head = draw(st.sampled_from(_known(operators.HEADS, opset)))
    for name in steps:
        x = operators.STEPS[name][1](net, x, pick)
    return Network(net.give(operators.HEADS[head][1](net, x, pick)), (opset, names, size, turn, *steps, head), turn)


def _known(table: Any, opset: int) -> list[str]:
    return [name for name, (since, _) in table.items() if since <= opset]


def _try(network: Network, images: list[str], work: Path) -> None:
    assert trial.runs(network.model) == ""
    shutil.rmtree(work, ignore_errors=True)
    with trial.time_limit():
        exported = trial.export(network.model, images, work)
        for number, scheme in enumerate(SCHEMES):
            method = "minmax"
            if network.turn % 48 == number:
                method = "round"
            elif network.turn % 12 == number and scheme.startswith("openvino"):
                method = "nncf"
            try:
                trial.quantized(exported, scheme, method, images, loads=network.turn % 6 == number)
            except (InvalidInput, RuntimeFailed) as error:
                if method != "nncf" or not any(part in error.what for part in NOT_BY_NNCF):
                    raise


def _try_many(number: int, count: int, folder: Path) -> None:
    """`count` networks, the same ones for the same `number`; a failure names the first that fails, unshrunk."""
    onnxruntime.set_default_logger_severity(4)
    images = trial.write_images(folder)

    @seed(number)
    @settings(
        max_examples=count, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=[*HealthCheck],
        report_multiple_bugs=False,
    )  # fmt: skip
    @given(network())
    def each(network: Network) -> None:
        _try(network, images, folder / "work")

    trial.wrong_in_openvino.clear()
    each()
    wrong = trial.wrong_in_openvino  # one of 50 is its own fault
    assert len(wrong) <= count // 50, wrong


@pytest.mark.parametrize("share", range(SHARES))
def test_a_network_answers_the_same_after_the_export_and_nearly_so_in_int8(share: int, tmp_path: Path) -> None:
    _try_many(share, EACH, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("share", range(20))
def test_so_do_a_thousand_more(share: int, tmp_path: Path) -> None:
    _try_many(1000 + share, 50, tmp_path)
