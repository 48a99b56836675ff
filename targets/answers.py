"""The answers of a device as structs, and the size limit of each.

A device can be broken or run foreign code, so edgewright does not trust its answers. Each line is decoded into one of
these structs. A line that does not fit raises an `IntegrityError` with the device's name. `agent` and `job` keep the
same limits, so a correct device never reaches them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from edgewright.core.errors import IntegrityError
from edgewright.core.spec import section

LINE_BYTES = 4 << 20
"""Bytes of a line. The longest lines list `DIGESTS` contents (90 bytes each) or `FILES` results (about 150 bytes)."""
DIGESTS = 10_000
"""Contents in one request. A larger image set takes several requests."""
FILES = 4096
"""Files that a job may leave. A measurement leaves three files per artifact; a finished artifact has a few."""
RESULT_BYTES = 8 << 30
"""Bytes of all files of a job, if the caller has no smaller limit. It covers the largest plans, and twice the outputs
of 50,000 images for the 21,841 classes of the full ImageNet (4.4 GB)."""
TEXT = 4096
"""Characters of one text, for example a message, a path or a version."""
VALUE_BYTES = 1 << 20
"""Bytes of a job's return value as JSON. A device description takes 3 kB, an artifact with 10,000 labels 200 kB."""
BURST, PER_S = 200, 20
"""Progress lines: allowed at once, and then per second on average. A device sends four per second."""
NAME, PART, DEPTH = 1024, 200, 16
"""Limits of a file name: characters, bytes of one path component (file systems allow 255), path components."""
STDERR_BYTES = 1 << 16
"""Bytes that are kept of the standard error of ssh and the device. The last bytes are kept."""

Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Text = Annotated[str, msgspec.Meta(max_length=TEXT)]
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME)]
Folder = Annotated[str, msgspec.Meta(pattern=r"^/[^\x00-\x1f\x7f]*\Z", max_length=TEXT)]
Version = Annotated[str, msgspec.Meta(pattern=r"^\d{1,3}\.\d{1,3}\.\d{1,3}[0-9A-Za-z.+-]{0,40}\Z")]
T = TypeVar("T")


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all answers. An unknown field is an error."""


class Fault(Answer, frozen=True, kw_only=True):
    """A refusal of `agent` (see `agent.Refused`)."""

    kind: Literal["full", "os", "folder", "foreign", "venv", "pip", "packages", "died", "cut", "damaged"]
    text: Text
    what: Text


class Message(Answer, frozen=True, kw_only=True):
    """One line of `agent`. Exactly one field is set."""

    ok: msgspec.Raw = msgspec.Raw()
    error: Fault | None = None
    progress: tuple[Count, Count, Text] | None = None


class Hello(Answer, frozen=True, kw_only=True):
    """Answer of `agent.hello`. `free`: bytes on the disk. `installed`: version of each distribution."""

    root: Folder
    python: Version
    arch: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,40}\Z")]
    free: Count
    installed: Annotated[dict[Text, Text], msgspec.Meta(max_length=100)]


class Cleaned(Answer, frozen=True, kw_only=True):
    """Answer of `agent.clean`."""

    removed: bool
    root: Folder


class Missing(Answer, frozen=True, kw_only=True):
    """Answer of `agent.missing`. `missing`: the received bytes of each incomplete content."""

    missing: Annotated[dict[Digest, Count], msgspec.Meta(max_length=DIGESTS)]
    free: Count


class Stored(Answer, frozen=True, kw_only=True):
    """Answer of `agent.receive`: the number of stored files."""

    stored: Count


class Installed(Answer, frozen=True, kw_only=True):
    """Answer of `agent.install`: the path of the environment's interpreter."""

    python: Folder


class Started(Answer, frozen=True, kw_only=True):
    """Answer of `agent.start`."""

    state: Literal["started", "running", "done"]


class Size(Answer, frozen=True, kw_only=True):
    """Answer of `agent.read`, before the bytes of the file."""

    size: Count


class Nothing(Answer, frozen=True, kw_only=True):
    """Answer of `agent.assemble` and `agent.forget`."""


class Failure(Answer, frozen=True, kw_only=True):
    """A user's error that a job raised. `family`: its class in `errors.FAMILIES`."""

    family: Annotated[str, msgspec.Meta(max_length=40)]
    what: Text
    why: Text
    fix: Text


