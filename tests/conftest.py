"""Fixtures for all tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from gpuquery.runner.supervisor import ALLOCATOR, SAFE_PAGES
from tests.support.examples import load_profile

if TYPE_CHECKING:
    import pytest

os.environ.setdefault(ALLOCATOR, SAFE_PAGES)  # as in a pod; read when Polars is imported

load_profile()

pytest_plugins = ["tests.support.seaweed", "tests.support.faultproxy", "tests.support.store_servers"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add an option that shows which tests need others before them."""
    parser.addoption("--backwards", action="store_true", help="run the tests in the opposite order")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Turn the order round where that is asked for."""
    if config.getoption("--backwards"):
        items.reverse()
