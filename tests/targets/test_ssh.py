"""Reaching a device: what OpenSSH says when it fails becomes one clear error, and nothing unsafe is tried instead."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from loopback import Sshd, free_port

from edgewright.core.errors import IntegrityError, InvalidInput, RuntimeFailed, UsageError
from edgewright.targets import answers, ssh
from edgewright.targets.remote import Device, clean
from edgewright.targets.ssh import Address, Lost, Unreachable, parse


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("jetson.local", Address(host="jetson.local")),
        ("nano@10.0.0.7", Address(host="10.0.0.7", user="nano")),
        ("nano@orin:2222", Address(host="orin", user="nano", port=2222)),
        ("ssh://nano@orin:2222", Address(host="orin", user="nano", port=2222)),
        ("nano@[fe80::1%eth0]:22", Address(host="fe80::1%eth0", user="nano", port=22)),
    ],
)
def test_addresses_are_read(text: str, address: Address) -> None:
    assert parse(text) == address
    assert parse(str(address)) == address


@pytest.mark.parametrize(
    "text",
    ["", "-oProxyCommand=sh", "a@-oProxyCommand=sh", "host:0", "host:99999", "a b", "a@b@c", "host;reboot", "$(id)"],
)  # fmt: skip
def test_what_is_no_address_is_refused_before_ssh_sees_it(text: str) -> None:
    with pytest.raises(UsageError, match="not the address"):
        parse(text)


def ask(address: str, **more: object) -> None:
    clean(Device(address=address, **{"python": sys.executable, "patience_s": 2.0, "folder": "~/no-such", **more}))  # type: ignore[arg-type]


def test_it_answers(sshd: Sshd) -> None:
    ask(sshd.address)


def test_an_unknown_host_key_is_refused_with_what_to_compare(sshd: Sshd) -> None:
    (sshd.folder / "known_hosts").write_text("")
    with pytest.raises(IntegrityError, match="is not known") as error:
        ask(sshd.address)
    assert f"ssh -p {sshd.port} {sshd.user}@127.0.0.1" in error.value.fix
    assert (sshd.folder / "known_hosts").read_text() == "", "nothing was accepted on the way"


def test_a_wrong_host_key_stops_everything(sshd: Sshd) -> None:
    sshd.trust(sshd.folder / "stranger.pub", sshd.port)
    with pytest.raises(IntegrityError, match=r"has changed to SHA256:\S+\.") as error:
        ask(sshd.address)
    assert f"ssh-keygen -R '[127.0.0.1]:{sshd.port}'" in error.value.fix
    assert error.value.exit_code == 4


def test_a_refused_key_and_a_wrong_user_are_told(sshd: Sshd) -> None:
    config = sshd.folder / "config"
    with pytest.raises(Unreachable, match=r"refused the login of nobody-here\."):
        ask(f"nobody-here@127.0.0.1:{sshd.port}")
    config.write_text(config.read_text().replace("/id\n", "/stranger\n"))
    with pytest.raises(Unreachable, match="refused the login") as error:
        ask(sshd.address)
    assert "ssh-copy-id" in error.value.fix and error.value.exit_code == 5
    ask(sshd.address, identity=str(sshd.folder / "id"))  # --identity is tried first


def test_an_identity_that_is_not_there_is_named(sshd: Sshd) -> None:
    with pytest.raises(InvalidInput, match="does not exist"):
        ask(sshd.address, identity="/nowhere/key")


def test_nobody_listens(sshd: Sshd) -> None:
    with pytest.raises(Unreachable, match="refuses connections"):
        ask(f"x@127.0.0.1:{free_port()}")


def test_a_host_that_takes_the_call_and_says_nothing(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ssh.OPTIONS, "ConnectTimeout", 1)
    with socket.create_server(("127.0.0.1", 0)) as deaf, pytest.raises(Unreachable, match="does not answer"):
        ask(f"x@127.0.0.1:{deaf.getsockname()[1]}")


def test_an_unreachable_network_and_an_unknown_name() -> None:
    said = "ssh: connect to host 192.0.2.1 port 22: {}\r\n"
    for words in ("No route to host", "Network is unreachable", "Connection timed out"):
        error, _ = ssh.explain(said.format(words), parse("nano@192.0.2.1"))
        assert isinstance(error, Unreachable) and "nano@192.0.2.1 does not answer" in error.what
    with pytest.raises(Unreachable, match=r"The host name 'no-such-host\.invalid' is not known"):
        ask("nano@no-such-host.invalid")


def test_a_connection_that_does_not_come_back_is_lost(sshd: Sshd) -> None:
    with Sshd(_sub(sshd, "second")).serving() as other:
        sshd.trust(other.folder / "host.pub", other.port)
        (sshd.folder / "config").write_text((sshd.folder / "config").read_text().replace("/id\n", "/second/id\n"))
        connection = ssh.Connection(parse(other.address), python=sys.executable, patience_s=0.5)
        with connection:
            connection.ask("clean", answers.Cleaned, root="~/no-such")
            other._process.kill()  # type: ignore[union-attr]
            other._process.wait()  # type: ignore[union-attr]
            goodbye = [*connection._ssh("-O", "exit"), "--", connection.address.host]
            subprocess.run(goodbye, capture_output=True)  # sessions outlive the listener
            with pytest.raises(Lost, match=r"did not come back within 0\.5 s") as error:
                connection.ask("clean", answers.Cleaned, root="~/no-such")
    assert error.value.exit_code == 7


def test_a_device_without_python_and_one_with_an_old_one(sshd: Sshd, tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"has no program '/no/python 3'") as error:
        ask(sshd.address, python="/no/python 3")
    assert "--python" in error.value.fix
    old = tmp_path / "old python"
    old.write_text("#!/bin/sh\necho 'edgewright: python 3.8.10' >&2\nexit 1\n")  # as BOOT ends there
    old.chmod(0o755)
    with pytest.raises(Unreachable, match=r"is Python 3\.8\.10"):
        ask(sshd.address, python=str(old))


@pytest.mark.parametrize("call", [1, 2])
def test_a_session_that_ends_early_without_a_word_is_tried_again_once_python_answered(
    sshd: Sshd, tmp_path: Path, call: int
) -> None:
    program, calls = tmp_path / "python", tmp_path / "calls"
    program.write_text(
        f'#!/bin/sh\necho x >> {calls}\n[ $(wc -l < {calls}) = {call} ] && exit 0\nexec {sys.executable} "$@"\n'
    )
    program.chmod(0o755)
    with ssh.Connection(parse(sshd.address), python=str(program), patience_s=5.0) as connection:
        if call == 1:
            with pytest.raises(RuntimeFailed, match="ended with exit code 0"):
                connection.ask("clean", answers.Cleaned, root="~/no-such")
        else:
            connection.ask("clean", answers.Cleaned, root="~/no-such")
            connection.ask("clean", answers.Cleaned, root="~/no-such")
    assert calls.read_text().count("x") == {1: 1, 2: 3}[call]


def test_what_a_login_script_prints_is_no_answer(sshd: Sshd) -> None:
    with Sshd(_sub(sshd, "loud")).serving('ForceCommand echo welcome; echo; eval "$SSH_ORIGINAL_COMMAND"') as loud:
        sshd.trust(loud.folder / "host.pub", loud.port)
        ask(loud.address, identity=str(loud.folder / "id"))


def _sub(sshd: Sshd, name: str) -> Path:
    (sshd.folder / name).mkdir()
    return sshd.folder / name