class Written(Answer, frozen=True, kw_only=True):
    """A file that a job wrote. `size`: bytes."""

    sha256: Digest
    size: Count


class JobResult(Answer, frozen=True, kw_only=True):
    """``result.json`` of a job: the return value `ok` (JSON) and the `files` by name, or the `error`."""

    ok: msgspec.Raw = msgspec.Raw()
    files: Annotated[dict[Name, Written], msgspec.Meta(max_length=FILES)] = {}
    error: Failure | None = None


class Followed(Answer, frozen=True, kw_only=True):
    """Answer of `agent.follow`."""

    result: JobResult


def breach(device: object, what: str, allowed: str) -> IntegrityError:
    """Return the error for a `device` that sent `what`. `allowed`: the accepted form or limit."""
    return IntegrityError(
        f"{device} sent {what}.", f"Allowed: {allowed}.",
        "Check which program answers on the device. Then remove edgewright from it: "
        f"`edgewright targets clean {device}`. The next run installs it again.",
    )  # fmt: skip


def decode(content: bytes | msgspec.Raw, kind: type[T], device: object, what: str) -> T:
    """Decode `content` (JSON) as `kind`. `what` is for the message ("an answer"). Raises `IntegrityError`."""
    try:
        # A plain object has no fields that the hook could explain.
        return msgspec.json.decode(content, type=kind, dec_hook=None if kind is object else section)
    except RecursionError:
        reason = "it is nested too deeply"
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        reason = str(error)[:200]
    raise breach(device, f"{what} that cannot be read: {reason}", f"the JSON of a {kind.__name__}") from None


def message(line: bytes, device: object) -> Message:
    """Decode one line of an answer. Raises `IntegrityError` if it does not set exactly one field."""
    found = decode(line, Message, device, "an answer")
    if bool(bytes(found.ok)) + (found.error is not None) + (found.progress is not None) != 1:
        raise breach(device, "an answer with several parts, or with none", 'one of "ok", "error", "progress"')
    return found


def value(content: msgspec.Raw, device: object) -> Any:
    """Decode the return value of a job: plain data with finite numbers and texts of limited length.

    Raises `IntegrityError` if a limit is exceeded.
    """
    if len(content) > VALUE_BYTES:
        raise breach(device, f"a result of {len(content)} bytes", f"{VALUE_BYTES} bytes")
    found = decode(content, object, device, "a result")
    try:
        require_plain(found, device)
    except RecursionError:
        raise breach(device, "a result that is nested too deeply", "plain data") from None
    return found


def require_plain(found: Any, device: object) -> None:
    """Raise `IntegrityError` for a text that is too long, a number that is not finite, or one above 63 bits."""
    if isinstance(found, Mapping):
        for name, item in found.items():
            require_plain(name, device)
            require_plain(item, device)
    elif isinstance(found, list):
        for item in found:
            require_plain(item, device)
    elif isinstance(found, str) and len(found) > TEXT:
        raise breach(device, f"a text of {len(found)} characters", f"{TEXT} characters")
    elif isinstance(found, float) and not math.isfinite(found):
        raise breach(device, f"the number {found}", "finite numbers")
    elif isinstance(found, int) and found.bit_length() > 63:
        raise breach(device, f"a number of {found.bit_length()} bits", "numbers of 63 bits")


def require_files(files: Mapping[str, Written], most_bytes: int, device: object) -> None:
    """Raise `IntegrityError` if the files exceed `most_bytes` in total, or if a name leads out of the job's folder."""
    total = sum(about.size for about in files.values())
    if total > most_bytes:
        raise breach(device, f"results of {total} bytes", f"{most_bytes} bytes for this job")
    places = {PurePosixPath(name) for name in files}
    for name in files:
        path = PurePosixPath(name)
        if (
            path.is_absolute()
            or not path.parts
            or ".." in path.parts
            or "\0" in name
            or len(path.parts) > DEPTH
            or any(len(part.encode()) > PART for part in path.parts)
            or not places.isdisjoint(path.parents)
            or len(places) < len(files)
        ):
            raise breach(
                device, f"a result named '{name[:PART]}'",
                "names inside the job's folder, each once, and no file inside another file",
            )  # fmt: skip
