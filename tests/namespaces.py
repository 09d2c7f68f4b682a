"""Two machines on one: each has its own network, host name, /etc/hosts and disk; a virtual cable joins them.

They are namespaces that a waiting process holds. Nothing has a name outside of them, so runs beside each other cannot
collide, and everything is gone when the holders end, which they also do when the tests are killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

from accel_yolo.lifeline import end_with_parent

NAMES, ADDRESSES, INTERFACES = ("alpha", "beta"), ("10.77.0.1", "10.77.0.2"), ("cable0", "cable1")
HAS_TUN = os.access("/dev/net/tun", os.R_OK | os.W_OK)
_SPACES = {"net": 0x40000000, "uts": 0x04000000, "mnt": 0x00020000}  # CLONE_NEW... of linux/sched.h
_TOOLS = ("unshare", "ip", "mount", "hostname")
_HOLD = """
set -e
hostname "$1"; mount --bind "$2" "$3"; mount --bind "$4" /etc/hosts; ip link set lo up
[ ! -e /etc/resolv.conf ] || mount --bind "$5" /etc/resolv.conf
echo ready
exec cat
"""


@dataclass(frozen=True)
class Machine:
    """One of the machines.

    Attributes:
        number: from 0.
        name: host name inside.
        address: of its interface, on the cable.
        interface: name of that interface.
        holder: process that holds the namespaces.
        disk: folder inside that only this machine sees.
        folder: the same folder, seen from outside.
    """

    number: int
    name: str
    address: str
    interface: str
    holder: int
    disk: Path
    folder: Path

    def start(self, words: list[str], environment: Mapping[str, str], **options: Any) -> subprocess.Popen[str]:
        """Return a command that runs on this machine, in its disk; options are those of Popen."""
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.STDOUT)
        # Not before: inside, /proc and the disk are those of the machine.
        return subprocess.Popen(
            words, env=dict(environment), text=True, preexec_fn=lambda: enter(self.holder, self.disk), **options
        )

    def processes(self) -> list[int]:
        """Return the processes that run on this machine, without the holder."""
        found, own = [], _network_of(Path("/proc", str(self.holder)))
        for entry in Path("/proc").glob("[0-9]*"):
            if own and _network_of(entry) == own and int(entry.name) != self.holder:
                found.append(int(entry.name))
        return found

    def cable(self, state: str) -> None:
        """Plug the cable in ("up") or pull it out ("down") at this end."""
        _in(self.holder, "ip", "link", "set", self.interface, state)


def _network_of(process: Path) -> str:
    """Return the network namespace of a process in /proc; "" when it has just ended."""
    try:
        return str((process / "ns" / "net").readlink())
    except OSError:
        return ""


def enter(holder: int, folder: Path) -> None:
    """Move this process, which must have one thread, to a machine and into a folder there."""
    end_with_parent(signal.SIGKILL)
    libc = ctypes.CDLL(None, use_errno=True)
    # All are opened first: after the mount namespace has changed, /proc may be another.
    spaces = [(os.open(f"/proc/{holder}/ns/{name}", os.O_RDONLY), kind) for name, kind in _SPACES.items()]
    for descriptor, kind in spaces:
        if libc.setns(descriptor, kind) != 0:
            raise OSError(ctypes.get_errno(), "cannot enter a namespace")
        os.close(descriptor)
    os.chdir(folder)


@dataclass(frozen=True)
class Weather:
    """What a cable does to what it carries."""

    file: Path

    def turn(self, delay_ms: float = 0.0, loss_percent: float = 0.0) -> None:
        """From now on, or a fifth of a second later, delay every frame, and lose some."""
        beside = self.file.with_suffix(".new")
        beside.write_text(f"{delay_ms} {loss_percent}")
        beside.replace(self.file)


@contextlib.contextmanager
def wired_machines(root: Path) -> Iterator[tuple[tuple[Machine, Machine], Weather]]:
    """Make two machines as `two_machines` does, with a cable between them that can be slow and lossy."""
    if not HAS_TUN:
        pytest.skip("needs /dev/net/tun for a cable of its own")
    root.mkdir(parents=True, exist_ok=True)
    weather = Weather(root / "weather")
    weather.turn()
    with two_machines(root, weather) as machines:
        yield machines, weather


@contextlib.contextmanager
def two_machines(root: Path, weather: Weather | None = None) -> Iterator[tuple[Machine, Machine]]:
    """Make two machines; afterwards end what still runs on them, and remove them.

    Args:
        root: an empty folder; `root/disk` is what each machine sees as its own, `root/alpha` and `root/beta` are these
            disks seen from outside.
        weather: of the cable; without it, frames arrive at once.
    """
    require_namespaces()
    disk = root / "disk"
    disk.mkdir(parents=True)
    holders: list[subprocess.Popen[str]] = []
    made: list[Machine] = []
    try:
        for number, name in enumerate(NAMES):
            holders.append(_hold(root, number))
            made.append(
                Machine(number, name, ADDRESSES[number], INTERFACES[number], holders[-1].pid, disk, root / name)
            )
        if weather is None:
            _lay_cable(made[0], made[1])
        else:
            holders.append(_lay_slow_cable(made[0], made[1], weather))
        _plug_in(made)
        yield made[0], made[1]
    finally:
        for machine in made:
            for pid in machine.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for holder in holders:
            holder.kill()
            holder.communicate()


def require_namespaces() -> None:
    """Skip the test where namespaces cannot be made."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if sys.platform != "linux" or missing:
        pytest.skip(f"needs Linux with {', '.join(missing or _TOOLS)} to make two machines of one")
    tried = subprocess.run(["unshare", "-n", "-u", "-m", "true"], capture_output=True, text=True, check=False)
    if tried.returncode != 0:
        pytest.skip(f"namespaces are not permitted here: {tried.stderr.strip()}")


