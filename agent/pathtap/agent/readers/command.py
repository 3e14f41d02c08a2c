"""Runs one of the node's own tools and hands back what it printed. Uses no shell and takes no input."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from time import monotonic

# An iptables tool that waits for the xtables lock, or an nft that waits for the kernel's, is given up after this.
SECONDS = 2.0
# One that prints a whole store: iptables-nft-save takes 2.1 s for 50,000 rules in 20,000 chains on an idle node, more on a
# busy one. The collector waits a second longer for a snapshot.
SAVE_SECONDS = 12.0

_LAST_WORDS = 200


class CommandError(OSError):
    """A tool could not be run or did not succeed; the message is a sentence."""


def run(argv: Sequence[str], seconds: float = SECONDS, environment: Mapping[str, str] | None = None) -> str:
    """Standard output, with bytes that are not UTF-8 escaped. Raises CommandError."""
    tool = argv[0].rpartition("/")[2]
    try:
        # A file in memory takes megabytes without waiting for a reader; a pipe holds 64 kB.
        with os.fdopen(os.memfd_create(tool), "rb") as printed:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.PIPE,
                timeout=seconds,
                env=environment,
            )
            printed.seek(0)
            output = printed.read()
    except FileNotFoundError as error:
        raise CommandError(f"{tool} is not installed") from error
    except PermissionError as error:
        raise CommandError(f"{tool} may not be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{tool} did not answer within {round(seconds, 1):g} s") from error
    if done.returncode != 0:
        words = " ".join(done.stderr.decode(errors="backslashreplace").split())[-_LAST_WORDS:]
        end = f"was ended by signal {-done.returncode}" if done.returncode < 0 else f"failed ({done.returncode})"
        raise CommandError(f"{tool} {end}: {words}" if words else f"{tool} {end}")
    return output.decode(errors="backslashreplace")


class Budget:
    """So many seconds for several commands, one after another."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = monotonic() + seconds

    def run(self, argv: Sequence[str]) -> str:
        """As the function `run`, within what is left. Raises CommandError, at once where nothing is."""
        left = self._until - monotonic()
        if left <= 0:
            raise CommandError(f"{argv[0]} was not asked: the {self._seconds:g} s for this store were over")
        return run(argv, left)
