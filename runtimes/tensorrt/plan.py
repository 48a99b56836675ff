"""A plan on disk: ``model.plan`` and ``plan.json``, which says what built it and proves who did.

Deserializing a plan equals running native code from whoever made it (NVIDIA's own words), and TensorRT finds no
tampering. So before its bytes reach the library a plan must be, by its SHA-256, what was written; be of this very build
of TensorRT and this kind of GPU; and carry a code (HMAC-SHA256, RFC 2104) made with this machine's own key, which never
leaves it. A plan from elsewhere is refused unless the user trusts it.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

import msgspec

from edgewright.core import files
from edgewright.core.errors import IntegrityError, Unavailable
from edgewright.core.spec import SCHEMA_VERSION, decode, encode

PLAN = "model.plan"
ABOUT = "plan.json"


class Maker(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a plan is tied to: the library's build, the GPU, its driver's CUDA, the processor's architecture."""

    library: str
    device: str
    compute_capability: str
    multiprocessors: int
    driver: int
    architecture: str


class About(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``plan.json``. `code`: HMAC of digest and maker with the key of the machine that built it."""

    schema_version: int = SCHEMA_VERSION
    sha256: str
    maker: Maker
    code: str


def write(folder: Path, plan: bytes, maker: Maker) -> None:
    """Write a plan that this machine built into `folder`."""
    digest = hashlib.sha256(plan).hexdigest()
    files.write(folder / PLAN, plan)
    files.write(folder / ABOUT, encode(About(sha256=digest, maker=maker, code=_code(digest, maker))))


def read(folder: Path, here: Maker, trust: bool = False) -> bytes:
    """The plan in `folder`, checked; `here` is what would build it now.

    Raises `IntegrityError` for other bytes than were written, and (unless `trust`) for another machine's plan;
    `Unavailable` for one of another build, GPU or driver.
    """
    with files.open_contained(folder, ABOUT) as file:
        about = decode(file.read(), About, str(folder / ABOUT))
    with files.open_contained(folder, PLAN) as file:
        plan = file.read()
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
    if not trust and not hmac.compare_digest(about.code, _code(about.sha256, about.maker)):
        raise IntegrityError(
            f"The plan in {folder} was not built on this machine.",
            "Loading a plan runs native code from whoever made it. Nothing of it was loaded.",
            "Build it here: edgewright compile BUNDLE -o NEW; or, if you trust its maker, --trust-plan.",
        )
    return plan


def _code(digest: str, maker: Maker) -> str:
    return hmac.new(machine_key(), digest.encode() + encode(maker), hashlib.sha256).hexdigest()


def machine_key() -> bytes:
    """This machine's own 32 random bytes, made at first use, readable by its user only."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser())
    path = home / "edgewright" / "machine.key"
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent) as file:  # 0600 from the start
            file.write(secrets.token_bytes(32))
            file.flush()
            with contextlib.suppress(FileExistsError):  # another process was first: its key is this machine's
                os.link(file.name, path)
    return path.read_bytes()
