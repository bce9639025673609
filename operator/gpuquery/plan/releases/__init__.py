"""What each RAPIDS release can do: data, and the questions that are asked of it.

A combination of engine and cluster that a release accepts but runs wrongly (on one GPU, or with rows written twice) is
no cell of ours: the table says what gives right results, not what raises no error. `make test-releases` compares the
table with the packages themselves.
"""

from gpuquery.plan.releases.check import cell_of, check_options, find, names, runnable, sql_on_cpu, sql_on_gpus
from gpuquery.plan.releases.environment import environment_choice, environment_options
from gpuquery.plan.releases.model import Cell, Option, OptionKind, Refusal, Release, Way
from gpuquery.plan.releases.table import RELEASES, SQL_POLARS

__all__ = [
    "RELEASES",
    "SQL_POLARS",
    "Cell",
    "Option",
    "OptionKind",
    "Refusal",
    "Release",
    "Way",
    "cell_of",
    "check_options",
    "environment_choice",
    "environment_options",
    "find",
    "names",
    "runnable",
    "sql_on_cpu",
    "sql_on_gpus",
]
