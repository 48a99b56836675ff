"""Families of errors carry the design's exit codes; a full disk or memory is the user's to solve."""

from __future__ import annotations

import errno
import os

import pytest

from edgewright.core import errors


def test_exit_codes_are_the_documented_ones() -> None:
    codes = {name: family.exit_code for name, family in errors.FAMILIES.items()}
    assert codes == {
        "GateFailed": 1, "UsageError": 2, "InvalidInput": 3, "IntegrityError": 4, "Unavailable": 5,
        "RuntimeFailed": 6, "TimedOut": 7, "OutOfResources": 8, "DiskFull": 8, "NotCompared": 9,
    }  # fmt: skip


def test_a_full_disk_is_an_error_of_the_users_world() -> None:
    known = errors.from_exception(OSError(errno.ENOSPC, "No space left on device", "/x/model.onnx"))
    assert isinstance(known, errors.DiskFull)
    assert "/x/model.onnx" in known.what


def test_what_is_unknown_is_our_bug() -> None:
    assert errors.from_exception(KeyError("x")) is None


@pytest.mark.parametrize(
    "name", ["EROFS", "EACCES", "EPERM", "ENOTDIR", "EEXIST", "EISDIR", "ELOOP", "ENAMETOOLONG", "EMFILE"]
)
def test_what_the_file_system_refuses_is_no_bug_of_ours(name: str) -> None:
    number = getattr(errno, name)
    found = errors.from_exception(OSError(number, os.strerror(number), "/some/file"))
    assert isinstance(found, errors.InvalidInput)
    assert "/some/file" in found.what and found.fix


def test_a_file_that_we_forgot_is_a_bug_of_ours() -> None:
    assert errors.from_exception(FileNotFoundError(errno.ENOENT, "No such file", "/ours")) is None
