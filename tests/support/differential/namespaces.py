"""Network namespaces without a name: they go when the process that made them does, however it ends.

Each process of the campaign has its own pair, so that several run beside each other and beside other tests.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

CLONE_NEWNET = 0x40000000
_LIBRARY = ctypes.CDLL(None, use_errno=True)


def unshared() -> int:
    """Moves the calling thread into a new network namespace and gives a descriptor of it. Raises OSError."""
    if _LIBRARY.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "a network namespace could not be made")
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def enter(descriptor: int) -> None:
    """Moves the calling thread. Raises OSError."""
    if _LIBRARY.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "the network namespace could not be entered")


@contextmanager
def within(descriptor: int, back: int) -> Iterator[None]:
    """Inside the one namespace, then in the other again."""
    enter(descriptor)
    try:
        yield
    finally:
        enter(back)
