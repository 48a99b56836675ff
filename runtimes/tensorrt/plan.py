"""A plan on disk: ``model.plan`` and ``plan.json``, which says what built it and proves who did.

Deserializing a plan equals running native code from whoever made it (NVIDIA's own words), and TensorRT finds no
tampering. So before its bytes reach the library a plan must be, by its SHA-256, what was written; be of this very build
of TensorRT and this kind of GPU; and carry a code (HMAC-SHA256, RFC 2104) made with this machine's own key, which never
leaves it. A plan from elsewhere is refused unless the user trusts it.
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
    """What a plan is tied to: the library's build, the GPU, its driver's CUDA, the processor's architecture."""

    library: str
    device: str
    compute_capability: str
    multiprocessors: int
    driver: int
    architecture: str


class About(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``plan.json``. `outputs`: the model's, in its order. `timing_cache`: SHA-256 of the one beside it.

    `code`: HMAC of all the rest with the key of the machine that built it.
    """

    schema_version: int = 1
    sha256: str
    maker: Maker
    outputs: tuple[str, ...]
    timing_cache: str = ""
    code: str = ""


def write(folder: Path, plan: bytes, timing_cache: bytes, outputs: tuple[str, ...], maker: Maker) -> None:
    """Write a plan that this machine built into `folder`, and the timings that it was chosen by."""
    sha256, timings = (hashlib.sha256(content).hexdigest() for content in (plan, timing_cache))
    about = About(sha256=sha256, timing_cache=timings, maker=maker, outputs=outputs)
    files.write(folder / PLAN, plan)
    files.write(folder / TIMING_CACHE, timing_cache)
    files.write(folder / ABOUT, encode(replace(about, code=machine_key.code(encode(about)))))


def timing_cache(contents: Contents, here: Maker) -> bytes:
    """The timings among `contents` if this machine measured them with the same build; else none. They go to native
    code."""
    try:
        about, content = _about(contents), contents.read(TIMING_CACHE)
    except (InvalidInput, IntegrityError):
        return b""
    own = about.maker == here and _is_own(about)
    return content if own and hashlib.sha256(content).hexdigest() == about.timing_cache else b""


def read(contents: Contents, here: Maker, trust: bool = False) -> tuple[bytes, tuple[str, ...]]:
    """The plan among `contents`, checked, and the model's outputs in order; `here` is what would build it now.

    Raises `IntegrityError` for other bytes than were written, and (unless `trust`) for another machine's plan;
    `Unavailable` for one of another build, GPU or driver.
    """
    folder, about, plan = contents.folder, _about(contents), contents.read(PLAN)
    if hashlib.sha256(plan).hexdigest() != about.sha256:
        raise IntegrityError(
            f"{folder / PLAN} is damaged: its SHA-256 is not the one in {ABOUT}.",
            "A plan is native code; nothing of it was loaded.",
            "Copy the folder again, or build the plan on this device: edgewright compile BUNDLE -o NEW",
        )
    if differences := [
        f"{field} {getattr(about.maker, field)} (here {getattr(here, field)})"
        for field in Maker.__struct_fields__
        if getattr(about.maker, field) != getattr(here, field)
    ]:
        raise Unavailable(
            f"The plan in {folder} was built for another device or TensorRT: {', '.join(differences)}.",
            "A plan runs only where the same build of TensorRT, GPU and driver are. Nothing of it was loaded.",
            "Build it on this device: edgewright compile BUNDLE -o NEW",
        )
    if not trust and not _is_own(about):
        raise IntegrityError(
            f"The plan in {folder} was not built on this machine.",
            "Loading a plan runs native code from whoever made it. Nothing of it was loaded.",
            "Build it here: edgewright compile BUNDLE -o NEW; or, if you trust its maker, --trust-plan.",
        )
    return plan, about.outputs


def _about(contents: Contents) -> About:
    return decode(contents.read(ABOUT), About, str(contents.folder / ABOUT))


def _is_own(about: About) -> bool:
    return machine_key.is_own(about.code, encode(replace(about, code="")))
