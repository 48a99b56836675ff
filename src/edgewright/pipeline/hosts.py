"""Hosts: the machine that evaluates and measures artifacts, this one or a device on the network.

Stages, statistics and the report are the same for both. A host replaces three functions: answer images, observe
latencies, finish an artifact.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgewright.bench import answered, environment
from edgewright.bench.accuracy import Answer
from edgewright.bench.latency import Observe, Observed, Rules
from edgewright.bench.results import Environment
from edgewright.core.child import Limits, Progress
from edgewright.core.errors import EdgewrightError, InvalidInput, Unavailable
from edgewright.pipeline.recipe import Recipe
from edgewright.pipeline.stages.runner import Context, Stage, Watch, in_own_children
from edgewright.runtimes import artifact as artifacts
from edgewright.runtimes import registry
from edgewright.runtimes.options import Options, Probe
from edgewright.targets import catalogue, detect, remote
from edgewright.targets.job import JobRequest
from edgewright.targets.remote import Device, Remote
from edgewright.targets.target import THIS_MACHINE, Target, matches

FINISH, DEVICE = "edgewright.runtimes.bundle:finish", "edgewright.bench.device"

Finish = Callable[[Path, Path, Progress | None], None]
"""Completes the artifact in the first folder on the device, and writes the result to the second folder."""


@dataclass(frozen=True, kw_only=True)
class Host:
    """A machine that measures. `name`: what messages call it. The functions are None for this machine.

    `identity`: everything that influences measurements there; it is part of the keys of results. `unit`: identifies
    the single device, since a TensorRT plan belongs to the device that built it.
    """

    name: str
    machine: Target
    environment: Environment
    identity: str
    unit: str = ""
    runtimes: Mapping[str, Probe] | None = None
    answer: Answer | None = None
    observe: Observe | None = None
    finish: Finish | None = None

    @property
    def is_here(self) -> bool:
        """Whether the host is this machine."""
        return self.answer is None

    def execute(self, stage: Stage, context: Context) -> None:
        """Run a stage that measures: in children of this machine, or by the host's own function on the device."""
        does = {"answer": self.answer, "observe": self.observe, "finish": self.finish}[stage.by]
        in_own_children(stage, context, **({stage.by: does} if does else {}))

    def finishes(self, options: Options) -> bool:
        """Whether an artifact with these options is completed on the device before it is measured."""
        return self.finish is not None and hasattr(registry.module(options.runtime), "finish")


def here() -> Host:
    """This machine as a host."""
    machine = environment.describe()
    return Host(name="this machine", machine=detect.this_machine(), environment=machine, identity=fingerprint(machine))


@contextlib.contextmanager
def at(device: Device | None, recipe: Recipe, watch: Watch) -> Iterator[Host]:
    """Yield the connected device as a host, or this machine if `device` is None.

    After a run without errors the device deletes its jobs, so that the same command measures again. After an error it
    keeps them, and the same command continues.
    """
    if device is None:
        yield here()
        return
    name = device.address

    def step(done: int, total: int, text: str) -> None:
        watch("connect", name, done, total + 1, text)

    step(0, 0, "")
    with remote.connect(device, step) as connected:
        host = there(connected, name, recipe)
        watch("connect", name, 1, 1, host.machine.title)
        yield host
        try:
            connected.forget()
        except EdgewrightError as error:
            watch("connect", name, 1, 1, f"its jobs remain there, so the next run does not measure again: {error.what}")


