"""How a snapshot is read: one scan of all files that are alike, and what makes the others equal to them.

Files are alike if their schemas are, the partition values that they do not hold, and the equality deletes that apply
to them. Deleted rows go by position, or by an anti join with the keys of equality deletes.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import polars as pl

from gpuquery.runner import stores
from gpuquery.runner.inputs.base import File, Reading, Schema, schema_from_text, schema_to_text
from gpuquery.runner.inputs.tables.iceberg import deletes
from gpuquery.runner.inputs.tables.iceberg.mapping import Recipe, expression

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gpuquery.api.spec import Input
    from gpuquery.plan.plan import StoreAccess

POSITION = "__gpuquery_position"
SEQUENCE = "__gpuquery_sequence"
PARTITION = "__gpuquery_partition"
DELETED = "__gpuquery_deleted"
KEY = "__gpuquery_key_"
OWN = "__gpuquery_"
"""How columns that are only for deletes begin; a table with such a column is refused."""


@dataclass(frozen=True)
class Group:
    """Files that one scan reads."""

    count: int
    """How many, in the order of the input's files."""
    columns: list[Recipe] | None
    """How each column of the table is made; None: the scan's columns are the table's."""
    keys: list[tuple[int, Recipe]]
    """Columns that equality deletes compare, by field id."""
    sequence: int = 0
    """Age of the files' rows: an equality delete with a higher number applies."""
    partition: int = -1
    """Number of the files' partition."""
    positions: str = ""
    """Rows of all these files, counted through, that are deleted."""


@dataclass(frozen=True)
class Keys:
    """Equality deletes that compare the same columns."""

    ids: list[int]
    dtypes: str
    """Their types, by name of the key column."""
    everywhere: bool
    """Whether they apply to all partitions."""
    files: list[tuple[str, list[Recipe], int, int]]
    """Place, recipe of each key, sequence number and partition of each file."""


@dataclass(frozen=True)
class Iceberg(Reading):
    """A snapshot of an Iceberg table."""

    kind: ClassVar[str] = "iceberg"
    schema: Schema
    groups: tuple[Group, ...]
    equality: tuple[Keys, ...] = ()
    warnings: tuple[str, ...] = ()
    vended: tuple[str, ...] = ()
    """Places whose files are read with credentials that the catalog vends."""

    def unlock(self, item: Input, access: StoreAccess) -> None:
        """Ask the catalog for credentials, once they are needed."""
        if self.vended:
            from gpuquery.runner.inputs.tables.iceberg import vending

            vending.join(item, access, self.vended)

    @property
    def cpu_only(self) -> str:
        """Why GPU engines cannot read it; empty if they can."""
        if any(group.positions for group in self.groups):
            return (
                "has rows that are deleted by position (delete files or deletion vectors): compact the table "
                "(rewrite_data_files), or use engine: cpu"
            )
        return ""

    def frame(
        self, item: Input, files: Sequence[File], access: StoreAccess, *, places: str | None = None
    ) -> pl.LazyFrame:
        """Scan each group, and take out what equality deletes name."""
        self.unlock(item, access)
        frames, at = [], 0
        for group in self.groups:
            frames.append(self._group(group, files[at : at + group.count], access, places))
            at += group.count
        extra = {places: pl.String()} if places else {}
        if not frames:
            return pl.LazyFrame(schema={**self.schema, **extra})
        frame = frames[0] if len(frames) == 1 else pl.concat(frames)
        for keys in self.equality:
            frame = self._without(frame, keys, access)
        return frame.select([*self.schema, *extra]) if self.equality else frame

    def _group(self, group: Group, files: Sequence[File], access: StoreAccess, places: str | None) -> pl.LazyFrame:
        paths = [file.uri for file in files]
        # Filtered while they are decoded, times of day are taken for others by Polars (1.44).
        whole = any(dtype == pl.Time for dtype in self.schema.values())
        frame = _scan(paths, access, places, POSITION if group.positions else None, whole=whole)
        if group.positions:
            gone = pl.LazyFrame({POSITION: deletes.unpack(group.positions)})
            frame = frame.with_columns(pl.col(POSITION).cast(pl.Int64)).join(gone, on=POSITION, how="anti")
        if group.columns is None and not self.equality:
            return frame.drop(POSITION) if group.positions else frame
        if group.columns is None:
            made = [pl.col(name) for name in self.schema]
        else:
            made = [
                expression(recipe, dtype, pl.col).alias(name)
                for (name, dtype), recipe in zip(self.schema.items(), group.columns, strict=True)
            ]
        if places:
            made.append(pl.col(places))
        if self.equality:
            types = {name: t for keys in self.equality for name, t in schema_from_text(keys.dtypes).items()}
            made += [expression(recipe, types[f"{KEY}{i}"], pl.col).alias(f"{KEY}{i}") for i, recipe in group.keys]
            made += [
                pl.lit(group.sequence, dtype=pl.Int64).alias(SEQUENCE),
                pl.lit(group.partition, dtype=pl.Int64).alias(PARTITION),
            ]
        if any(one.meta.root_names() for one in made):
            return frame.select(made)
        # A select of constants alone would have one row, whatever the files have.
        return frame.with_columns(made).select([one.meta.output_name() for one in made])

    @staticmethod
    def _without(frame: pl.LazyFrame, keys: Keys, access: StoreAccess) -> pl.LazyFrame:
        """Take out the rows whose key a younger delete of their partition names."""
        types = schema_from_text(keys.dtypes)
        parts = []
        for place, made, sequence, partition in keys.files:
            values = [
                expression(recipe, dtype, pl.col).alias(name)
                for recipe, (name, dtype) in zip(made, types.items(), strict=True)
            ]
            constants = [
                pl.lit(sequence, dtype=pl.Int64).alias(DELETED), pl.lit(partition, dtype=pl.Int64).alias(PARTITION)
            ]  # fmt: skip
            parts.append(_scan([place], access, None, None).select([*values, *constants]))
        on = list(types) if keys.everywhere else [*types, PARTITION]
        youngest = pl.concat(parts).group_by(on).agg(pl.col(DELETED).max())
        joined = frame.join(youngest, on=on, how="left", nulls_equal=True)
        return joined.filter(pl.col(DELETED).is_null() | (pl.col(DELETED) <= pl.col(SEQUENCE))).drop(DELETED)

    def to_json(self) -> dict[str, Any]:
        """Write it down."""
        return {
            "schema": schema_to_text(self.schema),
            "groups": [asdict(group) for group in self.groups],
            "equality": [asdict(keys) for keys in self.equality],
            "warnings": list(self.warnings),
            "vended": list(self.vended),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read it."""
        groups = tuple(Group(**one) for one in value["groups"])
        equality = tuple(Keys(**one) for one in value["equality"])
        told = tuple(value["warnings"]), tuple(value["vended"])
        return cls(schema_from_text(value["schema"]), groups, equality, *told)


def _scan(
    paths: Sequence[str], access: StoreAccess, places: str | None, position: str | None, *, whole: bool = False
) -> pl.LazyFrame:
    return pl.scan_parquet(
        list(paths),
        glob=False,
        hive_partitioning=False,
        include_file_paths=places,
        row_index_name=position,
        parallel="row_groups" if whole else "auto",
        **stores.scan_arguments(access, paths[0]),
    )
