"""What a process may ask of the kernel for itself (prctl(2)): to die with its parent, and how exact its timers are."""

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_TIMERSLACK = 29


def die_with_parent() -> None:
    """The kernel kills this process when the thread that started it ends. Raises OSError."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def set_timer_slack(seconds: float) -> None:
    """How late the kernel may wake the calling thread from a sleep, or a wait with a time-out, to do it together with others.

    Threads and processes that it starts from now on inherit it. What wakes a thread earlier is never late. Raises OSError.
    """
    _prctl(_PR_SET_TIMERSLACK, round(seconds * 1_000_000_000))


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")
