"""Check the answers of a device to `bench.device` before they are used.

`edgewright.targets.remote` limits the number of bytes. This module checks that the content is what was asked for.
Otherwise it raises an `IntegrityError` that names the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
import numpy as np

from edgewright import tasks
from edgewright.core.spec import ModelSpec
from edgewright.runtimes import artifact
from edgewright.runtimes.artifact import Artifact
from edgewright.runtimes.options import Probe
from edgewright.targets import answers
from edgewright.targets.answers import Answer, Count, Text, breach
from edgewright.targets.target import Target

from .accuracy import OUTPUTS
from .device import DESCRIBED, OBSERVED
from .latency import STEPS, Observed, Rules, Watched
from .results import Environment

LOG_BYTES = 16 << 20
"""Limit of a child's log, in bytes, in addition to its samples."""
SAMPLE_BYTES_PER_S = 8_000_000
"""Bytes of samples per second: samples are float64, and no call takes less than 1 µs."""
LONGEST_S = 1e6
"""Upper limit of a latency: eleven days."""
MOST = 1 << 53
T = TypeVar("T")


class About(Answer, frozen=True, kw_only=True):
    """The result of `bench.device.about`."""

    unit: Annotated[str, msgspec.Meta(max_length=200)]
    environment: Environment
    machine: Target
    runtimes: Annotated[dict[Text, Probe], msgspec.Meta(max_length=32)]


class Answered(Answer, frozen=True, kw_only=True):
    """The result of `bench.device.answer`: the number of images and of output rows."""

    images: Count
    rows: Count


