"""The INT8 methods, from cheap to thorough. Each is a list of steps in the order in which they run."""

from __future__ import annotations

from typing import NamedTuple

from edgewright.core.errors import InvalidInput

from .schemes import SCHEMES, Scheme
from .steps import (
    ByteInput,
    Calibrate,
    Center,
    ChooseClipping,
    ChooseRanges,
    CorrectBiases,
    Distil,
    Equalize,
    FloatLayers,
    FloatTail,
    Need,
    PlaceByNncf,
    PlaceQdq,
    Protect,
    Repair,
    RequireInt8,
    SplitChannels,
    Step,
    Train,
)


class Method(NamedTuple):
    """An INT8 method: its `steps` run one after the other."""

    name: str
    steps: tuple[Step, ...]

    def fits(self, scheme: str) -> bool:
        """Whether this method supports the scheme called `scheme`."""
        return all(step.fits(SCHEMES[scheme]) for step in self.steps)

    def steps_for(self, scheme: Scheme) -> list[Step]:
        """The steps that run for `scheme`."""
        return [step for step in self.steps if step.is_for(scheme)]

    def has(self, kind: type[Step]) -> bool:
        """Whether the method has a step of this kind."""
        return any(isinstance(step, kind) for step in self.steps)

    @property
    def placement(self) -> str:
        """The step that places the Q/DQ pairs. Files of one scheme with the same placement have the same latency.

        They differ only in the values of weights and ranges. Files with more layers in float are slower.
        """
        return "nncf" if self.has(PlaceByNncf) else "qdq"

    @property
    def leaves_more_in_float(self) -> bool:
        """Whether its files are slower than those of other methods with the same placement."""
        return self.has(FloatLayers)

    def needs(self, what: Need) -> bool:
        """Whether a step reads `what`."""
        return any(what in step.needs for step in self.steps)


def _named(methods: dict[str, tuple[Step, ...]]) -> dict[str, Method]:
    return {name: Method(name, steps) for name, steps in methods.items()}


FLOAT = (Equalize(), Calibrate(), ChooseClipping(), SplitChannels(), Center(), Protect())
"""The steps that change the float model."""
RANGES = ChooseRanges(("minmax", "mean", "output"))
PLACE = (ByteInput(), PlaceQdq(), FloatTail(), RequireInt8())
ROUND = CorrectBiases(gptq=True)

METHODS: dict[str, Method] = _named(
    {
        "minmax": (Calibrate(), Protect(), ChooseRanges(("minmax",)), *PLACE, Repair()),
        "nncf": (Protect(), PlaceByNncf(correct_biases=True), FloatTail(), RequireInt8(), Repair()),
        "round": (*FLOAT, RANGES, *PLACE, ROUND, Repair()),
        "nncf-round": (
            Protect(),
            PlaceByNncf(smooth_quant=True, zero_points=True),
            FloatTail(),
            RequireInt8(),
            ROUND,
            Repair(),
        ),
        "round-mixed": (*FLOAT, RANGES, FloatLayers(0.2), *PLACE, ROUND, Repair()),
    }
)
"""The methods that the pipeline tries by default, cheapest first."""

DISTIL = "distil"
"""The methods that the pipeline tries if no other method stays inside the budget."""

OTHERS: dict[str, Method] = _named(
    {
        "minmax-bias": (Calibrate(), Protect(), ChooseRanges(("minmax",)), *PLACE, CorrectBiases(), Repair()),
        "percentile-round": (Calibrate(), Protect(), ChooseRanges(("percentile",)), *PLACE, ROUND, Repair()),
        "entropy-round": (Calibrate(), Protect(), ChooseRanges(("entropy",)), *PLACE, ROUND, Repair()),
        "mse-round": (Calibrate(), Protect(), ChooseRanges(("mse",)), *PLACE, ROUND, Repair()),
        DISTIL: (*FLOAT, RANGES, *PLACE, ROUND, Distil(), Repair()),
        "qat": (*FLOAT, RANGES, *PLACE, ROUND, Train(), Repair()),
        "nncf-bias": (Protect(), PlaceByNncf(), FloatTail(), RequireInt8(), CorrectBiases(), Repair()),
    }
)
"""Methods to request by name, for models with outliers or to see the effect of one step."""


def get(name: str) -> Method:
    """The method called `name`. Raises `InvalidInput` with the known names."""
    known = METHODS | OTHERS
    if name not in known:
        raise InvalidInput(
            f"There is no quantization method '{name}'.", f"Known methods: {', '.join(known)}.", "Use one of them."
        )
    return known[name]
