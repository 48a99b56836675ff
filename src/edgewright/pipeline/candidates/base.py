"""The base candidates: every combination of runtime, precision, scheme and method that target and recipe allow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from edgewright.core.errors import InvalidInput, UsageError
from edgewright.core.lazy import version
from edgewright.graph import precision
from edgewright.graph.precision import Quantized
from edgewright.pipeline.candidate import Candidate, Variant
from edgewright.pipeline.recipe import Recipe
from edgewright.pipeline.state import RunState
from edgewright.quantize import methods
from edgewright.quantize.methods import METHODS, OTHERS
from edgewright.quantize.schemes import SCHEMES
from edgewright.runtimes import registry
from edgewright.runtimes.options import Builder, Options
from edgewright.targets import detect
from edgewright.targets.target import Isa, Target, TargetRuntime, memory_for_model


def propose(state: RunState) -> list[Candidate]:
    """Every runtime x precision x scheme x method that target and recipe have in common."""
    return enumerate_candidates(state.job.target, state.job.recipe, state.given)


def enumerate_candidates(target: Target, recipe: Recipe, given: Quantized | None = None) -> list[Candidate]:
    """The base candidates: every runtime x precision x scheme x method that target and recipe have in common.

    `given`: the quantized layers of a source that is already in INT8. Such a source is compiled without changes; its
    other layers run in each float precision that the runtime combines with INT8. Raises `InvalidInput` if the recipe
    names something that the target does not have, and if no candidate remains.
    """
    _require_known(recipe.runtimes, [r.name for r in target.runtimes], "runtime", target)
    _require_known(recipe.schemes, [s for r in target.runtimes for s in r.schemes], "scheme", target)
    _require_known(recipe.methods, METHODS | OTHERS, "method", target)
    found = [
        candidate
        for runtime in target.runtimes
        if recipe.runtimes is None or runtime.name in recipe.runtimes
        for candidate in _of_runtime(runtime, recipe, target, given)
    ]
    if not found:
        raise InvalidInput(
            f"The recipe leaves nothing to build for target '{target.name}'.",
            "Its runtimes, precisions and schemes exclude all that the target has.",
            f"See `edgewright targets show {target.name}` and add some of them to the recipe.",
        )
    return found


def require_as_given(recipe: Recipe, name: str, operators: Mapping[str, int]) -> None:
    """Raise `InvalidInput` if `recipe` needs a float model, and the model is already quantized."""
    asked = recipe.schemes or recipe.methods or recipe.hardswish or recipe.prune or recipe.distill
    if asked or (recipe.precisions is not None and "int8" not in recipe.precisions):
        error = precision.already(name, dict(operators))
        why = "The recipe needs a float model, for its schemes, methods, pruning or float precisions."
        raise InvalidInput(error.what, why, error.fix)


def is_installed(candidate: Candidate) -> bool:
    """Whether this machine has the runtime that compiles the candidate."""
    needed = candidate.traits.distribution
    return not needed or version(needed) is not None


def builder_for(target: Target, wanted: Builder | None = None) -> Builder:
    """TensorRT's build settings for `target`: `wanted`, with a workspace limit if CPU and GPU share their memory.

    Unless `wanted` sets it, the workspace of a layer is then at most an eighth of the memory for a model.
    """
    wanted = wanted or Builder()
    left = memory_for_model(target) if target.gpu and target.gpu.shared_memory else None
    if wanted.workspace_bytes or not left:
        return wanted
    return msgspec.structs.replace(wanted, workspace_bytes=left // 8)


def restrict(target: Target, isa: tuple[Isa, ...], recipe: Recipe) -> Target:
    """`target` with only the instruction sets `isa`, and with the INT8 schemes that suit them.

    Schemes that the recipe names are added, so that users can see what they lose there.
    """
    if target.arch != "x86_64":
        raise UsageError(
            f"--isa does not apply to {target.title}.",
            f"Its architecture is {target.arch}; --isa is for x86-64.",
            "Leave out --isa, or name an x86-64 target.",
        )
    wanted = [SCHEMES[name] for name in recipe.schemes or () if name in SCHEMES]
    runtimes = []
    for runtime in detect.runtimes_for(target.arch, isa, target.gpu):
        named: Any = tuple(s.name for s in wanted if s.runtime == runtime.name and s.name not in runtime.schemes)
        runtimes.append(msgspec.structs.replace(runtime, schemes=(*runtime.schemes, *named)))
    return msgspec.structs.replace(target, isa=isa, runtimes=tuple(runtimes))


def saturates(candidate: Candidate, target: Target, machine: Target) -> bool:
    """Whether the candidate may saturate on `target`, which lacks VNNI, but not on `machine`, which has it."""
    scheme = SCHEMES[candidate.variant.scheme] if candidate.variant.scheme else None
    apart = "vnni" in machine.isa and "vnni" not in target.isa and target.arch == "x86_64"
    # For an INT8 source the number of bits of its weights is unknown here.
    wide = candidate.variant.is_int8 or (scheme is not None and scheme.weight_bits == 8)
    return apart and wide and candidate.traits.saturation is not None


def _of_runtime(runtime: TargetRuntime, recipe: Recipe, target: Target, given: Quantized | None) -> list[Candidate]:
    if runtime.name not in registry.names():
        raise InvalidInput(
            f"The target names the runtime '{runtime.name}'.",
            f"This version builds for: {', '.join(registry.shipped())}.",
            "Limit `runtimes` in the recipe to these.",
        )
    every = list(runtime.precisions)
    precisions = [p for p in every if recipe.precisions is None or p in recipe.precisions]
    schemes = [s for s in runtime.schemes if recipe.schemes is None or s in recipe.schemes]
    if recipe.precisions is not None and "int8" not in recipe.precisions:
        schemes = []
    first: dict[str, Any] = {"normalize": recipe.normalize[0]}
    traits = registry.traits(runtime.name)
    common: dict[str, Any] = {"runtime": runtime.name}
    if traits.threads:
        common["threads"] = recipe.threads[0]
    if traits.builder:
        common["builder"] = builder_for(target, recipe.builder)
    options = {p: Options(precision=p, **common) for p in every}
    plain = [Candidate(variant=Variant(**first), options=options[p]) for p in precisions]
    # Layers outside INT8 run in the fastest float precision of the target; if that is bf16, float32 is tried, too.
    allowed = precisions or every
    if traits.beside_int8 in allowed:
        allowed = [traits.beside_int8]
    if given:
        return [Candidate(variant=Variant(is_int8=not given.few, **first), options=options[p]) for p in allowed]
    quantized = [
        Candidate(
            variant=Variant(scheme=scheme, method=method, **first),
            options=options[p],
        )
        for scheme in schemes
        for method in _methods(scheme, recipe)
        for p in allowed
    ]
    return plain + quantized


def _methods(scheme: str, recipe: Recipe) -> list[str]:
    wanted = METHODS if recipe.methods is None else recipe.methods
    return [name for name in wanted if methods.get(name).fits(scheme)]


def _require_known(asked: Iterable[str] | None, allowed: Iterable[str], what: str, target: Target) -> None:
    names = sorted(set(allowed))
    for name in asked or ():
        if name not in names:
            raise InvalidInput(
                f"The recipe names the {what} '{name}'.",
                f"Target '{target.name}' has: {', '.join(names) or 'none'}.",
                "Correct the recipe, or choose another target.",
            )
