"""The commands for people and scripts: `gpuquery run | validate | plan | render | crd | operator`."""

from gpuquery.cli.main import main

__all__ = ["main"]
