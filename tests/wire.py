"""A cable between two machines that delays and loses: this process carries frames between a TAP device in each.

`tc netem` would do it, where the kernel has it. Started by `namespaces.wired_machines`.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import sys
import time
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000  # linux/if_tun.h
_FRAME_BYTES = 65536
_AT_ONCE = 64
_LOOK_S = 0.2


def main(first: str, second: str, interfaces: str, weather: str) -> None:
    """Carry frames until standard input ends.

    Args:
        first: process whose network namespace holds one end.
        second: of the other end.
        interfaces: their names, with a comma between.
        weather: a file with the delay in milliseconds and the share of frames that is lost, in percent; it is read
            again when it changes.
    """
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    ends = [_tap(pid, name) for pid, name in zip((first, second), interfaces.split(","), strict=True)]
    _enter(home)
    print("ready", flush=True)
    _carry(ends, Path(weather))


def _enter(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "cannot enter a network namespace")
    os.close(descriptor)


def _tap(pid: str, name: str) -> int:
    _enter(os.open(f"/proc/{pid}/ns/net", os.O_RDONLY))
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TAP | _IFF_NO_PI))
    return device


def _carry(ends: list[int], weather: Path) -> None:
    on_the_way: list[tuple[float, int, int, bytes]] = []
    rng, number, look_at, delay_s, loss = random.Random(0), 0, 0.0, 0.0, 0.0
    across = dict(zip(ends, reversed(ends), strict=True))
    while True:
        now = time.monotonic()
        if now >= look_at:
            look_at = now + _LOOK_S
            delay_ms, percent = map(float, weather.read_text().split())
            delay_s, loss = delay_ms / 1000, percent / 100
        while on_the_way and on_the_way[0][0] <= now:
            _, _, end, frame = heapq.heappop(on_the_way)
            _write(end, frame)
        patience = min(_LOOK_S, max(on_the_way[0][0] - now, 0)) if on_the_way else _LOOK_S
        readable, _, _ = select.select([*ends, 0], [], [], patience)
        if 0 in readable:
            return
        for end in readable:
            for frame in _frames(end):
                if rng.random() >= loss:
                    number += 1
                    heapq.heappush(on_the_way, (time.monotonic() + delay_s, number, across[end], frame))


def _frames(end: int) -> list[bytes]:
    found: list[bytes] = []
    with contextlib.suppress(OSError):  # there are no more, or this end is unplugged
        while len(found) < _AT_ONCE:
            found.append(os.read(end, _FRAME_BYTES))
    return found


def _write(end: int, frame: bytes) -> None:
    with contextlib.suppress(OSError):  # that end is unplugged: what arrives there is lost
        os.write(end, frame)


if __name__ == "__main__":
    main(*sys.argv[1:])
