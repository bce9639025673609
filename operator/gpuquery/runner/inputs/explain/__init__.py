"""From errors of readers to names that the author knows: the input, the file, and the place in it.

Polars and cudf often say what is wrong without saying where. The author wrote an input with a name and a URI, so every
error names both, and the file that is behind it is looked for: only after the failure, by reading the files one by one
in a process of its own (`examine`), bounded in time. Only what is found is blamed.
"""

from gpuquery.runner.inputs.explain.opening import Resolver, explained
from gpuquery.runner.inputs.explain.running import blamed, located

__all__ = ["Resolver", "blamed", "explained", "located"]
