"""Stands in for `edgewright.bench.worker` in a child process: behaves as the artifact's name says."""

from __future__ import annotations

import os
import signal
import time

import numpy as np

_name, _slices = "", 0


def read_images(images):
    assert images


def open_artifact(path):
    global _name
    _name = path.rpartition("/")[2]
    if _name == "refuses":
        raise ValueError("unsupported operator Foo")
    return {"pid": os.getpid(), "cold_start_ms": 12.5, "image": "8x8", "on_device": False}


def latency_slice(seconds, min_count, lead_s):
    global _slices
    _slices += 1
    if _slices > 3:  # the warm-up is over
        if _name == "crashes":
            os.kill(os.getpid(), signal.SIGSEGV)
        if _name == "hangs":
            time.sleep(600)
        if _name == "eats":
            return np.zeros(1 << 35, np.uint8).tobytes()
    each = {"slow": 0.02, "fast": 0.005}.get(_name, 0.01)
    noise = np.random.default_rng(len(_name)).uniform(1, 1.01, max(min_count, 40))
    return (each * noise[:, None] * [0.3, 0.5, 0.2]).tobytes()


def camera_slice(rate_hz, frames):
    each = {"slow": 0.02, "fast": 0.005}.get(_name, 0.01)
    return np.full(frames, each).tobytes()


def memory():
    return 50_000_000