class Described(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of ``described.json`` that edgewright uses. A runtime can add others."""

    precision: Text
    device: Text
    threads: Count = 0
    census: dict[Text, Count] = {}
    layers: dict[Text, Count] = {}
    reorders: Count = 0
    unfused: Text = ""


def about(value: Any, device: object) -> About:
    """Check the device's description of itself."""
    found = _convert(value, About, device, "a description of itself")
    machine = found.environment
    for name in ("cores", "physical_cores", "memory_bytes"):
        number = getattr(machine, name)
        _require(number is None or 0 < number < MOST, device, f"{name} {number}", "a count above zero")
    return found


def answer_bytes(spec: ModelSpec, images: int) -> int:
    """Upper limit of the bytes that `bench.device.answer` sends: the outputs for all images, and a margin for logs."""
    return images * tasks.of(spec).decode.row_bytes(spec) + 2 * answers.VALUE_BYTES


def answer(value: Any, folder: Path, spec: ModelSpec, images: int, device: object) -> dict[str, Any]:
    """Check the result of `bench.device.answer`, and ``outputs.npy`` and ``described.json`` in `folder`.

    `images`: the number of images that were sent. Returns the result as plain data.
    """
    found = _convert(value, Answered, device, "a description of its answers")
    _require(found.images == images, device, f"answers to {found.images} images", f"{images}")
    decode = tasks.of(spec).decode
    rows = _array(folder, OUTPUTS, np.dtype(decode.DTYPE), device)
    _require(rows.shape[:1] == (found.rows,), device, f"answers of shape {rows.shape}", f"{found.rows} rows")
    if wrong := decode.check_rows(rows, spec, images):
        raise breach(device, *wrong)
    text = _small(folder, DESCRIBED, answers.VALUE_BYTES, device)
    answers.value(msgspec.Raw(text), device)
    answers.decode(text, Described, device, "a description of what ran")
    plain: dict[str, Any] = msgspec.to_builtins(found)
    return plain


def finished(folder: Path, sent: Artifact, device: object) -> None:
    """Check that `folder` contains the artifact `sent`, completed by the device."""
    text = _small(folder, artifact.FILE, answers.VALUE_BYTES, device)
    answers.value(msgspec.Raw(text), device)
    found = answers.decode(text, Artifact, device, artifact.FILE)
    same = (found.spec, found.options) == (sent.spec, sent.options)
    _require(same, device, "an artifact of another model or with other options", "the one that was sent, completed")
    if found.described:
        _convert(found.described, Described, device, "a description of what ran")


def observed_bytes(rules: Rules, artifacts: int) -> int:
    """Upper limit of the bytes that `bench.device.observe` sends."""
    seconds = max(rules.max_duration_s, rules.min_duration_s) + 2  # the last round can take longer
    frames = 8 * (rules.camera_frames + 8) if rules.rate_hz else 0
    return artifacts * (int(seconds * SAMPLE_BYTES_PER_S) + frames + LOG_BYTES)


def observed(folder: Path, artifacts: Sequence[str], device: object) -> list[Observed]:
    """Read ``observed.json`` in `folder` for the artifacts with these ids, and check their samples."""
    text = _small(folder, OBSERVED, answers.VALUE_BYTES * (1 + len(artifacts)), device)
    found = answers.decode(text, list[Observed], device, "latencies")
    ids = [seen.id for seen in found]
    _require(ids == list(artifacts), device, f"latencies of {', '.join(ids)[:200]}", f"of {', '.join(artifacts)}")
    for seen in found:
        _check(seen, folder, device)
    return found


def _check(seen: Observed, folder: Path, device: object) -> None:
    answers.require_plain(msgspec.to_builtins(seen), device)
    if seen.whole is None:
        failed = seen.stage in ("load", "latency", "camera") and bool(seen.reason)
        _require(failed, device, f"neither latencies of {seen.id} nor a reason", "one of the two")
        return
    samples = _samples(seen.whole, folder, device)
    sound = bool((np.isfinite(samples) & (samples > 0) & (samples < LONGEST_S)).all())
    _require(sound, device, f"latencies of {seen.id} that are not valid times", f"above zero, below {LONGEST_S:g} s")
    _require(
        bool(seen.cold_starts_ms) and all(0 <= start < LONGEST_S * 1e3 for start in seen.cold_starts_ms)
        and seen.parts_s.keys() <= set(STEPS) and all(0 <= part < LONGEST_S for part in seen.parts_s.values())
        and seen.warm_up >= 0 and 0 <= (seen.peak_memory_bytes or 0) < MOST,
        device, f"impossible values for {seen.id}",
        f"cold starts, parts ({', '.join(STEPS)}) and memory, all zero or above",
    )  # fmt: skip
    if seen.camera is not None:
        frames = _samples(seen.camera, folder, device)
        answered = frames[~np.isnan(frames)]
        sound = len(answered) > 0 and bool((np.abs(answered) < LONGEST_S).all())
        _require(
            sound,
            device,
            f"frame times of {seen.id} that are not valid",
            f"at least one time, all below {LONGEST_S:g} s",
        )


def _samples(watched: Watched, folder: Path, device: object) -> np.ndarray:
    name = watched.samples
    plain = name == Path(name).name and name.endswith(".npy")
    _require(plain, device, f"samples in a file named '{name[:200]}'", "the name of a .npy file in the same folder")
    samples = _array(folder, name, np.dtype(np.float64), device)
    rounds = watched.rounds
    fits = samples.ndim == 1 and bool(rounds) and min(rounds) > 0 and sum(rounds) == len(samples)
    launches = watched.launches
    fits = fits and (not launches or (min(launches) > 0 and sum(launches) == len(rounds)))
    _require(
        fits, device, f"{samples.shape} samples for {len(rounds)} rounds", "one array with the samples of all rounds"
    )
    _require(0 <= (watched.watts or 0) < MOST, device, f"{watched.watts} W", "zero or above")
    return samples


def _array(folder: Path, name: str, kind: np.dtype[Any], device: object) -> np.ndarray:
    """Open an array from a device, memory-mapped. The header is checked, because it can be malformed."""
    try:
        found = np.load(folder / name, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy parses the header as Python, so a malformed one raises any kind of error
        raise breach(device, f"{name}, which cannot be read: {str(error)[:200]}", "an array that NumPy saved") from None
    if not isinstance(found, np.ndarray):
        found.close()
        raise breach(device, f"{name}, which is an archive", "an array that NumPy saved")
    _require(found.dtype == kind, device, f"{name} of {str(found.dtype)[:200]}", f"{kind}")
    return found


def _small(folder: Path, name: str, most: int, device: object) -> bytes:
    path = folder / name
    size = path.stat().st_size if path.is_file() else 0
    _require(0 < size <= most, device, f"{name} of {size} bytes", f"1 to {most} bytes")
    return path.read_bytes()


def _convert(value: Any, kind: type[T], device: object, what: str) -> T:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise breach(device, f"{what} that cannot be read: {str(error)[:200]}", f"a {kind.__name__}") from None


def _require(condition: bool, device: object, what: str, allowed: str) -> None:
    if not condition:
        raise breach(device, what, allowed)
