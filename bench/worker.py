"""The serving child process. It opens the artifact as a device does, and the parent calls its functions.

`edgewright.core.child.Child.call` runs these functions by name. The open session stays in the process between calls.
Timings are returned as bytes of float64 seconds. This module does not import torch. The session imports only the
runtime of the artifact.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgewright import tasks
from edgewright.core.child import Progress
from edgewright.core.errors import RuntimeFailed

LEAD_CALLS, LEAD_NS, MOST_NS = 2, 20_000_000, 250_000_000
AT_ONCE = 8
"""Batch size for accuracy if the model has a dynamic batch."""

_open: dict[str, Any] = {}
"""The session of this process, and the images in memory."""


def read_images(images: Sequence[str]) -> None:
    """Decode `images` (files) and keep them, before an artifact is opened. Other processes may run meanwhile."""
    from edgewright.vision.feeds import held

    _open["pixels"] = [held(image) for image in images]


def open_artifact(path: str, images: Sequence[str] = ()) -> dict[str, Any]:
    """Open the artifact or bundle at `path` and answer once. Keep the session and the decoded `images` (files).

    Without `images`, use those of `read_images`.

    Returns the process id, `image` (the image sizes as text) and `cold_start_ms`. The cold start begins before the
    import of the session module and its runtime, and ends with the first answer. It excludes the start of the
    interpreter and the decoding of the image.
    """
    if images:
        read_images(images)
    pixels = _open["pixels"]
    start = time.perf_counter_ns()
    from edgewright.runtimes import registry
    from edgewright.runtimes.session import open_measured

    session = open_measured(path)
    session(pixels[0])
    cold_start_ms = (time.perf_counter_ns() - start) / 1e6
    _open.update(session=session, watch=None)
    sizes = sorted({"arrays" if isinstance(one, dict) else f"{one.shape[1]}x{one.shape[0]}" for one in pixels})
    return {
        "pid": os.getpid(),
        "on_device": registry.traits(session.options.runtime).on_device,
        "cold_start_ms": cold_start_ms,
        "image": sizes[0] if len(sizes) == 1 else f"{len(pixels)} images, {sizes[0]} to {sizes[-1]}",
    }


def latency_slice(seconds: float, min_count: int = 1, lead_s: float = 0.0) -> bytes:
    """Measure single-stream calls without pause.

    This takes `seconds`, or longer for `min_count` calls, up to a quarter of a second.

    Returns float64 seconds as bytes, three per call: before the runtime's call, that call, and after it. Their sum is
    the time from the image in memory to the answer, as for an application that calls a session. The first calls, for
    `lead_s` seconds (at least two if they are not slow), do not count, because another process used the caches and
    cores before.
    """
    session, pixels = _open["session"], _open["pixels"]
    watch: _Watch = _open["watch"] or _Watch(session)
    _open["watch"] = watch
    clock = time.perf_counter_ns
    times: list[tuple[int, int, int, int]] = []
    begin = now = clock()
    lead = 0
    while now - begin < lead_s * 1e9 or (lead < LEAD_CALLS and now - begin < LEAD_NS):
        session(pixels[lead % len(pixels)])
        lead, now = lead + 1, clock()
    end = now + int(seconds * 1e9)
    turn = lead
    while now < end or (len(times) < min_count and now - begin < MOST_NS) or not times:
        image = pixels[turn % len(pixels)]
        turn += 1
        start = clock()
        _answer(session, image)
        now = clock()
        times.append((start, watch.begin, watch.end, now))
    return (np.diff(np.array(times, np.int64)) / 1e9).tobytes()


def _answer(session: Any, image: np.ndarray) -> None:
    """Answer one image. Large answers are computed when they are first read: that is part of the time."""
    finish = getattr(session(image), "finish", None)
    if finish is not None:
        finish()


class _Watch:
    """Replaces a session's `run` and records the start and end of its last call (ns). This costs 0.2 µs."""

    def __init__(self, session: Any) -> None:
        self._run, self.begin, self.end = session.run, 0, 0
        session.run = self

    def __call__(self, *x: np.ndarray) -> list[np.ndarray]:
        self.begin = time.perf_counter_ns()
        outputs: list[np.ndarray] = self._run(*x)
        self.end = time.perf_counter_ns()
        return outputs


def camera_slice(rate_hz: float, frames: int) -> bytes:
    """Measure `frames` images that come at fixed times, `rate_hz` per second. Returns float64 seconds as bytes.

    Each time counts from the arrival of the frame to its answer. Between frames the process sleeps, like one that waits
    for a camera. The times include the cost of waking up and of clocks that decreased in between. If more frames arrive
    before an answer is ready, the newest is used and the others are NaN. A few frames before the first do not count.
    """
    session, pixels = _open["session"], _open["pixels"]
    clock = time.perf_counter_ns
    period = 1e9 / rate_hz
    times = np.full(frames, np.nan)
    begin, number = clock() + period, -LEAD_CALLS
    while number < frames:
        arrival = begin + (number + LEAD_CALLS) * period
        if (early := arrival - clock()) > 0:
            time.sleep(early / 1e9)
        _answer(session, pixels[number % len(pixels)])
        now = clock()
        if number >= 0:
            times[number] = now - arrival
        newest = int((now - begin) // period) - LEAD_CALLS
        number = max(number + 1, newest)
    return (times / 1e9).tobytes()


def describe() -> dict[str, Any]:
    """Return what the open session runs: see `Session.describe`."""
    described: dict[str, Any] = _open["session"].describe()
    return described


def memory() -> int:
    """Return the peak resident memory of this process in bytes (VmHWM): interpreter, runtime, weights and images."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeFailed("The kernel does not report this process's peak memory.", "/proc/self/status has no VmHWM.")


def predict(images: Sequence[str], out: str, progress: Progress | None = None) -> dict[str, Any]:
    """Answer all `images` (files) as the session does. Write the rows for the accuracy to `out` (.npy).

    The task defines the rows: for a classifier the scores (images, classes), for a detector all boxes that its spec
    counts for accuracy (boxes, 7). Raises `RuntimeFailed` if an answer is not finite.
    """
    session, raw = _open["session"], Path(f"{out}.rows")
    spec, decode = session.spec, tasks.of(session.spec).decode
    dtype = np.dtype(decode.DTYPE)
    step, width, done = spec.batch or min(AT_ONCE, session.most), 0, 0
    step = 1 if spec.is_tiled else step  # the session answers photo by photo
    try:
        with raw.open("wb") as file:  # the number of rows is unknown, and all of them together may be large
            for start in range(0, len(images), step):
                part = list(images[start : start + step])
                for outputs, sizes in session.outputs(part):
                    found = np.ascontiguousarray(decode.rows(outputs, spec, sizes, part, start), dtype)
                    file.write(found.tobytes())
                    width, done = found.shape[1], done + len(found)
                if progress:
                    progress(start + len(part), len(images), "images")
        kept = np.lib.format.open_memmap(out, mode="w+", dtype=dtype, shape=(done, width))
        if done:
            kept[:] = np.memmap(raw, dtype, "r", shape=(done, width))
        kept.flush()
    finally:
        raw.unlink(missing_ok=True)
    return {"images": len(images), "rows": done}
