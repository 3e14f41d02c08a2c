import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from pathtap.lab.kernel import MARK
from pathtap.lab.procfs import ROLE, alive, end, marked, roles

PREFIX = f"u{os.getpid()}"
# Ignores SIGTERM once it has said so, so that only SIGKILL ends it.
STUBBORN = "import signal,sys,time; signal.signal(15, 1); print(flush=True); time.sleep(60)"
WILLING = "import time; print(flush=True); time.sleep(60)"
# Ends what it started when it is ended itself: both have the same environment.
PARENT = (
    "import signal,subprocess,sys; own = subprocess.Popen(['sleep', '60']); "
    "signal.signal(15, lambda *_: (own.kill(), sys.exit())); print(flush=True); own.wait()"
)


@pytest.fixture
def child(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, MARK: PREFIX, ROLE: "collector"}
    command = [sys.executable, "-c", request.param]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


@pytest.mark.parametrize("child", [WILLING], indirect=True)
def test_a_process_is_found_by_its_environment(child: subprocess.Popen[bytes]) -> None:
    assert marked(PREFIX) == [child.pid]
    assert roles(PREFIX) == {"collector": child.pid}
    assert marked(PREFIX[:-1]) == []


@pytest.mark.parametrize("child", [PARENT], indirect=True)
def test_what_a_process_started_does_not_stand_for_it(child: subprocess.Popen[bytes]) -> None:
    assert len(marked(PREFIX)) == 2
    assert roles(PREFIX) == {"collector": child.pid}
    assert end(lambda: roles(PREFIX).values())
    assert marked(PREFIX) == []


@pytest.mark.parametrize("child", [WILLING, STUBBORN], indirect=True, ids=["willing", "stubborn"])
def test_a_process_is_ended_whether_it_wants_or_not(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pathtap.lab.procfs._TERM_SECONDS", 0.1)
    assert end(lambda: marked(PREFIX))
    assert not alive(child.pid)
    assert not end(lambda: marked(PREFIX))


def test_nobody_ends_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from pathtap.lab.procfs import marked; print(marked('myself'))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, MARK: "myself"}, capture_output=True, check=True
    )
    assert done.stdout == b"[]\n"
