"""Fixtures for all tests."""

import os

from gpuquery.runner.supervisor import ALLOCATOR, SAFE_PAGES

os.environ.setdefault(ALLOCATOR, SAFE_PAGES)  # as in a pod; read when Polars is imported

pytest_plugins = ["tests.support.seaweed", "tests.support.faultproxy"]
