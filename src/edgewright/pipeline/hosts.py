"""Where artifacts are measured, as data and functions: this machine, or a device on the network.

The stages, the statistics and the report are the same for both; what differs is who answers images, who observes
latencies, and whose machine the report is about.
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
"""Completes the artifact in a folder on the device and puts the complete one into another folder."""


@dataclass(frozen=True, kw_only=True)
class Host:
    """A machine that measures. `name`: how a user calls it; the functions are None where this machine does the work.

    `identity` stands for what decides figures there, in the keys of results; `unit` for this very device, whose own a
    plan is.
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
        """Whether it is this machine."""
        return self.answer is None

    def execute(self, stage: Stage, context: Context) -> None:
        """Do a stage that measures: here in children of its own, or by what does it on the device."""
        does = {"answer": self.answer, "observe": self.observe, "finish": self.finish}[stage.by]
        in_own_children(stage, context, **({stage.by: does} if does else {}))

    def finishes(self, options: Options) -> bool:
        """Whether an artifact with these options is to be completed there before it is measured."""
        return self.finish is not None and hasattr(registry.module(options.runtime), "finish")


def here() -> Host:
    """This machine."""
    machine = environment.describe()
    return Host(name="this machine", machine=detect.this_machine(), environment=machine, identity=fingerprint(machine))


@contextlib.contextmanager
def at(device: Device | None, recipe: Recipe, watch: Watch) -> Iterator[Host]:
    """The device, ready to measure within the recipe's limits, or this machine where it is None.

    After a run that ended well the device's jobs are forgotten: the same command measures anew. After one that did not
    they stay, and the same command goes on from there.
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
            watch("connect", name, 1, 1, f"left its jobs there; asked again, it will not measure anew: {error.what}")


def there(connected: Remote, name: str, recipe: Recipe) -> Host:
    """A device as a host: files are pushed, jobs run, what they wrote is pulled."""
    with tempfile.TemporaryDirectory(prefix="edgewright-") as scratch:
        found = connected.run(JobRequest(target=f"{DEVICE}:about"), Path(scratch), fresh=True, most_bytes=0)
    about = answered.about(found, name)
    described, machine, runtimes = about.environment, about.machine, about.runtimes
    if machine.name == THIS_MACHINE:  # in a report that is written here it would be another one
        machine = msgspec.structs.replace(machine, name="device")
    memory = recipe.memory_bytes or (int(0.9 * described.memory_bytes) if described.memory_bytes else None)
    limits = Limits(wall_s=recipe.stage_timeout_s, memory_bytes=memory)

    def require(artifact: Path) -> artifacts.Artifact:
        """The artifact; raises `Unavailable` before anything is sent where the device lacks its runtime."""
        read = artifacts.read(artifact)
        runtime = read.options.runtime
        if (probe := runtimes.get(runtime)) and not probe.available:
            raise Unavailable(
                f"On {name}: {runtime} cannot be used.", probe.why,
                f"Install it there for the device's own Python, which --python names (now {connected.interpreter}).",
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
        # Its children have the limits; it waits for each in turn.
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
    """The target of a run at `host`: what the host says that it is, or the one that is named.

    Raises `InvalidInput` where a device is not the target that is named for it.
    """
    target = host.machine if name is None else name if isinstance(name, Target) else catalogue.load(name)
    if not host.is_here and not matches(target, host.machine):
        raise InvalidInput(
            f"{host.name} is not the target '{target.name}': {_facts(host.machine)}.",
            f"The target is {_facts(target)}. Figures measured there would not hold for it.",
            "Leave --target away to take the device as what it is, or name the device that is the target.",
        )
    return target


def _versions(runtimes: Mapping[str, Probe]) -> str:
    """Versions and devices of the runtimes, as they say themselves: TensorRT's need not be a Python distribution."""
    return ", ".join(f"{name} {probe.version} {probe.device}" for name, probe in sorted(runtimes.items()))


def fingerprint(machine: Environment) -> str:
    """What decides figures: CPU, instruction sets, cores, Python, GPUs; a Jetson's board, release, mode."""
    device = [part for part in (machine.board, machine.release, machine.power_mode) if part]
    device += [f"{gpu.name}, driver {gpu.driver}" for gpu in machine.gpus]
    every = [machine.cpu, " ".join(machine.isa), f"{machine.cores} cores", f"Python {machine.python}", *device]
    return "; ".join(every)


def _facts(target: Target) -> str:
    return f"{target.title} ({target.arch}, {', '.join(target.isa) or 'instruction sets not known'})"
