"""Fixtures for all tests."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

import pytest

from gpuquery.runner.failures import redaction
from gpuquery.runner.supervisor import ALLOCATOR, SAFE_PAGES
from tests.support.examples import load_profile

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

os.environ.setdefault(ALLOCATOR, SAFE_PAGES)  # as in a pod; read when Polars is imported

load_profile()

pytest_plugins = [
    "tests.support.seaweed",
    "tests.support.faultproxy",
    "tests.support.store_servers",
    "tests.support.lakes",
]


@pytest.fixture(autouse=True)
def nothing_learnt() -> Iterator[None]:
    """Forget the secrets of a test: the token "first" would be taken out of the messages of all tests after it."""
    before = set(redaction._LEARNT)
    yield
    redaction._LEARNT.intersection_update(before)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add an option that shows which tests need others before them."""
    parser.addoption("--backwards", action="store_true", help="run the tests in the opposite order")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Turn the order round where that is asked for."""
    if config.getoption("--backwards"):
        items.reverse()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among ten thousand tests and their modules: half a million objects, all of which stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
