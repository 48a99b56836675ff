"""Which artifacts a target and a recipe call for, as data: every one is built and measured, none is assumed."""

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

    `given`: the model is quantized already, as far as that says. Then it is compiled as it is, with what is not
    quantized in each float precision that INT8 layers may stand beside. Raises `InvalidInput` where the recipe asks for
    something that the target does not have, and where nothing is left.
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
            f"Nothing is left to build for target '{target.name}' under this recipe.",
            "Its runtimes, precisions and schemes exclude all that the target has.",
            f"See `edgewright targets show {target.name}` and widen the recipe.",
        )
    return found


def require_as_given(recipe: Recipe, name: str, operators: Mapping[str, int]) -> None:
    """Raise `InvalidInput` where `recipe` asks a model that is quantized already for INT8 methods, or for no INT8."""
    asked = recipe.schemes or recipe.methods or recipe.hardswish or recipe.prune or recipe.distill
    if asked or (recipe.precisions is not None and "int8" not in recipe.precisions):
        error = precision.already(name, dict(operators))
        why = "The recipe asks for what only a float model can become: schemes, methods, pruning, float precisions."
        raise InvalidInput(error.what, why, error.fix)


def is_installed(candidate: Candidate) -> bool:
    """Whether this machine has the runtime that compiles the candidate."""
    needed = candidate.traits.distribution
    return not needed or version(needed) is not None


def builder_for(target: Target, wanted: Builder | None = None) -> Builder:
    """How TensorRT builds for `target`: as `wanted`, and where CPU and GPU share the memory in a limited workspace.

    Unless `wanted` says otherwise a layer's workspace is then at most an eighth of the memory for a model.
    """
    wanted = wanted or Builder()
    left = memory_for_model(target) if target.gpu and target.gpu.shared_memory else None
    if wanted.workspace_bytes or not left:
        return wanted
    return msgspec.structs.replace(wanted, workspace_bytes=left // 8)


def restrict(target: Target, isa: tuple[Isa, ...], recipe: Recipe) -> Target:
    """`target` as if its processor had only the instruction sets `isa`, with the INT8 schemes that suit these.

    Schemes that the recipe names are added: what they lose there is what a user wants to see.
    """
    if target.arch != "x86_64":
        raise UsageError(
            f"--isa was given for {target.title}.", f"Its architecture is {target.arch}.", "It is for x86-64 only."
        )
    wanted = [SCHEMES[name] for name in recipe.schemes or () if name in SCHEMES]
    runtimes = []
    for runtime in detect.runtimes_for(target.arch, isa, target.gpu):
        named: Any = tuple(s.name for s in wanted if s.runtime == runtime.name and s.name not in runtime.schemes)
        runtimes.append(msgspec.structs.replace(runtime, schemes=(*runtime.schemes, *named)))
    return msgspec.structs.replace(target, isa=isa, runtimes=tuple(runtimes))


def saturates(candidate: Candidate, target: Target, machine: Target) -> bool:
    """Whether the candidate may lose on `target`, which has no VNNI, what `machine`, which has, does not show."""
    scheme = SCHEMES[candidate.variant.scheme] if candidate.variant.scheme else None
    apart = "vnni" in machine.isa and "vnni" not in target.isa and target.arch == "x86_64"
    # Of how many bits the weights of a model that was given in INT8 are is not known here.
    wide = candidate.variant.is_int8 or (scheme is not None and scheme.weight_bits == 8)
    return apart and wide and candidate.traits.saturation is not None


def _of_runtime(runtime: TargetRuntime, recipe: Recipe, target: Target, given: Quantized | None) -> list[Candidate]:
    if runtime.name not in registry.names():
        raise InvalidInput(
            f"The target names the runtime '{runtime.name}'.",
            f"This version builds for: {', '.join(registry.shipped())}.",
            "Restrict the recipe's `runtimes` to these.",
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
    # Beside INT8 layers the rest runs in the fastest float precision that the target has; with bf16 both are tried.
    beside = precisions or every
    if traits.beside_int8 in beside:
        beside = [traits.beside_int8]
    if given:
        return [Candidate(variant=Variant(is_int8=not given.few, **first), options=options[p]) for p in beside]
    quantized = [
        Candidate(
            variant=Variant(scheme=scheme, method=method, **first),
            options=options[p],
        )
        for scheme in schemes
        for method in _methods(scheme, recipe)
        for p in beside
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
                f"The recipe asks for the {what} '{name}'.",
                f"For target '{target.name}' there are: {', '.join(names) or 'none'}.",
                "Correct the recipe or choose another target.",
            )