def _hold(root: Path, number: int) -> subprocess.Popen[str]:
    """Return the process that holds the namespaces of a machine; it ends when its standard input does."""
    name, folder, hosts = NAMES[number], root / NAMES[number], root / f"hosts-{NAMES[number]}"
    folder.mkdir()
    # As on many a real machine: its own name leads to loopback, the other's name to the other.
    lines = ["127.0.0.1 localhost", f"127.0.1.1 {name}"]
    # Every address has a name, and whoever asks for others gets no answer at once.
    for place, name_there in zip(
        ADDRESSES, (NAMES[n] + (".lan" if n == number else "") for n in range(2)), strict=True
    ):
        lines += [f"{place} {name_there}", f"::ffff:{place} {name_there}"]
    hosts.write_text("\n".join(lines) + "\n")
    resolver = root / f"resolv-{name}.conf"
    resolver.write_text("nameserver 127.0.0.1\n")
    files = [str(path) for path in (folder, root / "disk", hosts, resolver)]
    words = ["unshare", "-n", "-u", "-m", "sh", "-c", _HOLD, "sh", name, *files]
    holder = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if _line(holder.stdout) != "ready":
        holder.kill()
        pytest.fail(f"machine {name} could not be made: {holder.communicate()[1]}")
    return holder


def _line(stream: IO[str] | None) -> str:
    return stream.readline().strip() if stream is not None else ""


def _lay_cable(first: Machine, second: Machine) -> None:
    ends = ["name", second.interface, "netns", str(second.holder)]
    words = ["ip", "link", "add", first.interface, "netns", str(first.holder), "type", "veth", "peer", *ends]
    subprocess.run(words, check=True)


def _lay_slow_cable(first: Machine, second: Machine, weather: Weather) -> subprocess.Popen[str]:
    """Return the process that is the cable; it ends when its standard input does."""
    ends = [str(first.holder), str(second.holder), f"{first.interface},{second.interface}", str(weather.file)]
    words = [sys.executable, str(Path(__file__).with_name("wire.py")), *ends]
    cable = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if _line(cable.stdout) != "ready":
        cable.kill()
        pytest.fail(f"the cable could not be laid: {cable.communicate()[1]}")
    return cable


def _plug_in(machines: list[Machine]) -> None:
    for machine in machines:
        _in(machine.holder, "ip", "address", "add", f"{machine.address}/24", "dev", machine.interface)
        machine.cable("up")
        # A way out, that leads nowhere, as every machine has one.
        _in(machine.holder, "ip", "route", "add", "default", "dev", machine.interface)


def _in(holder: int, *words: str) -> None:
    subprocess.run(words, check=True, preexec_fn=lambda: enter(holder, Path("/")))
