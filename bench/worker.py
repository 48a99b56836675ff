"""What runs in the serving child process: the artifact, opened as a device opens it, asked by the parent.

`edgewright.core.child.Child.call` runs these functions by name. The open session stays in the process between calls;
timings go back as bytes of float64 seconds. Nothing here imports torch: the session imports the one runtime it needs.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgewright import tasks
from edgewright.core.child import Progress
from edgewright.core.errors import RuntimeFailed

LEAD_CALLS, LEAD_NS = 3, 50_000_000
AT_ONCE = 8
"""Images that are answered at once for accuracy where the model leaves the batch open."""

_open: dict[str, Any] = {}
"""The session, and the images in memory, of this process."""


def open_artifact(path: str, images: Sequence[str]) -> dict[str, Any]:
    """Open the artifact or bundle at `path` and answer once; keep the session and the decoded `images` (files).

    Returns the process id, `image` (the images' sizes in words) and `cold_start_ms`: from before the session module and
    its runtime are imported to the first answer, without the interpreter's own start and the decoding of the image.
    """
    from edgewright.vision.image import open_image

    pixels = [np.asarray(open_image(image)) for image in images]
    start = time.perf_counter_ns()
    from edgewright.runtimes.session import open_measured

    session = open_measured(path)
    session(pixels[0])
    cold_start_ms = (time.perf_counter_ns() - start) / 1e6
    _open.update(session=session, pixels=pixels, answers=[])
    sizes = sorted({f"{array.shape[1]}x{array.shape[0]}" for array in pixels})
    return {
        "pid": os.getpid(),
        "cold_start_ms": cold_start_ms,
        "image": sizes[0] if len(sizes) == 1 else f"{len(pixels)} images, {sizes[0]} to {sizes[-1]}",
    }


def latency_slice(seconds: float, min_count: int = 1, part: str = "whole") -> bytes:
    """Back-to-back single-stream timings for `seconds`, at least `min_count`: float64 seconds as bytes.

    `part` "whole": image in memory to answer, as an application calls a session; "preprocess", "runtime" (the call of
    the runtime) or "postprocess" alone. A few calls before them are not counted: another process had the caches until
    now.
    """
    session, pixels = _open["session"], _open["pixels"]
    ask, inputs = _part(session, pixels, part)
    clock = time.perf_counter_ns
    times: list[int] = []
    begin = now = clock()
    for sample in inputs[:LEAD_CALLS]:
        ask(sample)
        if (now := clock()) - begin > LEAD_NS:
            break
    end = now + int(seconds * 1e9)
    turn = 0
    while now < end or len(times) < min_count:
        sample = inputs[turn % len(inputs)]
        turn += 1
        start = clock()
        ask(sample)
        now = clock()
        times.append(now - start)
    return (np.array(times, np.float64) / 1e9).tobytes()


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


def _part(session: Any, pixels: list[np.ndarray], part: str) -> tuple[Callable[[Any], Any], list[Any]]:
    """What to time, and what to give it in turn."""
    if part == "whole":
        return session, pixels
    if part == "preprocess":
        from edgewright.vision.preprocess import batch

        return lambda array: batch([array], session.spec), pixels
    if part == "runtime":
        return session.run, [_input(session, pixels[0])]
    assert part == "postprocess", part
    if not _open["answers"]:
        for array in pixels:
            x = _input(session, array)
            # One image's outputs may have no batch axis: only where there are more is there one to cut.
            answers = [output[:1] if len(x) > 1 else output for output in session.run(x)]
            _open["answers"].append((answers, [(array.shape[1], array.shape[0])]))
    return lambda answer: session.read(*answer), _open["answers"]


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


def _input(session: Any, pixels: np.ndarray) -> np.ndarray:
    from edgewright.vision.preprocess import batch

    one = batch([pixels], session.spec)
    size = session.spec.input.batch or 1
    return np.repeat(one, size, axis=0) if size > 1 else one
