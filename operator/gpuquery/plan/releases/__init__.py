"""What each RAPIDS release can do: data, and queries of it.

A combination of engine and cluster that a release accepts but runs wrongly (on one GPU, or with rows written twice)
cannot run here: the table says what gives right results, not what raises no error. `make test-releases` compares the
table with the packages.
"""

from gpuquery.plan.releases.check import (
    cell_of,
    check_options,
    find,
    names,
    nearest,
    runnable,
    safe,
    sql_on_cpu,
    sql_on_gpus,
    those,
)
from gpuquery.plan.releases.environment import environment_choice, environment_options
from gpuquery.plan.releases.model import (
    Cell,
    DaskFacts,
    Option,
    OptionKind,
    Partitions,
    Refusal,
    Release,
    SqlOnGpus,
    Way,
)
from gpuquery.plan.releases.table import POLARS_RETRIES, RELEASES, SQL_POLARS

__all__ = [
    "POLARS_RETRIES",
    "RELEASES",
    "SQL_POLARS",
    "Cell",
    "DaskFacts",
    "Option",
    "OptionKind",
    "Partitions",
    "Refusal",
    "Release",
    "SqlOnGpus",
    "Way",
    "cell_of",
    "check_options",
    "environment_choice",
    "environment_options",
    "find",
    "names",
    "nearest",
    "runnable",
    "safe",
    "sql_on_cpu",
    "sql_on_gpus",
    "those",
]
