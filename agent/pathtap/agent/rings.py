"""Several rings at once. The kernel lets each opening and each closing wait until no processor can still hold the old state
(synchronize_net, net/packet/af_packet.c: ten milliseconds and more), so they wait together."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from pathtap.agent.ring import Ring, RingSize

# Threads, for a moment.
AT_ONCE = 16


def open_rings(interfaces: Sequence[str], size: RingSize) -> tuple[Ring | OSError, ...]:
    """For each interface its deaf ring, or why it cannot be opened. What else is raised leaves none open.

    New threads are in the network namespace of the calling one.
    """
    if not interfaces:
        return ()
    opening: list[Future[Ring]] = []
    try:
        with ThreadPoolExecutor(min(AT_ONCE, len(interfaces))) as pool:
            for name in interfaces:
                opening.append(pool.submit(Ring, name, size))
        return tuple(_ring_or_error(each) for each in opening)
    except BaseException:
        close_rings([each.result() for each in opening if each.exception() is None])
        raise


def close_rings(rings: Sequence[Ring]) -> None:
    """Also where no thread can be had any more."""
    closing: list[threading.Thread] = []
    for ring in rings[1:]:
        thread = threading.Thread(target=ring.close)
        try:
            thread.start()
        except RuntimeError:
            ring.close()
        else:
            closing.append(thread)
    for ring in rings[:1]:
        ring.close()
    for thread in closing:
        thread.join()


def _ring_or_error(opening: Future[Ring]) -> Ring | OSError:
    try:
        return opening.result()
    except OSError as error:
        return error
