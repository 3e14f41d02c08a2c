"""How many connections go into so many open files."""

import resource
import subprocess
import sys

import pytest

from pathtap.collector.bounds import OTHER_FILES, Connections

ASKED = """
import logging
from pathtap.collector.bounds import Connections, allotted
logging.basicConfig(format="%(message)s")
given = allotted(Connections())
import resource
print(given.agents, given.people, given.certificates, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def test_where_there_are_enough_files_nobody_has_less() -> None:
    wanted = Connections(agents=5_000)
    assert wanted.within(wanted.files) == wanted


@pytest.mark.parametrize("files", [256, 1_024, 2_000])
def test_where_there_are_fewer_each_port_has_its_share(files: int) -> None:
    wanted = Connections()
    given = wanted.within(files)
    assert given.files <= files
    assert given.agents // given.people == wanted.agents // wanted.people
    assert given.people == given.certificates


def test_nobody_is_left_without_any() -> None:
    assert Connections().within(OTHER_FILES) == Connections(agents=1, people=1, certificates=1)


def asked(soft: int, hard: int) -> tuple[list[int], str]:
    argv = ["prlimit", f"--nofile={soft}:{hard}", sys.executable, "-c", ASKED]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20)
    return [int(each) for each in done.stdout.split()], done.stderr


def test_a_soft_limit_is_raised_as_far_as_the_hard_one_lets_it() -> None:
    enough = Connections().files
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= enough
    assert asked(1_024, enough) == ([2_000, 500, 500, enough], "")
    given, said = asked(256, 1_024)
    assert given == [597, 149, 149, 1_024]
    assert said == (
        f"fewer than {enough} files may be open here (RLIMIT_NOFILE): "
        "connections of agents 597, of people 149, by certificate 149\n"
    )
    assert asked(512, 512)[0][-1] == 512


ARENAS = """
import ctypes, sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from pathtap.collector.bounds import one_arena
libc, together = ctypes.CDLL(None), Barrier(4)
libc.fdopen.restype = libc.malloc.restype = ctypes.c_void_p
if sys.argv[1:]:
    one_arena()

def take(number):
    together.wait(10)
    return [libc.malloc(ctypes.c_size_t(4096)) for _ in range(1000)]

with ThreadPoolExecutor(4) as pool:
    list(pool.map(take, range(4)))
libc.malloc_info(0, ctypes.c_void_p(libc.fdopen(1, b"w")))
libc.fflush(None)
"""


@pytest.mark.parametrize("called", [True, False])
def test_all_threads_take_memory_from_one_arena(called: bool) -> None:
    """As malloc_info(3) counts them; without it there are several."""
    argv = [sys.executable, "-c", ARENAS, *(["called"] if called else [])]
    told = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20).stdout
    assert (told.count("<heap nr=") == 1) is called
    assert "<heap nr=" in told
