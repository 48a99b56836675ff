"""Devices without a target that users ask for. Their names resemble those of targets, so each has its own message."""

from __future__ import annotations

import re
from typing import NamedTuple

_JETSON = "Use a Jetson from Xavier on; `edgewright targets` lists them."
_OTHERS = "Targets are CPUs and NVIDIA GPUs: `edgewright targets` lists them."
_MEASURE = "Measure on the device with --on USER@HOST, or describe it in a TOML file and give its path."


class Unsupported(NamedTuple):
    """A device without a target. `name`: a pattern of lower-case letters and digits; the others: the message."""

    name: str
    what: str
    why: str
    fix: str


def _old_jetson(name: str, title: str, gpu: str) -> Unsupported:
    why = (
        f"Its {gpu} GPU has no INT8 units, and its last release is JetPack 4. edgewright supports JetPack 5 and later."
    )
    return Unsupported(f"(nvidia)?(jetson)?{name}", f"the {title} is not supported", why, _JETSON)


def _old_pi(name: str, title: str, core: str) -> Unsupported:
    why = f"Its {core} has no fp16 and no dot product. The built-in targets for Arm need both."
    return Unsupported(f"(raspberry|r)?pi{name}", f"the {title} has no built-in target", why, _MEASURE)


_KNOWN = (
    _old_jetson(r"nano(2gb|4gb)?(devkit|developerkit)?(a02|b01)?", "Jetson Nano", "Maxwell"),
    _old_jetson(r"tx1(devkit|developerkit)?", "Jetson TX1", "Maxwell"),
    _old_jetson(r"tx2(nx|i|4gb|8gb)?(devkit|developerkit)?", "Jetson TX2", "Pascal"),
    _old_pi(r"(3.*|cm3.*)", "Raspberry Pi 3", "Cortex-A53"),
    _old_pi(r"zero2.*", "Raspberry Pi Zero 2", "Cortex-A53"),
    _old_pi(r"(4.*|cm4.*)", "Raspberry Pi 4", "Cortex-A72"),
    Unsupported(
        r"(raspberry|r)?pi(zero|1|2).*", "this Raspberry Pi is not supported",
        "Its processor or system is 32-bit. The runtimes need 64-bit Arm.", _OTHERS,
    ),
    Unsupported(
        r".*(coral|edgetpu).*", "the Edge TPU is not supported",
        "It runs only files from Google's compiler. edgewright does not write them.", _OTHERS,
    ),
    Unsupported(
        r".*hailo.*", "Hailo's processors are not supported",
        "They run only files from Hailo's compiler. edgewright does not write them.", _OTHERS,
    ),
)  # fmt: skip


def find(name: str) -> Unsupported | None:
    """Return the unsupported device `name` in any spelling ("Jetson Nano", "jetson_tx2-nx", "nano"), or None."""
    letters = re.sub(r"[^a-z0-9]", "", name.lower())
    return next((device for device in _KNOWN if re.fullmatch(device.name, letters)), None)
