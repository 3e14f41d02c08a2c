"""Which names are offered for one that nobody has, also where there are tens of thousands."""

import difflib

import pytest

from pathtap.collector.cluster.naming import MOST_COMPARED, nearest


def test_among_very_many_names_the_one_that_is_meant_is_found_without_comparing_them_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compared = []
    whole = difflib.get_close_matches

    def counting(name: str, names: list[str], n: int, cutoff: float) -> list[str]:
        compared.append(len(names))
        return whole(name, names, n, cutoff)

    monkeypatch.setattr(difflib, "get_close_matches", counting)
    keys = [f"ns-{number % 100}/cart-6d9f7c5b8d-{number:05x}" for number in range(20_000)]
    assert nearest("ns-7/cart-6d9f7c5b8d-0000", keys).startswith("; did you mean ns-7/cart-6d9f7c5b8d-0000")
    assert nearest("shop/redsi", [*keys, "shop/redis"]) == "; did you mean shop/redis?"
    assert nearest("redsi", [*keys, "shop/redis"]) == "; did you mean shop/redis?"
    assert max(compared) == MOST_COMPARED


def test_few_names_are_all_compared() -> None:
    keys = [*(f"shop/cart-{number}" for number in range(MOST_COMPARED - 1)), "shop/web"]
    assert nearest("xshop/web", keys).startswith("; did you mean shop/web")
    assert nearest("zzzz", keys) == ""