def there(connected: Remote, name: str, recipe: Recipe) -> Host:
    """A device as a host: it pushes files, runs jobs there and pulls the results."""
    with tempfile.TemporaryDirectory(prefix="edgewright-") as scratch:
        found = connected.run(JobRequest(target=f"{DEVICE}:about"), Path(scratch), fresh=True, most_bytes=0)
    about = answered.about(found, name)
    described, machine, runtimes = about.environment, about.machine, about.runtimes
    if machine.name == THIS_MACHINE:  # the report is written here, where this name means another machine
        machine = msgspec.structs.replace(machine, name="device")
    memory = recipe.memory_bytes or (int(0.9 * described.memory_bytes) if described.memory_bytes else None)
    limits = Limits(wall_s=recipe.stage_timeout_s, memory_bytes=memory)

    def require(artifact: Path) -> artifacts.Artifact:
        """The artifact. Raises `Unavailable`, before it sends anything, if the device lacks its runtime."""
        read = artifacts.read(artifact)
        runtime = read.options.runtime
        if (probe := runtimes.get(runtime)) and not probe.available:
            raise Unavailable(
                f"{runtime} does not work on {name}.", probe.why,
                f"Install it for the device's Python, which --python names (now {connected.interpreter}).",
            )  # fmt: skip
        return read

    def answer(artifact: Path, images: Sequence[str], folder: Path, progress: Progress | None) -> dict[str, Any]:
        spec = require(artifact).spec
        (path,) = connected.push_folders([artifact], progress)
        kwargs = {"artifact": path, "images": connected.push_files(images, progress)}
        most = answered.answer_bytes(spec, len(images))
        asked = JobRequest(target=f"{DEVICE}:answer", kwargs=kwargs, limits=limits)
        found = connected.run(asked, folder, progress=progress, most_bytes=most)
        return answered.answer(found, folder, spec, len(images), name)

    def observe(
        artifacts: Mapping[str, Path], images: Sequence[str], folder: Path, rules: Rules, target: Target | None,
        progress: Progress | None,
    ) -> list[Observed]:  # fmt: skip
        paths = connected.push_folders(list(artifacts.values()), progress)
        kwargs = {
            "artifacts": dict(zip(artifacts, paths)), "images": connected.push_files(images, progress),
            "setup": msgspec.to_builtins({"rules": rules, "limits": limits, "target": target}),
        }  # fmt: skip
        # The job's children have these limits; the job waits for one after the other.
        whole = Limits(wall_s=limits.wall_s * (len(artifacts) + 1))
        most = answered.observed_bytes(rules, len(artifacts))
        asked = JobRequest(target=f"{DEVICE}:observe", kwargs=kwargs, limits=whole)
        connected.run(asked, folder, progress=progress, most_bytes=most)
        return answered.observed(folder, list(artifacts), name)

    def finish(artifact: Path, folder: Path, progress: Progress | None) -> None:
        sent = require(artifact)
        (path,) = connected.push_folders([artifact], progress)
        asked = JobRequest(target=FINISH, kwargs={"folder": path}, limits=limits, into="out")
        connected.run(asked, folder, progress=progress)
        answered.finished(folder, sent, name)

    return Host(
        name=name, machine=machine, environment=described,
        identity=f"{fingerprint(described)}; {sorted(described.libraries.items())}; {_versions(runtimes)}",
        unit=about.unit, runtimes=runtimes,
        answer=answer, observe=observe, finish=finish,
    )  # fmt: skip


def target_for(host: Host, name: str | Target | None) -> Target:
    """The target of a run: the one that `name` names, else the host's own.

    Raises `InvalidInput` if the host is a device and does not match the named target.
    """
    target = host.machine if name is None else name if isinstance(name, Target) else catalogue.load(name)
    if not host.is_here and not matches(target, host.machine):
        raise InvalidInput(
            f"{host.name} is not the target '{target.name}': {_facts(host.machine)}.",
            f"The target is {_facts(target)}. Measurements of another device do not apply to it.",
            "Leave out --target to measure the device as it is, or give the address of the right device.",
        )
    return target


def _versions(runtimes: Mapping[str, Probe]) -> str:
    """Versions and devices of the runtimes, as the runtimes report them: TensorRT may come without a Python
    distribution."""
    return ", ".join(f"{name} {probe.version} {probe.device}" for name, probe in sorted(runtimes.items()))


def fingerprint(machine: Environment) -> str:
    """Everything that influences measurements: CPU, instruction sets, cores, Python, GPUs, a Jetson's power mode."""
    device = [part for part in (machine.board, machine.release, machine.power_mode) if part]
    device += [f"{gpu.name}, driver {gpu.driver}" for gpu in machine.gpus]
    every = [machine.cpu, " ".join(machine.isa), f"{machine.cores} cores", f"Python {machine.python}", *device]
    return "; ".join(every)


def _facts(target: Target) -> str:
    return f"{target.title} ({target.arch}, {', '.join(target.isa) or 'instruction sets unknown'})"
