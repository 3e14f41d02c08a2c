"""A running lab for tests, and the command line on it as a person runs it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pathtap.lab.breaking import break_lab, heal_lab
from pathtap.lab.build import LabOptions, build, tear_down
from pathtap.lab.processes import start
from pathtap.lab.state import StateDirectory
from pathtap.lab.topology import Cluster


@dataclass(frozen=True)
class Answer:
    exit_code: int
    output: str
    errors: str

    @property
    def json(self) -> Any:
        return json.loads(self.output)


@dataclass(frozen=True)
class Bench:
    """A lab with collector and agents. `run` is the command line in a process of its own, `trace` its JSON."""

    cluster: Cluster
    prefix: str

    @property
    def collector(self) -> str:
        return f"unix:{StateDirectory(self.prefix).socket}"

    def start(self, *words: str) -> "subprocess.Popen[str]":
        environment = {**os.environ, "PATHTAP_COLLECTOR": self.collector, "NO_COLOR": "1"}
        argv = [sys.executable, "-m", "pathtap.cli", *words]
        return subprocess.Popen(
            argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )

    def run(self, *words: str, timeout: float = 30) -> Answer:
        return finish(self.start(*words), timeout)

    def trace(self, *words: str) -> Any:
        return _document(self.run("trace", *words, "-o", "json"))

    def check(self, *nodes: str) -> Any:
        return _document(self.run("check", *nodes, "-o", "json"))

    def snat(self, *words: str, timeout: float = 30) -> Any:
        return _document(self.run("snat", *words, "-o", "json", timeout=timeout))

    @contextmanager
    def checking(self) -> Iterator[Callable[[], Any]]:
        """A check beside what the block does; calling what it gives waits for the answer."""
        process = self.start("check", "-o", "json")
        answers: list[Answer] = []

        def answer() -> Any:
            return _document(answers[0])

        try:
            yield answer
        finally:
            answers.append(finish(process))

    @contextmanager
    def broken(self, *faults: str) -> Iterator[None]:
        """In force in this order, and healed in the same."""
        made: list[str] = []
        try:
            for fault in faults:
                break_lab(self.prefix, fault)
                made.append(fault)
            yield
        finally:
            for fault in made:
                heal_lab(self.prefix, fault)


def _document(answer: Answer) -> Any:
    """The JSON with the exit code beside it."""
    assert answer.output, answer.errors
    document = answer.json
    document["exit_code"] = answer.exit_code
    return document


def finish(process: "subprocess.Popen[str]", timeout: float = 30) -> Answer:
    output, errors = process.communicate(timeout=timeout)
    assert "Traceback" not in output + errors, output + errors
    return Answer(process.returncode, output, errors)


@contextmanager
def running(options: LabOptions) -> Iterator[Bench]:
    try:
        cluster = build(options)
        start(cluster)
        yield Bench(cluster=cluster, prefix=options.prefix)
    finally:
        tear_down(options.prefix)
