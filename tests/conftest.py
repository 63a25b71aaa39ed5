"""What all tests share: the switch for those that use real tools and the network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hypothesis

if TYPE_CHECKING:
    import pytest

hypothesis.settings.register_profile("dsenv", deadline=None)  # machines are slow at times, and that is no fault
hypothesis.settings.load_profile("dsenv")

REAL = ("apt", "index", "root", "engine", "cran")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--integration", action="store_true", help="also run the tests that use real tools and the network"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--integration"):
        return
    kept: list[pytest.Item] = []
    dropped: list[pytest.Item] = []
    for item in items:
        (dropped if any(item.get_closest_marker(name) for name in REAL) else kept).append(item)
    config.hook.pytest_deselected(items=dropped)
    items[:] = kept
