"""Fixtures for all tests."""

import os

from gpuquery.runner.supervisor import ALLOCATOR, SAFE_PAGES
from tests.support.examples import load_profile

os.environ.setdefault(ALLOCATOR, SAFE_PAGES)  # as in a pod; read when Polars is imported

load_profile()

pytest_plugins = ["tests.support.seaweed", "tests.support.faultproxy"]
