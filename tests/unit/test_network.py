"""Addresses, interfaces and ports, on real sockets."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from accel_yolo.engine.launched import Launched
from accel_yolo.engine.network import (
    await_machine_zero,
    await_name,
    free_port,
    local_address_towards,
    port_holder,
    require_free_port,
    settle_interface,
)
from accel_yolo.errors import ConfigError, EnvironmentFault, PeerError

NAMES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
HERE = Launched(0, 2, 0, 2, 0, 1, "torchrun")
MACHINE_ZERO, MACHINE_ONE = Launched(0, 2, 0, 1, 0, 2, "torchrun"), Launched(1, 2, 0, 1, 1, 2, "torchrun")
LOOPBACK = "lo" if sys.platform == "linux" else "lo0"


@pytest.fixture(autouse=True)
def _no_interface_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMES, "MASTER_ADDR"):
        monkeypatch.setenv(name, "")  # so that what a test sets is undone
        monkeypatch.delenv(name)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that listens on 127.0.0.1."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def own_address() -> str:
    """The address of this machine towards the world; skips where it has none."""
    try:
        address = local_address_towards("192.0.2.1")
    except PeerError:
        pytest.skip("this machine has no network besides itself")
    return address


def test_processes_of_one_machine_talk_over_loopback() -> None:
    settle_interface(HERE)
    assert [os.environ[name] for name in NAMES] == [LOOPBACK, f"={LOOPBACK}"]


def test_a_process_alone_needs_no_interface() -> None:
    settle_interface(Launched())
    assert not set(NAMES) & set(os.environ)


def test_several_machines_talk_over_the_interface_that_leads_to_machine_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    address = own_address()
    monkeypatch.setenv("MASTER_ADDR", address)
    settle_interface(MACHINE_ZERO)
    chosen = os.environ[NAMES[0]]
    assert chosen in {name for _, name in socket.if_nameindex()} - {LOOPBACK}
    assert os.environ[NAMES[1]] == f"={chosen}", "exactly this one: NCCL takes a plain name for a beginning"


def test_variables_of_the_user_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "mine")
    settle_interface(HERE)
    assert [os.environ[name] for name in NAMES] == ["mine", f"={LOOPBACK}"]


def test_an_interface_asked_for_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "other")
    settle_interface(HERE, LOOPBACK)
    assert [os.environ[name] for name in NAMES] == [LOOPBACK, f"={LOOPBACK}"]


def test_an_interface_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ConfigError) as caught:
        settle_interface(HERE, "infiniband7")
    assert "no such network interface in --interface: infiniband7; this machine has" in str(caught.value)
    assert LOOPBACK in str(caught.value)


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("launched", [MACHINE_ZERO, MACHINE_ONE], ids=["machine 0", "machine 1"])
def test_loopback_cannot_be_the_address_of_machine_zero(
    address: str, launched: Launched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MASTER_ADDR", address)
    with pytest.raises(ConfigError, match="this address means every machine itself in --main-process-ip"):
        settle_interface(launched)


def test_a_name_without_an_address_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "no-such-machine.invalid")
    with pytest.raises(PeerError, match=r"the name of machine 0 has no address in the network: no-such-machine\."):
        settle_interface(MACHINE_ONE)


def test_a_name_that_appears_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a cluster, the name of a pod has no address in its first seconds."""
    asked: list[str] = []
    known = socket.getaddrinfo

    def late(host: str, *more: object, **options: object) -> object:
        asked.append(host)
        if len(asked) < 3:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return known("localhost", 0)

    monkeypatch.setattr(socket, "getaddrinfo", late)
    await_name("master-0", 30)
    assert asked == ["master-0"] * 3


def test_a_name_that_never_appears_is_one_line() -> None:
    with pytest.raises(PeerError, match=r"no address in the network: no-such-machine\.invalid; .*--connect-timeout"):
        await_name("no-such-machine.invalid", 0)


def test_a_free_port_can_be_listened_on() -> None:
    port = free_port()
    socket.create_server(("", port)).close()
    require_free_port("127.0.0.1", port, "--main-process-port")


def test_who_holds_a_port_is_found_out(listener: socket.socket) -> None:
    holder = port_holder(listener.getsockname()[1])
    assert re.fullmatch(rf"pid {os.getpid()} \(.+\)", holder)
    assert port_holder(free_port()) == ""


def test_a_busy_port_is_named_with_its_holder_and_a_free_one() -> None:
    program = (
        "import socket, sys; s = socket.create_server(('', 0)); print(s.getsockname()[1], flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        with pytest.raises(EnvironmentFault) as caught:
            require_free_port("127.0.0.1", port, "--main-process-port")
        other.kill()
    place = rf"--main-process-port: 127\.0\.0\.1:{port}"
    says = rf"the port is taken by pid {other.pid} \(python.*\) in {place}; port (\d+) is free"
    match = re.fullmatch(says, str(caught.value))
    assert match is not None, str(caught.value)
    assert int(match[1]) != port


def test_a_port_that_was_just_left_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()  # who closes first keeps the port for a minute (TIME_WAIT)
            client.recv(1)
    require_free_port("127.0.0.1", port, "--main-process-port")


def test_an_address_of_another_machine_is_noticed_on_machine_zero() -> None:
    with pytest.raises(
        PeerError, match=r"this address does not lead to this machine in machine 0: 127\.0\.0\.1\.invalid"
    ):
        require_free_port("127.0.0.1.invalid", free_port(), "--main-process-port")


def test_machine_zero_that_listens_is_met_at_once(listener: socket.socket) -> None:
    started = time.monotonic()
    await_machine_zero("127.0.0.1", listener.getsockname()[1], 10)
    assert time.monotonic() - started < 1


def test_machine_zero_may_come_late(capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    servers: list[socket.socket] = []
    timer = threading.Timer(2.6, lambda: servers.append(socket.create_server(("127.0.0.1", port))))
    timer.start()
    try:
        await_machine_zero("127.0.0.1", port, 20)
    finally:
        timer.join()
        for server in servers:
            server.close()
    err = capsys.readouterr().err
    assert err.count("note:") == 1
    assert f"waiting for machine 0 at 127.0.0.1:{port} (connection refused), at most 20 s" in err


def test_machine_zero_that_never_comes_is_one_line_after_the_stated_time() -> None:
    port, started = free_port(), time.monotonic()
    with pytest.raises(PeerError) as caught:
        await_machine_zero("127.0.0.1", port, 1)
    assert 0.7 < time.monotonic() - started < 2
    line = f"machine 0 did not answer within 1 s in the network: 127.0.0.1:{port} (connection refused); start it too"
    assert str(caught.value).startswith(line)


def test_a_wait_for_machine_zero_can_be_ended() -> None:
    """A launcher that waits for it obeys signals."""

    def tick() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        await_machine_zero("127.0.0.1", free_port(), 60, tick)
