"""A plan on disk: ``model.plan`` and ``plan.json``, with the build environment and a proof of origin.

Loading a plan runs native code from its author (NVIDIA's documentation), and TensorRT does not detect tampering. So
three checks come before the library receives the bytes. The SHA-256 must match. The TensorRT build, GPU and driver must
match. The plan must have a code (HMAC-SHA256, RFC 2104) made with this machine's key, which never leaves the machine. A
plan of another machine is rejected, except if the user trusts it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
from msgspec.structs import replace

from edgewright.core import files, machine_key
from edgewright.core.errors import IntegrityError, InvalidInput, Unavailable
from edgewright.core.spec import decode, encode
from edgewright.runtimes.contents import Contents

PLAN = "model.plan"
ABOUT = "plan.json"
TIMING_CACHE = "timing.cache"


class Maker(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The environment that a plan is bound to: library build, GPU, CUDA version of the driver, CPU architecture."""

    library: str
    device: str
    compute_capability: str
    multiprocessors: int
    driver: int
    architecture: str


class About(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``plan.json``. `outputs`: the model's outputs in order; `inputs`: its inputs in order, if there are several.

    `timing_cache`: SHA-256 of the timing cache. `code`: HMAC of all other fields with the key of the machine that built
    the plan.
    """

    schema_version: int = 1
    sha256: str
    maker: Maker
    outputs: tuple[str, ...]
    timing_cache: str = ""
    inputs: tuple[str, ...] = ()
    code: str = ""


def write(
    folder: Path, plan: bytes, timing_cache: bytes, outputs: tuple[str, ...], maker: Maker, inputs: tuple[str, ...] = ()
) -> None:
    """Write a plan that this machine built, and its timing cache, into `folder`. `inputs`: if there are several."""
    sha256, timings = (hashlib.sha256(content).hexdigest() for content in (plan, timing_cache))
    about = About(sha256=sha256, timing_cache=timings, maker=maker, outputs=outputs, inputs=inputs)
    files.write(folder / PLAN, plan)
    files.write(folder / TIMING_CACHE, timing_cache)
    files.write(folder / ABOUT, encode(replace(about, code=machine_key.code(_signed(about)))))


def timing_cache(contents: Contents, here: Maker) -> bytes:
    """Return the timing cache in `contents` if this machine measured it with the same build, else b"".

    TensorRT reads a timing cache with native code, so a cache of another machine is not used.
    """
    try:
        about, content = _about(contents), contents.read(TIMING_CACHE)
    except (InvalidInput, IntegrityError):
        return b""
    own = about.maker == here and _is_own(about)
    return content if own and hashlib.sha256(content).hexdigest() == about.timing_cache else b""


def read(contents: Contents, here: Maker, trust: bool = False) -> tuple[bytes, About]:
    """Return the checked plan in `contents` and its description. `here`: the environment of this machine.

    Raises `IntegrityError` for changed bytes and, without `trust`, for a plan of another machine. Raises `Unavailable`
    for a plan of another build, GPU or driver.
    """
    folder, about, plan = contents.folder, _about(contents), contents.read(PLAN)
    if hashlib.sha256(plan).hexdigest() != about.sha256:
        raise IntegrityError(
            f"{folder / PLAN} is damaged: its SHA-256 is not the one in {ABOUT}.",
            "A plan is native code, so it was not loaded.",
            "Copy the folder again, or build the plan on this device: edgewright compile BUNDLE -o NEW",
        )
    if differences := [
        f"{field} {getattr(about.maker, field)} (here {getattr(here, field)})"
        for field in Maker.__struct_fields__
        if getattr(about.maker, field) != getattr(here, field)
    ]:
        raise Unavailable(
            f"The plan in {folder} was built for another device or TensorRT: {', '.join(differences)}.",
            "A plan needs the same TensorRT build, GPU and driver. It was not loaded.",
            "Build the plan on this device: edgewright compile BUNDLE -o NEW",
        )
    if not trust and not _is_own(about):
        raise IntegrityError(
            f"The plan in {folder} was not built on this machine.",
            "Loading a plan runs native code from its author, so it was not loaded.",
            "Build the plan here: edgewright compile BUNDLE -o NEW. If you trust the author, add --trust-plan.",
        )
    return plan, about


def _about(contents: Contents) -> About:
    return decode(contents.read(ABOUT), About, str(contents.folder / ABOUT))


def _is_own(about: About) -> bool:
    return machine_key.is_own(about.code, _signed(about))


def _signed(about: About) -> bytes:
    """The bytes that `code` authenticates: all other fields, without those that older plans lack."""
    fields = msgspec.to_builtins(replace(about, code=""))
    return encode({name: value for name, value in fields.items() if name != "inputs" or value})
