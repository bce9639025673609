"""What a person or a script calls: `gpuquery run | validate | plan | render | crd | operator`."""

from gpuquery.cli.main import main

__all__ = ["main"]
