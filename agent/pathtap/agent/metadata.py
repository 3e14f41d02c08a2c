"""Asks the two services that know the node's ENIs, beside each other, and keeps what they said as long as it holds.

What a silent service costs is waited for once: its silence is remembered as an answer is. A refusal is not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from pathtap.agent.readers import imds, ipamd, settings
from pathtap.agent.readers.enis import Eni, merge
from pathtap.agent.reading import attempt, kept
from pathtap.agent.worker import begin
from pathtap.model.address import Network
from pathtap.model.node import CniSettings, Unread

Value = TypeVar("Value")

# Attaching an ENI takes AWS longer than this.
_AGE = 30 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """`settings` is None where ipamd did not tell, `vpc_networks` is empty where IMDS did not."""

    enis: tuple[Eni, ...]
    settings: CniSettings | None
    vpc_networks: tuple[Network, ...]
    unread: tuple[Unread, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _FromImds:
    enis: tuple[Eni, ...] = ()
    vpc_networks: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _FromIpamd:
    enis: tuple[Eni, ...] = ()
    settings: CniSettings | None = None
    unread: tuple[Unread, ...] = ()


class MetadataReader:
    """What IMDS said holds for 30 s, what ipamd says is asked each time. Not for several threads at once."""

    def __init__(self) -> None:
        self._imds = _Memory[_FromImds](lambda _: True)
        # One that tells its ENIs and is silent about its settings costs as much as one that is silent.
        self._ipamd = _Memory[_FromIpamd](lambda told: any(map(_silent, told.unread)))

    def read(self, now: int) -> Metadata:
        """`now` is in nanoseconds since the epoch."""
        unread: list[Unread] = []
        from_imds = begin(lambda: self._imds.recall(now, lambda: attempt("imds", _ask_imds)))
        from_ipamd = begin(lambda: self._ipamd.recall(now, lambda: attempt("ipamd", _ask_ipamd)))
        instance = kept(from_imds.result(), unread, _FromImds())
        node = kept(from_ipamd.result(), unread, _FromIpamd())
        return Metadata(
            enis=merge(instance.enis, node.enis),
            settings=node.settings,
            vpc_networks=instance.vpc_networks,
            unread=(*unread, *node.unread),
        )


class _Memory(Generic[Value]):
    """The last silence, and the last answer if it is one that `keeps` says to keep, for 30 s."""

    def __init__(self, keeps: Callable[[Value], bool]) -> None:
        self._keeps = keeps
        self._at = 0
        self._remembered: Value | Unread | None = None

    def recall(self, now: int, ask: Callable[[], Value | Unread]) -> Value | Unread:
        if self._remembered is not None and now - self._at < _AGE:
            return self._remembered
        answer = ask()
        # A refusal may end the moment its service has started.
        keep = _silent(answer) if isinstance(answer, Unread) else self._keeps(answer)
        self._at, self._remembered = now, answer if keep else None
        return answer


def _silent(unread: Unread) -> bool:
    """As readers.http words it."""
    return "did not answer within" in unread.reason


def _ask_imds() -> _FromImds:
    metadata = imds.fetch()
    return _FromImds(enis=imds.decode(metadata), vpc_networks=imds.vpc_networks(metadata))


def _ask_ipamd() -> _FromIpamd:
    """ENIs without settings are an answer; nothing at all is one failure, not two."""
    told = ipamd.fetch()
    enis = ipamd.decode(told.enis)
    if told.refusal:
        return _FromIpamd(enis=enis, unread=(Unread(part="settings", reason=told.refusal),))
    decoded = attempt("settings", lambda: settings.decode(told.settings))
    if isinstance(decoded, Unread):
        return _FromIpamd(enis=enis, unread=(decoded,))
    return _FromIpamd(enis=enis, settings=decoded)
