"""What runs in the serving child process: the artifact, opened as a device opens it, asked by the parent.

`edgewright.core.child.Child.call` runs these functions by name. The open session stays in the process between calls;
timings go back as bytes of float64 seconds. Nothing here imports torch: the session imports the one runtime it needs.
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
"""Images that are answered at once for accuracy where the model leaves the batch open."""

_open: dict[str, Any] = {}
"""The session, and the images in memory, of this process."""


def read_images(images: Sequence[str]) -> None:
    """Decode `images` (files) and keep them, before an artifact is opened: others may be at it at the same time."""
    from edgewright.vision.image import open_image

    _open["pixels"] = [np.asarray(open_image(image)) for image in images]


def open_artifact(path: str, images: Sequence[str] = ()) -> dict[str, Any]:
    """Open the artifact or bundle at `path` and answer once; keep the session and the decoded `images` (files).

    Without `images` those that `read_images` read.

    Returns the process id, `image` (the images' sizes in words) and `cold_start_ms`: from before the session module and
    its runtime are imported to the first answer, without the interpreter's own start and the decoding of the image.
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
    sizes = sorted({f"{array.shape[1]}x{array.shape[0]}" for array in pixels})
    return {
        "pid": os.getpid(),
        "on_device": registry.traits(session.options.runtime).on_device,
        "cold_start_ms": cold_start_ms,
        "image": sizes[0] if len(sizes) == 1 else f"{len(pixels)} images, {sizes[0]} to {sizes[-1]}",
    }


def latency_slice(seconds: float, min_count: int = 1, lead_s: float = 0.0) -> bytes:
    """Back-to-back single-stream timings for `seconds`, at least `min_count` if they fit into a quarter of a second.

    Float64 seconds as bytes, three a call: what comes before the call of the runtime, that call, and what comes after;
    together they are the time from the image in memory to the answer, as an application calls a session. The first
    calls, for `lead_s`, two at least if they are not slow, are not counted: another process had the caches and the
    cores until now.
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
        session(image)
        now = clock()
        times.append((start, watch.begin, watch.end, now))
    return (np.diff(np.array(times, np.int64)) / 1e9).tobytes()


class _Watch:
    """Stands in for a session's `run` and notes when it was called last and when it returned (ns); costs 0.2 us."""

    def __init__(self, session: Any) -> None:
        self._run, self.begin, self.end = session.run, 0, 0
        session.run = self

    def __call__(self, x: np.ndarray) -> list[np.ndarray]:
        self.begin = time.perf_counter_ns()
        outputs: list[np.ndarray] = self._run(x)
        self.end = time.perf_counter_ns()
        return outputs


def camera_slice(rate_hz: float, frames: int) -> bytes:
    """Timings of `frames` images that come at fixed times, `rate_hz` a second: float64 seconds as bytes.

    Each counts from the frame's arrival to its answer. Between frames the process sleeps, as one does that waits for a
    camera: what waking up costs, and clocks that fell meanwhile, are in it. Where the next frames came before an answer
    was ready, the newest is taken and those it overwrote are NaN. A few frames before the first are not counted.
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
        session(pixels[number % len(pixels)])
        now = clock()
        if number >= 0:
            times[number] = now - arrival
        newest = int((now - begin) // period) - LEAD_CALLS
        number = max(number + 1, newest)
    return (times / 1e9).tobytes()


def describe() -> dict[str, Any]:
    """What really runs in the open session: see `Session.describe`."""
    described: dict[str, Any] = _open["session"].describe()
    return described


def memory() -> int:
    """Peak resident memory of this whole serving process in bytes (VmHWM): interpreter, runtime, weights, images."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeFailed("The kernel does not tell this process's peak memory.", "/proc/self/status has no VmHWM.")


def predict(images: Sequence[str], out: str, progress: Progress | None = None) -> dict[str, Any]:
    """Answer all `images` (files) as the session does; write what accuracy is computed of to `out` (.npy, float32).

    What that is the task says: of a classifier the scores (images, classes), of a detector every box that its spec
    counts for accuracy (boxes, 7). Raises `RuntimeFailed` where an answer is not finite.
    """
    session, raw = _open["session"], Path(f"{out}.rows")
    spec, rows = session.spec, tasks.of(session.spec).decode.rows
    step, width, done = spec.input.batch or min(AT_ONCE, session.most), 0, 0
    try:
        with raw.open("wb") as file:  # how many rows there will be is not known, and all together may be large
            for start in range(0, len(images), step):
                part = list(images[start : start + step])
                for outputs, sizes in session.outputs(part):
                    found = np.ascontiguousarray(rows(outputs, spec, sizes, part, start), np.float32)
                    file.write(found.tobytes())
                    width, done = found.shape[1], done + len(found)
                if progress:
                    progress(start + len(part), len(images), "images")
        kept = np.lib.format.open_memmap(out, mode="w+", dtype=np.float32, shape=(done, width))
        if done:
            kept[:] = np.memmap(raw, np.float32, "r", shape=(done, width))
        kept.flush()
    finally:
        raw.unlink(missing_ok=True)
    return {"images": len(images), "rows": done}
