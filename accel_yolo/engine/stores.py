"""Stores of torch: where the processes and the launchers of a run leave word for each other."""

from __future__ import annotations

import datetime
import socket
from typing import Any

from torch.distributed import PrefixStore, TCPStore  # pyright: ignore[reportPrivateImportUsage]


def open_store(address: str, port: int) -> Any:
    """Return a new store that this process serves: on all addresses, or on one port of 127.0.0.1 that is free.

    Args:
        address: of this machine; "" for a run of this machine alone, whose store nobody else can reach.
        port: 0 takes a free one.

    Raises:
        OSError, RuntimeError: the port is taken.
    """
    wait = datetime.timedelta(seconds=30)
    if address:
        return TCPStore("127.0.0.1", port, None, True, wait, wait_for_workers=False)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen(socket.SOMAXCONN)
        port = listener.getsockname()[1]
        number = listener.detach()
    return TCPStore("127.0.0.1", port, None, True, wait, wait_for_workers=False, master_listen_fd=number)


def client_of(address: str, port: int, timeout_s: float) -> Any:
    """Return a connection of our own to the store at an address. Raises RuntimeError."""
    wait = datetime.timedelta(seconds=timeout_s)
    return TCPStore(address, port, None, False, wait, wait_for_workers=False)


def with_prefix(prefix: str, store: Any) -> Any:
    """Return a store whose keys are those of another one that begin with `prefix`."""
    return PrefixStore(prefix, store)
