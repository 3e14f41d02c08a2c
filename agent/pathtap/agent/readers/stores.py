"""What each of the three netfilter readers hands over: the tables it read and those that it could not."""

from dataclasses import dataclass

from pathtap.model.netfilter import RuleSet
from pathtap.model.node import Unread


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    rule_sets: tuple[RuleSet, ...] = ()
    unread: tuple[Unread, ...] = ()
