"""Which names a person may have meant by one that nobody has. Pure."""

import difflib
from collections.abc import Iterable


def nearest(name: str, keys: Iterable[str]) -> str:
    """`; did you mean shop/cart or shop/card?`, comparing whole keys and bare names."""
    names = list(keys)
    by_short = {key.rsplit("/", 1)[-1]: key for key in names}
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    close += [by_short[s] for s in difflib.get_close_matches(name.rsplit("/", 1)[-1], list(by_short), n=3, cutoff=0.5)]
    close = list(dict.fromkeys(close))[:3]
    return f"; did you mean {' or '.join(close)}?" if close else ""
