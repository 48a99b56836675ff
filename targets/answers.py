"""What a device may say: its answers as structs, and how much of everything it may send.

A device can be broken, or run what somebody else put there, so nothing from it is believed: each line is decoded into
one of these structs, and what does not fit is an `IntegrityError` that names the device. `agent` and `job` keep to the
same bounds, so that an honest device never meets them.
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
"""A line. The longest are lists of `DIGESTS` contents (90 bytes each) or of `FILES` results (150 bytes or so)."""
DIGESTS = 10_000
"""Contents that a device is asked for at once; a larger image set takes several questions."""
FILES = 4096
"""Files that a job may leave. Measuring leaves three an artifact, a finished artifact is a handful."""
RESULT_BYTES = 8 << 30
"""All files of a job together, where the caller knows no better bound: the largest plans, and twice the outputs of
50,000 images for the 21,841 classes of the full ImageNet (4.4 GB)."""
TEXT = 4096
"""Characters of one text: a message, a path, a version."""
VALUE_BYTES = 1 << 20
"""What a job returns, as JSON: a description of the device takes 3 kB, one of an artifact with 10,000 labels 200 kB."""
BURST, PER_S = 200, 20
"""Lines of progress: at once, and a second on average after that. A device sends four a second."""
NAME, PART, DEPTH = 1024, 200, 16
"""Of a file's name the characters, the bytes of a part (a file system takes 255) and the number of parts."""
STDERR_BYTES = 1 << 16
"""What is kept of what ssh and the device write to the standard error: its end."""

Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]
Text = Annotated[str, msgspec.Meta(max_length=TEXT)]
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME)]
Folder = Annotated[str, msgspec.Meta(pattern=r"^/[^\x00-\x1f\x7f]*\Z", max_length=TEXT)]
Version = Annotated[str, msgspec.Meta(pattern=r"^\d{1,3}\.\d{1,3}\.\d{1,3}[0-9A-Za-z.+-]{0,40}\Z")]
T = TypeVar("T")


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what a device says; a field that is not listed is an error."""


class Fault(Answer, frozen=True, kw_only=True):
    """What `agent` refuses (see `agent.Refused`)."""

    kind: Literal["full", "os", "folder", "foreign", "venv", "pip", "packages", "died", "cut", "damaged"]
    text: Text
    what: Text


class Message(Answer, frozen=True, kw_only=True):
    """One line of `agent`: exactly one of these."""

    ok: msgspec.Raw = msgspec.Raw()
    error: Fault | None = None
    progress: tuple[Count, Count, Text] | None = None


class Hello(Answer, frozen=True, kw_only=True):
    """`agent.hello`."""

    root: Folder
    python: Version
    arch: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]{1,40}\Z")]
    free: Count
    installed: Annotated[dict[Text, Text], msgspec.Meta(max_length=100)]


class Cleaned(Answer, frozen=True, kw_only=True):
    """`agent.clean`."""

    removed: bool
    root: Folder


class Missing(Answer, frozen=True, kw_only=True):
    """`agent.missing`: bytes of each content that are there."""

    missing: Annotated[dict[Digest, Count], msgspec.Meta(max_length=DIGESTS)]
    free: Count


class Stored(Answer, frozen=True, kw_only=True):
    """`agent.receive`."""

    stored: Count


class Installed(Answer, frozen=True, kw_only=True):
    """`agent.install`."""

    python: Folder


class Started(Answer, frozen=True, kw_only=True):
    """`agent.start`."""

    state: Literal["started", "running", "done"]


class Size(Answer, frozen=True, kw_only=True):
    """`agent.read`, before the bytes."""

    size: Count


class Nothing(Answer, frozen=True, kw_only=True):
    """`agent.assemble` and `agent.forget`."""


class Failure(Answer, frozen=True, kw_only=True):
    """A user's error of a job; `family` is its class in `errors.FAMILIES`."""

    family: Annotated[str, msgspec.Meta(max_length=40)]
    what: Text
    why: Text
    fix: Text


class Written(Answer, frozen=True, kw_only=True):
    """A file that a job wrote."""

    sha256: Digest
    size: Count


class JobResult(Answer, frozen=True, kw_only=True):
    """``result.json`` of a job: `ok` (JSON) and `files` by name, or the `error`."""

    ok: msgspec.Raw = msgspec.Raw()
    files: Annotated[dict[Name, Written], msgspec.Meta(max_length=FILES)] = {}
    error: Failure | None = None


class Followed(Answer, frozen=True, kw_only=True):
    """`agent.follow`."""

    result: JobResult


def breach(device: object, what: str, allowed: str) -> IntegrityError:
    """The error for `what` a `device` sent, where only what is `allowed` would be believed."""
    return IntegrityError(
        f"{device} sent {what}.", f"Allowed: {allowed}.",
        f"Check what answers there. `edgewright targets clean {device}` removes edgewright from it; the next run "
        "installs it again.",
    )  # fmt: skip


def decode(content: bytes | msgspec.Raw, kind: type[T], device: object, what: str) -> T:
    """`content` (JSON) as a `kind`; `IntegrityError` where it is none. `what` is for the message: "its greeting"."""
    try:
        # For any object there is nothing that a hook could say.
        return msgspec.json.decode(content, type=kind, dec_hook=None if kind is object else section)
    except RecursionError:
        reason = "it is nested too deeply"
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        reason = str(error)[:200]
    raise breach(device, f"{what} that cannot be read: {reason}", f"the JSON of a {kind.__name__}") from None


def message(line: bytes, device: object) -> Message:
    """One line of an answer."""
    found = decode(line, Message, device, "an answer")
    if bool(bytes(found.ok)) + (found.error is not None) + (found.progress is not None) != 1:
        raise breach(device, "an answer that says several things, or nothing", 'one of "ok", "error", "progress"')
    return found


def value(content: msgspec.Raw, device: object) -> Any:
    """What a job returned: plain data of bounded size, in which each number is finite and each text bounded."""
    if len(content) > VALUE_BYTES:
        raise breach(device, f"a result of {len(content)} bytes", f"{VALUE_BYTES} bytes")
    found = decode(content, object, device, "a result")
    try:
        require_plain(found, device)
    except RecursionError:
        raise breach(device, "a result that is nested too deeply", "plain data") from None
    return found


def require_plain(found: Any, device: object) -> None:
    """Refuse data with a text that is too long, or with a number that is not finite or has more than 63 bits."""
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
    """Refuse files that are larger together than `most_bytes`, or with a name by which one could land elsewhere."""
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
                "names below the job's own folder, each once, none of them below another file",
            )  # fmt: skip
