"""States of runs for the tests of what is proposed: nothing is built, a candidate is inside the budget or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import msgspec

from edgewright.bench import budget
from edgewright.pipeline import policy
from edgewright.pipeline.candidate import Candidate, Variant
from edgewright.pipeline.recipe import Recipe
from edgewright.pipeline.state import Build, Failure, Job, RunState
from edgewright.runtimes.options import Options
from edgewright.targets import detect
from edgewright.targets.target import Target


def built(runtime: str, precision: str = "f32", failed_in: str | None = None, **variant: Any) -> Build:
    """What was built of a candidate."""
    options: Any = {"runtime": runtime, "precision": precision}
    failure = Failure(failed_in, "It failed.") if failed_in else None
    return Build(candidate=Candidate(variant=Variant(**variant), options=Options(**options)), failure=failure)


def state(
    builds: list[Build],
    recipe: Recipe | None = None,
    target: Target | None = None,
    effort: Any = "thorough",
    **fields: Any,
) -> RunState:
    """The state of a run in which `builds` were built."""
    job: Any = Job(
        source=None, data=Path(), split=None, calibration=None, target=target or detect.this_machine(),
        recipe=msgspec.structs.replace(recipe or Recipe(), effort=effort), budget=budget.parse("top1 >= -1"),
    )  # type: ignore[arg-type]  # fmt: skip
    nothing: Any = SimpleNamespace(watch=lambda *_: None, path=Path())
    model = SimpleNamespace(task=SimpleNamespace(kind="classify"))
    known: dict[str, Any] = {
        "runner": nothing, "host": nothing, "spec": model, "images": nothing, "models": {"": nothing},
        "measured_here": True, **fields,
    }  # fmt: skip
    return RunState(job=job, builds=list(builds), **known)


def all_proposed(proposer: ModuleType, run: RunState) -> list[Build]:
    """What is built of all that `proposer` proposes, as a run asks it: models that failed are rows."""
    before = len(run.builds)
    propose: Callable[[RunState], list[Candidate]] = proposer.propose
    while candidates := policy.unbuilt(run, propose(run)):
        for candidate in candidates:
            model = run.models.get(candidate.variant.compression)
            failure = model if isinstance(model, Failure) else None
            run.builds.append(Build(candidate=candidate, failure=failure))
    return run.builds[before:]
