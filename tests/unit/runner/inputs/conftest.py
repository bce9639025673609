"""What several tests of inputs have in common."""

import pytest

from gpuquery.runner.inputs.formats import contents


@pytest.fixture
def tiny_sample(monkeypatch):
    """Inputs of a few KiB are only looked at by a sample."""
    monkeypatch.setattr(contents, "BUDGET", 4096)
    monkeypatch.setattr(contents, "SAMPLE", 512)
    monkeypatch.setattr(contents, "HEAD", 512)
