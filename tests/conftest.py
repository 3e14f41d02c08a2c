"""What all tests share: a test that needs root fails without it, by a sentence, and is never passed over in silence."""

import os

import pytest


def pytest_runtest_setup(item: pytest.Item) -> None:
    needs_root = item.get_closest_marker("netns") or item.get_closest_marker("e2e")
    if needs_root and os.geteuid() != 0:
        pytest.fail(
            "this test builds network namespaces: run it as root, or `make unit` for those that need none", False
        )
