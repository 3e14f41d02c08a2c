"""The documents against the code: every finding has its section, every link leads somewhere, every command parses."""

import inspect
import re
import shlex
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import click
import pytest
from google.protobuf import json_format

from pathtap.agent.program import main as agent
from pathtap.cli.commands.lab import lab
from pathtap.cli.options import GlobalOption
from pathtap.cli.program import cli
from pathtap.cli.request import source_and_destination, source_and_perhaps_destination
from pathtap.collector import findings
from pathtap.collector.certify import command as certificate
from pathtap.collector.program import command as collector
from pathtap.forwarding import routing
from pathtap.lab.faults import FAULTS, Fault
from pathtap.model.netfilter import Backend, Random
from pathtap.model.node import Route, Rule, TcProgram
from pathtap.model.trace import Finding, RuleReference
from pathtap.v1 import service_pb2, snat_pb2, trace_pb2

ROOT = Path(__file__).parents[2]
LAB = ROOT / "docs/lab.md"
ARCHITECTURE = ROOT / "docs/architecture.md"
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + DOCS
PROGRAMS: dict[str, click.Command] = {"pathtap": cli, "pathtap-agent": agent, "pathtap-collector": collector}
MESSAGES = {
    "Trace": trace_pb2.Trace,
    "Check": trace_pb2.Check,
    "Flows": trace_pb2.Flows,
    "Snat": snat_pb2.Snat,
    "SnatTable": snat_pb2.SnatTable,
    "ListNodesResponse": service_pb2.ListNodesResponse,
}

RULE = RuleReference(backend=Backend.NFT, table="filter", chain="FORWARD", position=1, text="-j DROP")
ROUTES = [
    Route(family=4, table=254, destination=ip_network("192.0.2.0/24"), kind=kind, text="") for kind in routing.REFUSING
]
RULES = [Rule(family=4, priority=100, action=action, text="") for action in routing.REFUSING_ACTIONS]
ARGUMENTS: dict[str, list[object]] = {
    "str": ["x"],
    "int": [1],
    "bool": [True, False],
    "Proof": [()],
    "RuleReference": [RULE],
    "pathtap.model.trace.RuleReference | None": [RULE, None],
    "Route": [*ROUTES],
    "RouteKind": [*routing.REFUSING],
    "Rule": [*RULES],
    "Random": [Random.NONE, Random.RANDOM],
    "TcProgram": [TcProgram(interface="eni1", hook="ingress", kind="bpf", name="handle_egress")],
}

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
# What a shell or a sentence puts before a command line, then the line itself.
IN_A_BLOCK = re.compile(r"(?:\$ )?(?:sudo |kubectl )?(?:\.venv/bin/)?(pathtap(?:-agent|-collector)? [\w-].*)")
IN_A_SENTENCE = re.compile(r"`(?:sudo |kubectl )?(pathtap(?:-agent|-collector)? [^`]+)`")
# Notation for a choice, something optional, or more of the same: no command line but a form of one.
A_FORM = re.compile(r"[\[\]…]|\w\|\w|\.\.\.")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def produced() -> Iterator[Finding]:
    """What every constructor of the catalogue makes of every kind of argument."""
    for _, make in inspect.getmembers(findings, inspect.isfunction):
        if not make.__module__.startswith(findings.__name__) or make.__name__.startswith("_"):
            continue
        names = [
            getattr(p.annotation, "__name__", str(p.annotation)) for p in inspect.signature(make).parameters.values()
        ]
        kinds = ["Proof" if name == "Sequence" else name for name in names]
        most = max(len(ARGUMENTS[kind]) for kind in kinds)
        for number in range(most):
            yield make(*(ARGUMENTS[kind][number % len(ARGUMENTS[kind])] for kind in kinds))


def blocks(text: str) -> Iterator[str]:
    """Lines of fenced and of indented blocks, continued lines made one."""
    fenced = "\n".join(FENCE.findall(text))
    indented = "\n".join(line for line in FENCE.sub("", text).splitlines() if line.startswith("    "))
    for line in f"{fenced}\n{indented}".replace("\\\n", " ").splitlines():
        yield line.strip()


def command_lines(page: Path) -> Iterator[str]:
    text = page.read_text()
    for line in blocks(text):
        if (found := IN_A_BLOCK.match(line)) or (found := re.search(r"\$\((pathtap [^)]*)\)", line)):
            yield found[1]
    for found in IN_A_SENTENCE.finditer(FENCE.sub("", text)):
        yield found[1]


def headings(page: Path) -> set[str]:
    """As GitHub makes fragments of them: lower case, without punctuation, blanks as hyphens."""
    found = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


def words_of(line: str) -> list[str]:
    """Without the comment behind it, a pipe's next command, a redirection."""
    words = shlex.split(line, comments=True)
    ends = [words.index(stop) for stop in ("|", ">", "&") if stop in words]
    return words[: min(ends, default=len(words))]


