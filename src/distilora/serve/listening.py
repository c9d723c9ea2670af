"""The socket that the server listens on: taken before anything is loaded, closed without losing anybody."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import sys

from distilora.errors import ConfigError

BACKLOG = 2048
"""Connections that may wait to be accepted."""
ACCEPTED_AT_ONCE = 64
"""Connections that the event loop accepts before it counts them."""
_OTHER_FILES = ACCEPTED_AT_ONCE + 128
"""That the process may have open beside its connections."""
_SO_ATTACH_FILTER = 26  # of Linux, see socket(7); Python's socket module does not name it


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; who connects waits until the server accepts.

    Args:
        host: an address of this machine or a name of one.
        port: 0 takes a free one.

    Raises:
        ConfigError: the address is none of this machine, or the port is taken or not allowed.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # Without the protocol's number asyncio leaves Nagle's algorithm on, and answers wait for acknowledgements.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"--host {host}: {_reason(error)}; give an address of this machine") from None
    try:
        # Connections of the last server may still be ending on this port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)  # two servers can bind one port; only one can listen
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"{shown_address(host, port)}: {_reason(error)}; choose another with --host or --port (0: a free one)"
        ) from None
    return listener


def room_for(connections: int) -> int:
    """Return how many connections there can be, as the system lets a process open only so many files.

    The limit is raised first as far as that is allowed: many systems begin with 1,024. At the limit itself nothing
    more could be accepted, nor a database be read.

    Args:
        connections: as many as are wanted.
    """
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return connections
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if allowed != resource.RLIM_INFINITY and allowed < wanted:
        allowed = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
        with contextlib.suppress(ValueError, OSError):  # a sandbox may not allow it
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))
        allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return connections
    return min(connections, max(allowed - _OTHER_FILES, allowed // 4))


def stop_new_connections(listener: socket.socket) -> None:
    """Let nobody connect any more, while those who are connected already can still be accepted.

    Closing the socket would cut off who is connected and not accepted yet. On Linux a filter that drops every packet
    makes those who come now try again, and find the next server or none; elsewhere the queue is made as short as it
    can be.
    """
    with contextlib.suppress(OSError):
        listener.listen(0)
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a sandbox may not know filters
            listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, _drop_everything())


def shown_address(host: str, port: int) -> str:
    """Return host and port as an address has them.

    Example:
        >>> shown_address("::1", 8000)
        '[::1]:8000'
    """
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class _Instruction(ctypes.Structure):
    """One instruction of a packet filter: ``struct sock_filter`` of ``linux/filter.h``."""

    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    """A packet filter: ``struct sock_fprog`` of the same file."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(_Instruction)))


_RETURN_NOTHING = _Instruction(code=0x06, k=0)  # BPF_RET | BPF_K: keep 0 bytes of the packet
_DROP = _Program(length=1, instructions=ctypes.pointer(_RETURN_NOTHING))


def _drop_everything() -> bytes:
    return bytes(_DROP)


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
