"""Which data files a mode replaces, decided anew each time that the table is loaded: all that is there then goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuquery.api.output import OutputMode
from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyiceberg.manifest import DataFile

    from gpuquery.api.output import Output
    from gpuquery.runner.output.tables.iceberg.rewriting import Rewritten
    from gpuquery.runner.output.tables.iceberg.state import State


def replaced(
    output: Output, state: State, added: Sequence[DataFile], rewritten: Rewritten | None
) -> Callable[[DataFile, int], bool] | None:
    """Return whether a data file of a partition spec goes; None if none does. What it returns raises UserError.

    `rewritten` is what `overwriteWhere` does.
    """
    if output.mode is OutputMode.OVERWRITE_PARTITIONS:
        return _partitions(state, added)
    if output.mode is not OutputMode.OVERWRITE:
        return None
    return lambda file, _: rewritten is None or file.file_path in rewritten.gone


def _partitions(state: State, added: Sequence[DataFile]) -> Callable[[DataFile, int], bool]:
    wanted = {_values(one) for one in added}

    def removes(file: DataFile, spec_id: int) -> bool:
        if spec_id == state.layout.spec_id:
            return _values(file) in wanted
        if not wanted:
            return False
        raise JobError(
            Failure.USER_ERROR,
            f'mode "overwritePartitions" replaces partitions of the table\'s present partition spec, and '
            f"{file.file_path} is of an older one, which may hold rows of them: rewrite the older files by the present "
            'spec, or use mode "overwrite" with overwriteWhere',
        )

    return removes


def _values(file: DataFile) -> tuple[Any, ...]:
    return tuple(file.partition[number] for number in range(len(file.partition)))