def parse(command: click.Command, name: str, arguments: list[str], parent: click.Context | None = None) -> None:
    """Raises click.UsageError. Runs no command."""
    if isinstance(command, click.Group) and not arguments:
        return
    with command.make_context(name, arguments, parent=parent) as context:
        if isinstance(command, click.Group):
            inner, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
            assert found is not None
            parse(found, inner or "", rest, context)
        elif name == "trace" and context.params["words"]:
            source_and_destination(context.params["words"])
        elif name == "snat" and context.params["words"]:
            source_and_perhaps_destination(context.params["words"], "snat")


def program_of(name: str, words: list[str]) -> tuple[click.Command, str, list[str]]:
    """The collector's `certificate` is a program of its own."""
    if [name, *words[:1]] == ["pathtap-collector", "certificate"]:
        return certificate, f"{name} {words[0]}", words[1:]
    return PROGRAMS[name], name, words


def described(command: click.Command, words: list[str]) -> tuple[click.Command, set[str]]:
    """The command that a form is of, and every option that it may have."""
    for word in words:
        if not isinstance(command, click.Group) or not word.isalpha():
            break
        _, found, _ = command.resolve_command(click.Context(command), [word])
        assert found is not None
        command = found
    options = {
        name for parameter in (*command.params, *cli.params) for name in (*parameter.opts, *parameter.secondary_opts)
    }
    return command, options


def test_every_finding_has_its_section_and_no_other_has_one() -> None:
    sections = re.findall(r"^## (.+)$", (ROOT / "docs/findings.md").read_text(), re.MULTILINE)
    assert sections == sorted({finding.code for finding in produced()})


def test_every_section_says_what_proves_it_and_how_to_mend_it() -> None:
    for section in (ROOT / "docs/findings.md").read_text().split("\n## ")[1:]:
        for part in ("* **Means:**", "* **Proof:**", "* **Mend:**", "* **Lab"):
            assert part in section, f"{section.splitlines()[0]} lacks {part}"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_sections_of_what_finds_a_fault_name_it(fault: Fault) -> None:
    sections = (ROOT / "docs/findings.md").read_text().split("\n## ")[1:]
    labs = {section.splitlines()[0]: section.partition("* **Lab")[2] for section in sections}
    for code in (*fault.traced_as, *fault.checked_as):
        assert f"`{fault.name}`" in labs[code], f"{code} does not name {fault.name}"


@pytest.mark.parametrize(
    ("paragraph", "package"),
    [
        ("Agent", "agent/pathtap/agent"),
        ("Collector", "collector/pathtap/collector"),
        ("CLI", "cli/pathtap/cli"),
        ("Forwarding", "model/pathtap/forwarding"),
        ("Lab", "lab/pathtap/lab"),
    ],
)
def test_the_architecture_names_every_module_once(paragraph: str, package: str) -> None:
    (text,) = re.findall(rf"^\*\*{paragraph}\.\*\*.*?\n\n", ARCHITECTURE.read_text(), re.MULTILINE | re.DOTALL)
    named = re.findall(r"`(\w+)`", text)
    modules = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__", "__main__"}
    assert {module: named.count(module) for module in modules} == dict.fromkeys(modules, 1)


def test_the_labs_page_tells_what_finds_each_fault() -> None:
    rows = re.findall(r"^\| ([a-z-]+) \|.*\| ([A-Z_, ]+) \| ([A-Z_, ]*|the same) ?\|$", LAB.read_text(), re.MULTILINE)
    told = {name: (traced, traced if checked == "the same" else checked.strip()) for name, traced, checked in rows}
    assert told == {each.name: (", ".join(each.traced_as), ", ".join(each.checked_as)) for each in FAULTS}


def test_the_labs_page_names_every_option_of_up() -> None:
    (table,) = re.findall(r"^\| option of `lab up`.*?\n\n", LAB.read_text(), re.MULTILINE | re.DOTALL)
    options = [each for each in lab.commands["up"].params if isinstance(each, click.Option)]
    own = [each for each in options if not isinstance(each, GlobalOption)]
    assert [each.name for each in own if not any(name in table for name in (*each.opts, *each.secondary_opts))] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_to_a_file_and_a_heading_of_it(page: Path) -> None:
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if "://" in link:
            continue
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), f"{name_of(page)} links {link}"
        assert not heading or heading in headings(target), f"{name_of(page)} links {link}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_line_parses(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ca.pem").touch()
    for line in command_lines(page):
        if A_FORM.search(line):
            words = line.split()
            _, options = described(PROGRAMS[words[0]], words[1:])
            unknown = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", line)) - options
            assert not unknown, f"{name_of(page)}: {line}"
            continue
        program, *arguments = words_of(line)
        try:
            parse(*program_of(program, arguments))
        except click.exceptions.Exit:
            continue
        except click.UsageError as error:
            pytest.fail(f"{name_of(page)}: {line}: {error.format_message()}")


def test_command_lines_are_found_at_all() -> None:
    assert len([line for page in PAGES for line in command_lines(page)]) > 40


def test_the_json_examples_are_messages() -> None:
    examples = re.findall(r"^```json (\w+)\n(.*?)^```", (ROOT / "docs/json.md").read_text(), re.MULTILINE | re.DOTALL)
    assert {kind for kind, _ in examples} == set(MESSAGES)
    for kind, example in examples:
        json_format.Parse(example, MESSAGES[kind]())
