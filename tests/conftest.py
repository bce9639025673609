"""Fixtures for all tests."""

pytest_plugins = ["tests.support.seaweed", "tests.support.faultproxy"]
