"""Addresses, interfaces and ports: how the processes of a run find each other."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable

import psutil

from accel_yolo import console
from accel_yolo.engine.launched import Launched
from accel_yolo.errors import ConfigError, EnvironmentFault, PeerError, did_you_mean

# NCCL takes a plain name for the beginning of one: eth1 would stand for eth10 too.
_BACKENDS = {"GLOO_SOCKET_IFNAME": "", "NCCL_SOCKET_IFNAME": "="}
_TRY_S, _PAUSE_S, _SILENT_S = 2.0, 0.2, 2.0
# Any address beyond this network: nothing is sent to it, it only makes the kernel choose a way out (RFC 5737).
_ELSEWHERE = "192.0.2.1"


def settle_interface(launched: Launched, wanted: str = "") -> None:
    """Choose the network interface of gloo and NCCL, unless their own variables say it.

    Left alone, gloo tells the others the address that this machine's name stands for, which is often 127.0.0.1: then
    the other machines wait for somebody who is not there.

    Args:
        launched: who this process is; on one machine the loopback interface is taken.
        wanted: an interface that the user names; "" takes the one that leads to machine 0.

    Raises:
        ConfigError: there is no such interface, or the address of machine 0 is one that each machine has for itself.
        PeerError: machine 0 has no address, or no interface leads there.
    """
    if launched.size == 1 and not wanted:
        return
    if wanted:
        known = [name for _, name in socket.if_nameindex()]
        if wanted not in known:
            remedy = did_you_mean(wanted, known) or f"this machine has {', '.join(known)}"
            raise ConfigError("no such network interface", "--interface", wanted, remedy)
        for name, exactly in _BACKENDS.items():
            os.environ[name] = exactly + wanted
        return
    if all(name in os.environ for name in _BACKENDS):
        return
    local = "127.0.0.1" if launched.machines == 1 else _address_of_this_machine(launched)
    interface = _interface_of(local)
    if interface:
        for name, exactly in _BACKENDS.items():
            os.environ.setdefault(name, exactly + interface)


def await_name(host: str, timeout_s: float) -> None:
    """Wait until the name of machine 0 has an address: in a cluster, names appear some seconds after processes.

    Raises:
        PeerError: it has none after `timeout_s` seconds.
    """
    end_s = time.monotonic() + timeout_s
    while True:
        try:
            socket.getaddrinfo(host, None)
            return
        except socket.gaierror as error:
            if time.monotonic() >= end_s:
                remedy = "check the name, or raise --connect-timeout"
                raise PeerError("the name of machine 0 has no address", "the network", host, remedy) from error
        time.sleep(_PAUSE_S)


def local_address_towards(host: str) -> str:
    """Return the address of this machine from which traffic to `host` would leave; nothing is sent.

    Raises:
        PeerError: `host` has no address, or nothing leads there.
    """
    remedy = "check the address, and that this machine is in the same network"
    try:
        # A UDP socket that "connects" only asks the routing table. The port is of no importance.
        family, kind, protocol, _, target = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(target)
            return probe.getsockname()[0]
    except socket.gaierror as error:
        raise PeerError("the name of machine 0 has no address", "the network", host, remedy) from error
    except OSError as error:
        raise PeerError("nothing leads to machine 0", "the network", f"{host} ({error.strerror})", remedy) from error


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return probe.getsockname()[1]


def port_holder(port: int) -> str:
    """Return who listens on a TCP port of this machine, "pid 123 (python)"; "" when that cannot be found out."""
    # Processes end while one looks, and some systems show only one's own.
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            is_it = connection.status == psutil.CONN_LISTEN and getattr(connection.laddr, "port", 0) == port
            if is_it and connection.pid is not None:
                return f"pid {connection.pid} ({psutil.Process(connection.pid).name()})"
    return ""


def require_free_port(address: str, port: int, flag: str) -> None:
    """Make sure that this machine, machine 0, can be met at `address` and `port`.

    Raises:
        EnvironmentFault: somebody listens there already (named, with a port that is free), or it is not allowed.
        PeerError: the address does not lead to this machine.
    """
    place = f"{address}:{port}"
    with contextlib.ExitStack() as sockets:
        try:
            for family in (socket.AF_INET, socket.AF_INET6):
                listener = _listener(family, port)
                if listener is not None:
                    sockets.enter_context(listener)
        except OSError as error:
            holder = port_holder(port)
            what = f"the port is taken by {holder}" if holder else f"the port cannot be opened ({error.strerror})"
            raise EnvironmentFault(what, flag, place, f"port {free_port()} is free") from error
        try:
            socket.create_connection((address, port), _TRY_S).close()
        except OSError as error:
            here = local_address_towards(_ELSEWHERE) if _has_way_out() else "unknown"
            what, remedy = "this address does not lead to this machine", f"its address may be {here}"
            raise PeerError(what, "machine 0", f"{place} ({_reason(error)})", remedy) from error


def await_machine_zero(address: str, port: int, timeout_s: float, tick: Callable[[], None] = lambda: None) -> None:
    """Wait until machine 0 answers at `address` and `port`; after some silence, say once that it waits.

    Args:
        address: of machine 0.
        port: of its store.
        timeout_s: how long.
        tick: called again and again meanwhile; it may end the wait with an exception.

    Raises:
        PeerError: it did not within `timeout_s` seconds.
    """
    place, started_s, noted = f"{address}:{port}", time.monotonic(), False
    while True:
        tick()
        left_s = started_s + timeout_s - time.monotonic()
        try:
            socket.create_connection((address, port), max(min(_TRY_S, left_s), 0.1)).close()
            return
        except OSError as error:
            reason = _reason(error)
            if time.monotonic() + _PAUSE_S >= started_s + timeout_s:
                what = f"machine 0 did not answer within {timeout_s:g} s"
                remedy = "start it too, check address, port and firewall, or raise --connect-timeout"
                raise PeerError(what, "the network", f"{place} ({reason})", remedy) from error
        if not noted and time.monotonic() - started_s > _SILENT_S:
            console.note(f"waiting for machine 0 at {place} ({reason}), at most {timeout_s:g} s")
            noted = True
        time.sleep(_PAUSE_S)


def answers(address: str, port: int) -> bool:
    """Return whether a machine answers at all: a refusal is an answer."""
    try:
        socket.create_connection((address, port), _TRY_S / 2).close()
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return True


def listens(address: str, port: int) -> bool:
    """Return whether somebody takes connections at an address."""
    try:
        socket.create_connection((address, port), _TRY_S / 2).close()
    except OSError:
        return False
    return True


def _address_of_this_machine(launched: Launched) -> str:
    """Return the address of this machine in the network that leads to machine 0."""
    host = os.environ["MASTER_ADDR"]
    local = local_address_towards(host)
    if not _is_loopback(local):
        return local
    # Many a machine knows its own name as 127.0.1.1: there it is right for machine 0, and no use for the others.
    if launched.machine > 0 or host == "localhost" or _is_loopback(host) or not _has_way_out():
        remedy = "give the address under which the other machines reach machine 0"
        raise ConfigError("this address means every machine itself", "--main-process-ip", host, remedy)
    return local_address_towards(_ELSEWHERE)


def _is_loopback(address: str) -> bool:
    return address.startswith("127.") or address == "::1"


def _has_way_out() -> bool:
    try:
        local_address_towards(_ELSEWHERE)
    except PeerError:
        return False
    return True


def _listener(family: socket.AddressFamily, port: int) -> socket.socket | None:
    """Return a socket that listens on a port of all addresses; None where the machine lacks this kind of address."""
    try:
        listener = socket.socket(family)
    except OSError:
        return None
    try:
        # Connections of a run that has just ended do not count.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(("", port))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def _reason(error: OSError) -> str:
    return "no answer" if isinstance(error, TimeoutError) else str(error.strerror or error).lower()


def _interface_of(address: str) -> str:
    """Return the name of the interface that has an address; "" when none has."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(known.address.partition("%")[0] == address for known in addresses):
            return name
    return ""
