"""One kind of object, followed by list and watch: what to ask next, and what is known meanwhile. A state machine without I/O.

Kubernetes API concepts, "Efficient detection of changes": a list has a resourceVersion, a watch goes on from there, bookmarks
move it on, 410 Gone says that it is too old and to list again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

from pathtap.collector.cluster.api_object import ApiObject, InventoryError, listed, mapping

Item = TypeVar("Item")

# Seconds between attempts while the API server refuses or is away: the last one again and again, it is never given up.
PAUSES = (0.5, 1.0, 2.0, 4.0, 5.0)
# After so many failures in a row nobody knows what happened to the server's own state (etcd restored from a copy): list again.
TRUSTED_FAILURES = 3
GONE = 410
# Nanoseconds; a watch that was to last half a minute and ends before has met with something.
SHORT = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class List:
    """A page, behind the one that gave `after` for its continue token; empty: from the beginning.

    Where pages expire while they are read (410, after etcd's compaction) they are begun again, and never asked for in one: the
    pods of a large cluster are 120 MiB of JSON, which take ten times that and hold up the loop for seconds.
    """

    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    resource_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    seconds: float


Order: TypeAlias = List | Watch | Wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Form(Generic[Item]):
    """How one kind is printed: `kind` is what the items of its lists are, which they leave out."""

    kind: str
    path: str
    decode: Callable[[ApiObject], Item]


@dataclass(slots=True)
class Reflection(Generic[Item]):
    """`items` by key are what was last known, also while the server is away; `changed` are keys that differ since it was emptied.

    `heard_at` is when the server last confirmed them (nanoseconds; 0 never), `failing` why it does not now (empty: it does).
    """

    items: dict[str, Item]
    changed: set[str]
    heard_at: int = 0
    failing: str = ""
    _failures: int = 0
    _waited: bool = True
    _order: List | Watch = List()
    _page: dict[str, Item] | None = None
    _opened_at: int = 0

    def order(self) -> Order:
        """What to do now. Then exactly one of `listed`, `ended`, `failed` or, after a Wait, `waited`."""
        if not self._waited:
            return Wait(seconds=PAUSES[min(self._failures, len(PAUSES)) - 1])
        return self._order

    def waited(self) -> None:
        self._waited = True

    def listed(self, answer: Mapping[str, Any], form: Form[Item], now: int) -> tuple[str, ...]:
        """A page of the list. The former items stay until the last page is there. What is malformed is left out, and returned."""
        page = {} if self._page is None else self._page
        malformed = []
        for at, raw in enumerate(listed(answer.get("items"), ("items",))):
            try:
                item = ApiObject(raw, ("items", at), form.kind)
                page[item.key] = form.decode(item)
            except InventoryError as error:
                malformed.append(_complaint(form.kind, raw, error))
        metadata = mapping(answer.get("metadata"), ("metadata",))
        after = metadata.get("continue")
        if after:
            self._page, self._order = page, List(after=str(after))
            return tuple(malformed)
        self._take(page)
        self._order = Watch(resource_version=str(metadata.get("resourceVersion") or ""))
        self._confirmed(now)
        return tuple(malformed)

    def opened(self, now: int) -> None:
        """The server took the watch: it has what happened since that resourceVersion."""
        self._opened_at = now
        self._confirmed(now)

    def event(self, event: Mapping[str, Any], form: Form[Item], now: int) -> tuple[str, ...]:
        """ADDED, MODIFIED, DELETED or BOOKMARK. What is malformed is left out, and returned."""
        self._confirmed(now)
        self._failures = 0
        malformed: tuple[str, ...] = ()
        raw = event.get("object")
        metadata = raw.get("metadata") if isinstance(raw, Mapping) else None
        version = metadata.get("resourceVersion") if isinstance(metadata, Mapping) else None
        if event.get("type") in ("ADDED", "MODIFIED", "DELETED"):
            malformed = self._apply(str(event["type"]), raw, form)
        if version:
            self._order = Watch(resource_version=str(version))
        return malformed

    def ended(self, now: int) -> None:
        """The server ended the watch, as it was asked to. One that ends at once is not begun again at once."""
        if now - self._opened_at >= SHORT:
            self._failures = 0
        else:
            self._failures += 1
            self._waited = False

    def failed(self, status: int, why: str) -> None:
        """`status` is HTTP's, 0 without an answer. What the server has forgotten is listed again at once, the first time."""
        self.failing = why
        self._failures += 1
        paging = isinstance(self._order, List) and bool(self._order.after)
        if status == GONE:
            self._waited = self._failures == 1
            self._begin_again()
            return
        self._waited = False
        if paging or self._failures >= TRUSTED_FAILURES or status == 404:
            self._begin_again()

    def _begin_again(self) -> None:
        self._page, self._order = None, List()

    def _confirmed(self, now: int) -> None:
        self.heard_at, self.failing = now, ""

    def _take(self, page: dict[str, Item]) -> None:
        former, self.items, self._page = self.items, page, None
        differing = {key for key, item in page.items() if former.get(key) != item}
        self.changed |= differing | (former.keys() - page.keys())

    def _apply(self, kind: str, raw: object, form: Form[Item]) -> tuple[str, ...]:
        try:
            item = ApiObject(raw, ("object",), form.kind)
            decoded = None if kind == "DELETED" else form.decode(item)
        except InventoryError as error:
            # Its former state is no longer true.
            self._put(_key(raw), None)
            return (_complaint(form.kind, raw, error),)
        self._put(item.key, decoded)
        return ()

    def _put(self, key: str, item: Item | None) -> None:
        if self.items.get(key) == item:
            return
        self.changed.add(key)
        if item is None:
            self.items.pop(key, None)
        else:
            self.items[key] = item


def _key(raw: object) -> str:
    try:
        return ApiObject(raw, ("object",), "object").key
    except InventoryError:
        return ""


def _complaint(kind: str, raw: object, error: InventoryError) -> str:
    where = ".".join(str(step) for step in error.path if not isinstance(step, int))
    return f"{kind} {_key(raw) or 'without a name'} is left out of the inventory: {error.reason} ({where})"
