"""Takes back a fault's command where somebody may have done so already: what is as it should be counts as healed.

Knows what ip(8), tc(8), nft(8), ipset(8) and iptables(8) say of what is there, or gone, already; every other failure stays one.
"""

import re
import shlex
import time
from collections.abc import Iterator, Sequence

from pathtap.lab.errors import CommandFailedError
from pathtap.lab.faults.changes import CommandChange
from pathtap.lab.kernel import command_inside

# What each says where there is nothing to delete: ip(8) in the kernel's words and its own, tc(8), nft(8).
_GONE = (
    "No such process",
    "No such file or directory",
    "Cannot find device",
    "Cannot find specified qdisc",
    "Invalid handle",
)
# iptables 1.8.9: no such rule; no such chain, of the kernel's own store and of nftables.
_NO_RULE = ("does a matching rule exist in that chain", "No chain/target/match by that name")
_NO_CHAIN = re.compile(r"Chain '\S+' does not exist")
_NO_TARGET = re.compile(r"Couldn't load target `([^']+)'")
# ipset(8): no such set; and one that a rule of nf_tables had, which lets go of it a moment after its deletion.
_NO_SET, _SET_IN_USE = "does not exist", "in use by a kernel component"
_LETTING_GO_SECONDS, _POLL_SECONDS = 3.0, 0.02
_FAILED = re.compile(r"Command failed -:(\d+)")


def heal(change: CommandChange) -> tuple[str, ...]:
    """Runs the healing command, and returns the parts of it that somebody had done before, as they would be typed.

    LabError where a part fails for any other reason; of ip(8)'s lines those behind it are carried out nonetheless.
    """
    argv, stdin = change.healed, change.healed_input
    match argv:
        case ():
            return ()
        case ("ip", "-batch", "-"):
            return _ip(change.namespace, stdin.splitlines())
        case ("ip", *words):
            return _ip(change.namespace, [" ".join(words)])
        case (program, *_) if program.startswith("iptables") and not stdin:
            return _iptables(change.namespace, argv)
        case (program, *_) if program.endswith("-restore"):
            return _restore(change.namespace, argv, stdin)
        case ("ipset", "restore"):
            return tuple(f"ipset {line}" for line in stdin.splitlines() if not _set_destroyed(change.namespace, line))
        case ("nft" | "tc", *_):
            return _deleted(change.namespace, argv, stdin)
    command_inside(change.namespace, argv, stdin=stdin)
    return ()


def _ip(namespace: str, lines: Sequence[str]) -> tuple[str, ...]:
    """All lines, whichever fail: those behind one that was done before put others in its order again."""
    try:
        command_inside(namespace, ("ip", "-force", "-batch", "-"), stdin="".join(f"{line}\n" for line in lines))
    except CommandFailedError as error:
        failed = list(_failures(error.said, lines))
        for line, said in failed:
            if not _was_done(namespace, line, said):
                raise CommandFailedError(f"ip {line}", said) from error
        return tuple(f"ip {line}" for line, _ in failed)
    return ()


def _failures(said: str, lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The lines that failed, each with what ip(8) said before it told the line's number."""
    message: list[str] = []
    for text in said.splitlines():
        if found := _FAILED.match(text):
            yield lines[int(found[1]) - 1], " ".join(message)
            message = []
        else:
            message.append(text)
    if message:
        yield lines[-1], " ".join(message)


def _was_done(namespace: str, line: str, said: str) -> bool:
    kind, verb, *words = line.split()
    if verb == "del":
        return any(text in said for text in _GONE)
    if verb != "add" or "File exists" not in said:
        return False
    # Of rules the kernel compares all; of routes the destination alone (fib_table_insert), whatever way it leads.
    return kind == "rule" or (kind == "route" and _is_route(namespace, words))


def _is_route(namespace: str, words: Sequence[str]) -> bool:
    return bool(command_inside(namespace, ("ip", "route", "show", "exact", *words)).strip())


def _iptables(namespace: str, argv: tuple[str, ...]) -> tuple[str, ...]:
    """One rule deleted, or put back at its own position, where it would else stand a second time."""
    if "-I" in argv:
        at = argv.index("-I")
        before, chain, matches = argv[:at], argv[at + 1], argv[at + 3 :]
        there = not _absent(namespace, (*before, "-C", chain, *matches))
        if there:
            command_inside(namespace, (*before, "-D", chain, *matches))
        command_inside(namespace, argv)
        return (shlex.join(argv),) if there else ()
    return (shlex.join(argv),) if _absent(namespace, argv) else ()


def _absent(namespace: str, argv: Sequence[str], chains: frozenset[str] = frozenset()) -> bool:
    """Runs iptables, and says whether the rule or chain that it names is gone. `chains` are targets that may be gone too."""
    try:
        command_inside(namespace, argv)
    except CommandFailedError as error:
        target = _NO_TARGET.search(error.said)
        if any(text in error.said for text in _NO_RULE) or _NO_CHAIN.search(error.said):
            return True
        if target and target[1] in chains:
            return True
        raise
    return False


def _restore(namespace: str, argv: tuple[str, ...], stdin: str) -> tuple[str, ...]:
    """At once; where that fails and rules and chains are only to go, each by itself."""
    try:
        command_inside(namespace, argv, stdin=stdin)
    except CommandFailedError:
        table, *lines, _ = stdin.splitlines()
        if not all(line.startswith(("-D ", "-X ")) for line in lines):
            raise
        chains = frozenset(line.split()[1] for line in lines if line.startswith("-X "))
        words = (argv[0].removesuffix("-restore"), "-w", "10", "-t", table.removeprefix("*"))
        gone = [line for line in lines if _absent(namespace, (*words, *shlex.split(line)), chains)]
        return tuple(f"{shlex.join(words)} {line}" for line in gone)
    return ()


def _set_destroyed(namespace: str, line: str) -> bool:
    """Carries out `destroy NAME`, and says whether there was such a set."""
    deadline = time.monotonic() + _LETTING_GO_SECONDS
    while True:
        try:
            command_inside(namespace, ("ipset", *line.split()))
        except CommandFailedError as error:
            if _NO_SET in error.said:
                return False
            if _SET_IN_USE not in error.said or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
        else:
            return True


def _deleted(namespace: str, argv: tuple[str, ...], stdin: str) -> tuple[str, ...]:
    typed = shlex.join(argv) if not stdin else f"nft {stdin.strip()}"
    deletes = stdin.startswith("delete ") or "del" in argv
    try:
        command_inside(namespace, argv, stdin=stdin)
    except CommandFailedError as error:
        if deletes and any(text in error.said for text in _GONE):
            return (typed,)
        raise
    return ()
