"""A device that sends anything but the answer: a refusal that names it, nothing written elsewhere, no traceback."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hostile import HONEST, Hostile

from edgewright.cli.main import run_command
from edgewright.core import files
from edgewright.core.errors import DiskFull, EdgewrightError, IntegrityError, RuntimeFailed, TimedOut
from edgewright.targets import answers, remote
from edgewright.targets.job import JobRequest
from edgewright.targets.remote import Device, connect

CONTENT = b"figures"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
WRITTEN = {"sha256": DIGEST, "size": len(CONTENT)}
DEEP = b"[" * 100_000 + b"]" * 100_000


def run(hostile: Hostile, out: Path, **more: Any) -> Any:
    return hostile.remote.run(JobRequest(target="module:function"), out, **more)


def result(**fields: Any) -> dict[str, Any]:
    return {"ok": {"result": {"ok": 1, **fields}}}


def hello(**fields: Any) -> dict[str, Any]:
    return {"ok": {**HONEST["hello"], **fields}}


LINES = {
    "no JSON": b"not found\n",
    "no UTF-8": b'{"ok": {"root": "/\xff"}}\n',
    "half a surrogate": b'{"ok": {"removed": true, "root": "/\\ud800"}}\n',
    "another kind": b"[1, 2]\n",
    "nothing": b"{}\n",
    "two things": b'{"ok": {}, "progress": [1, 2, "x"]}\n',
    "an unknown part": b'{"ok": {}, "more": 1}\n',
    "an error without its parts": b'{"error": {"kind": "full"}}\n',
    "an error with strange parts": b'{"error": {"kind": "full", "text": "", "what": "", "__class__": 1}}\n',
    "an error of an unknown kind": b'{"error": {"kind": "reboot", "text": "", "what": ""}}\n',
    "an error with a huge text": json.dumps({"error": {"kind": "os", "text": "x" * 10**6, "what": ""}}).encode()
    + b"\n",
    "deep": b'{"ok": ' + DEEP + b"}\n",
    "a missing field": b'{"ok": {"removed": true}}\n',
    "an unknown field": b'{"ok": {"removed": true, "root": "/r", "run": "rm"}}\n',
    "another type": b'{"ok": {"removed": "yes", "root": "/r"}}\n',
    "a folder with control characters": b'{"ok": {"removed": true, "root": "/r\\u001b[2J"}}\n',
    "a folder that is not absolute": b'{"ok": {"removed": true, "root": "r"}}\n',
    "progress where none is due": b'{"progress": [1, 2, "x"]}\n',
    "a line without an end": b"x" * (answers.LINE_BYTES + 1),
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES.keys())
def test_a_line_that_is_no_answer_is_refused_by_the_command(
    line: bytes, hostile: Hostile, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile.says("clean", line)
    assert run_command(["targets", "clean", "nano@board"]) == 4
    said = capsys.readouterr().err
    assert "nano@board sent " in said and "Allowed: " in said and "Traceback" not in said and len(said) < 2000


@pytest.mark.parametrize(
    "wrong",
    [
        {"root": "/" + "x" * 5000}, {"python": "3.12; rm"}, {"python": "3"}, {"arch": "x" * 100}, {"free": -1},
        {"free": 10**30}, {"free": 1.5}, {"installed": {"numpy": 1}}, {"installed": {"numpy": "1" * 5000}},
        {"installed": {str(n): "1" for n in range(101)}},
    ],
    ids=str,
)  # fmt: skip
def test_a_greeting_is_bounded(wrong: dict[str, Any], hostile: Hostile) -> None:
    hostile.says("hello", hello(**wrong))
    with (
        pytest.raises(IntegrityError, match=r"nano@board sent an answer to 'hello'"),
        connect(Device(address="nano@board")),
    ):
        pass


def test_a_line_that_never_ends_takes_no_more_than_its_limit(hostile: Hostile) -> None:
    hostile.says("clean", again=b"x" * 65536)
    began = time.monotonic()
    with pytest.raises(IntegrityError, match=f"a line of {answers.LINE_BYTES} bytes or more"):
        hostile.connection.ask("clean", answers.Cleaned)
    assert time.monotonic() - began < 20


def test_a_login_script_that_prints_without_end(hostile: Hostile) -> None:
    hostile.prints("clean", before=b"welcome\n" * 20_000)
    with pytest.raises(RuntimeFailed, match=r"nano@board printed more than \d+ bytes before its answer") as error:
        hostile.connection.ask("clean", answers.Cleaned)
    assert "~/.bashrc" in error.value.fix


def test_what_ssh_prints_is_kept_to_its_end(hostile: Hostile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    hostile.prints("clean", stderr=b"x" * 999_999 + b"\nHost key verification failed.\n")
    with pytest.raises(IntegrityError, match="host key of nano@board is not known"):
        hostile.connection.ask("clean", answers.Cleaned)
    hostile.prints("clean", stderr=b"Permission denied " + b"x" * 1_000_000)
    with pytest.raises(EdgewrightError) as error:
        hostile.connection.ask("clean", answers.Cleaned)
    assert len(str(error.value)) < 1000
    assert not (tmp_path / "scratch").exists(), "nothing of it is written to a file"


@pytest.mark.parametrize(
    "step",
    [[-1, 1, "x"], [1, 10**40, "x"], ["1", 1, "x"], [1, 1], [1, 1, "x" * 10**5], [1.5, 2, "x"], {"done": 1}],
    ids=str,
)
def test_progress_is_typed(step: object, hostile: Hostile, tmp_path: Path) -> None:
    hostile.says("follow", {"progress": step}, result())
    with pytest.raises(IntegrityError, match="nano@board sent an answer"):
        run(hostile, tmp_path / "out", progress=lambda *_: None)


def test_progress_is_never_more_than_the_whole(hostile: Hostile, tmp_path: Path) -> None:
    steps: list[tuple[int, int, str]] = []
    hostile.says("follow", {"progress": [10**9, 3, "x"]}, {"progress": [7, 0, "y"]}, result())
    assert run(hostile, tmp_path / "out", progress=lambda *step: steps.append(step)) == 1
    assert steps == [(3, 3, "x"), (7, 0, "y")]


def test_a_flood_of_progress_is_ended(hostile: Hostile, tmp_path: Path) -> None:
    hostile.says("follow", again=b'{"progress": [1, 2, "x"]}\n' * 100)
    with pytest.raises(IntegrityError, match=r"nano@board sent \d+ lines of progress"):
        run(hostile, tmp_path / "out", progress=lambda *_: None)


RESULTS = {
    "a file above the folder": {"files": {"../x": WRITTEN}},
    "a file beside it": {"files": {"a/../../x": WRITTEN}},
    "an absolute file": {"files": {"/tmp/x": WRITTEN}},
    "the folder itself": {"files": {".": WRITTEN}},
    "no name": {"files": {"": WRITTEN}},
    "a NUL": {"files": {"a\0b": WRITTEN}},
    "a long name": {"files": {"x" * 250: WRITTEN}},
    "a long path": {"files": {"x/" * 600 + "x": WRITTEN}},
    "a deep path": {"files": {"x/" * 40 + "x": WRITTEN}},
    "a file below a file": {"files": {"a": WRITTEN, "a/b": WRITTEN}},
    "a name twice": {"files": {"a/b": WRITTEN, "a//b": WRITTEN}},
    "too many": {"files": {str(n): WRITTEN for n in range(answers.FILES + 1)}},
    "no digest": {"files": {"x": {"sha256": "../../etc/passwd", "size": 1}}},
    "a digest with a newline": {"files": {"x": {"sha256": DIGEST + "\n", "size": 1}}},
    "less than nothing": {"files": {"x": {"sha256": DIGEST, "size": -1}}},
    "a petabyte": {"files": {"x": {"sha256": DIGEST, "size": 10**15}}},
    "much in all": {"files": {f"x{n}": {"sha256": DIGEST, "size": answers.RESULT_BYTES - 1} for n in range(2)}},
    "an older kind of list": {"files": {"x": DIGEST}},
    "a strange family": {"error": {"family": "SystemExit", "what": "", "why": "", "fix": ""}},
    "a family that is no text": {"error": {"family": ["InvalidInput"], "what": "", "why": "", "fix": ""}},
    "an error without its reason": {"error": {"family": "InvalidInput", "what": ""}},
    "an error with a huge text": {"error": {"family": "InvalidInput", "what": "x" * 10**5, "why": "", "fix": ""}},
    "a huge value": {"ok": ["x" * 4000] * 300},
    "a long text": {"ok": {"a": "x" * 5000}},
    "a long key": {"ok": {"x" * 5000: 1}},
    "a huge number": {"ok": {"memory_bytes": 10**400}},
    "unknown parts": {"then": "run"},
}


@pytest.mark.parametrize("fields", RESULTS.values(), ids=RESULTS.keys())
def test_a_result_is_bounded_and_nothing_of_it_is_written(
    fields: dict[str, Any], hostile: Hostile, tmp_path: Path
) -> None:
    hostile.says("follow", result(**fields))
    hostile.says("read", {"ok": {"size": len(CONTENT)}}, after=CONTENT)
    before = files.tree(tmp_path)
    with pytest.raises(IntegrityError, match="nano@board sent "):
        run(hostile, tmp_path / "out")
    assert files.tree(tmp_path) == before


def test_a_value_that_is_nested_without_end(hostile: Hostile, tmp_path: Path) -> None:
    for deep in (DEEP, b"[" * 700 + b"]" * 700):
        hostile.says("follow", b'{"ok": {"result": {"ok": ' + deep + b"}}}\n")
        try:
            run(hostile, tmp_path / "out")
        except IntegrityError as error:
            assert "nano@board sent " in error.what
    hostile.says("follow", b'{"ok": {"result": {"ok": {"a": 1e999}}}}\n')
    with pytest.raises(IntegrityError, match="nano@board sent "):
        run(hostile, tmp_path / "out")


def test_a_job_may_send_less_than_any_where_the_caller_knows_how_much(hostile: Hostile, tmp_path: Path) -> None:
    hostile.says("follow", result(files={"x": WRITTEN}))
    hostile.says("read", {"ok": {"size": len(CONTENT)}}, after=CONTENT)
    with pytest.raises(IntegrityError, match=f"results of {len(CONTENT)} bytes"):
        run(hostile, tmp_path / "out", most_bytes=len(CONTENT) - 1)
    run(hostile, tmp_path / "out", most_bytes=len(CONTENT))
    assert (tmp_path / "out/x").read_bytes() == CONTENT


def test_results_that_do_not_fit_on_this_disk_are_told_before_a_byte_is_written(
    hostile: Hostile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = type("Usage", (), {"free": len(CONTENT) - 1})
    monkeypatch.setattr("shutil.disk_usage", lambda _: free)
    hostile.says("follow", result(files={"x": WRITTEN}))
    with pytest.raises(DiskFull, match=r"for the results of nano@board"):
        run(hostile, tmp_path / "out")
    assert files.tree(tmp_path / "out") == []


@pytest.mark.parametrize("size", [10**15, -1, 6, "7", None], ids=str)
def test_a_file_has_the_size_that_was_announced(size: object, hostile: Hostile, tmp_path: Path) -> None:
    hostile.says("follow", result(files={"x": WRITTEN}))
    hostile.says("read", {"ok": {"size": size}}, again=b"x" * 65536)
    with pytest.raises(IntegrityError, match="nano@board sent "):
        run(hostile, tmp_path / "out")
    assert files.size(tmp_path / "out") == 0


def test_no_more_is_written_than_was_announced_and_other_bytes_are_refused(hostile: Hostile, tmp_path: Path) -> None:
    hostile.says("follow", result(files={"x": WRITTEN}))
    hostile.says("read", {"ok": {"size": len(CONTENT)}}, again=b"forgery" * 1000)
    with (tmp_path / "part").open("ab") as file:
        hostile.remote._fetch("key", "x", answers.Written(sha256=DIGEST, size=len(CONTENT)), file)
    assert (tmp_path / "part").read_bytes() == b"forgery"
    with pytest.raises(IntegrityError, match="x from nano@board arrived damaged"):
        run(hostile, tmp_path / "out")
    assert files.tree(tmp_path / "out") == []


def test_a_longer_rest_of_another_file_is_thrown_away(hostile: Hostile, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.x.part").write_bytes(b"rest" * 100)
    hostile.says("follow", result(files={"x": WRITTEN}))
    hostile.says("read", {"ok": {"size": len(CONTENT)}}, after=CONTENT)
    run(hostile, tmp_path / "out")
    assert (tmp_path / "out/x").read_bytes() == CONTENT


def test_results_replace_links_and_do_not_follow_them(hostile: Hostile, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("holiday")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/x").symlink_to(mine)
    hostile.says("follow", result(files={"x": WRITTEN}))
    hostile.says("read", {"ok": {"size": len(CONTENT)}}, after=CONTENT)
    run(hostile, tmp_path / "out")
    assert mine.read_text() == "holiday" and not (tmp_path / "out/x").is_symlink()
    (tmp_path / "out/.x.part").symlink_to(mine)
    run(hostile, tmp_path / "out")
    assert mine.read_text() == "holiday" and files.tree(tmp_path / "out") == ["x"]


def test_an_error_of_a_job_names_files_as_they_are_called_here(hostile: Hostile, tmp_path: Path) -> None:
    image = tmp_path / "a.png"
    image.write_bytes(CONTENT)
    hostile.remote.push_files([str(image)])
    what = f"/root/files/{DIGEST} and /root/files/{'0' * 64} and {DIGEST}"
    error = {"family": "TimedOut", "what": what, "why": "", "fix": ""}
    hostile.says("follow", {"ok": {"result": {"error": error}}})
    with pytest.raises(TimedOut) as raised:
        run(hostile, tmp_path / "out")
    assert raised.value.what == f"On nano@board: {image} and /root/files/{'0' * 64} and {DIGEST}"


@pytest.mark.parametrize("missing", [{"0" * 64: 0}, {"x": 0}, {DIGEST: -1}, {DIGEST: "0"}, [DIGEST]], ids=str)
def test_only_what_was_asked_about_can_be_missing(missing: object, hostile: Hostile, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(CONTENT)
    hostile.says("missing", {"ok": {"missing": missing, "free": 10**9}})
    with pytest.raises(IntegrityError, match="nano@board sent "):
        hostile.remote.push_files([str(tmp_path / "a.png")])


def test_a_device_that_never_has_what_was_sent_is_given_up(
    hostile: Hostile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgewright.targets.remote.ATTEMPTS", 3)
    (tmp_path / "a.png").write_bytes(CONTENT)
    hostile.says("receive", {"ok": {"stored": 1}})
    turns = iter(range(10**6))  # a little less and a little more in turn: nothing comes nearer
    asked = hostile.remote.ask

    def ask(verb: str, kind: type, **arguments: Any) -> Any:
        hostile.says("missing", {"ok": {"missing": {DIGEST: next(turns) % 2}, "free": 10**9}})
        return asked(verb, kind, **arguments)

    monkeypatch.setattr(hostile.remote, "ask", ask)
    with pytest.raises(TimedOut, match="could not be sent to nano@board"):
        hostile.remote.push_files([str(tmp_path / "a.png")])


def test_many_files_are_asked_about_in_parts(hostile: Hostile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "AT_ONCE", 2)
    paths = [tmp_path / f"{n}.png" for n in range(5)]
    for path in paths:
        path.write_text(path.name)
    asked: list[int] = []
    ask = hostile.remote.ask
    monkeypatch.setattr(
        hostile.remote,
        "ask",
        lambda verb, kind, **more: (asked.append(len(more["digests"])), ask(verb, kind, **more))[1],
    )
    hostile.remote.push_files([str(path) for path in paths])
    assert asked == [2, 2, 1]
