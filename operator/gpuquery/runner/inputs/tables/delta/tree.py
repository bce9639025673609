"""The schema in a parquet file's own words: names, field ids and physical types, which Polars does not show.

https://github.com/apache/parquet-format/blob/master/LogicalTypes.md says how lists and maps are nested.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gpuquery.runner.parquet import thrift

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

INT96 = 3
# Field numbers of SchemaElement in parquet.thrift.
_SCHEMA, _PHYSICAL, _NAME, _CHILDREN, _ID = 2, 1, 4, 5, 9


@dataclass(frozen=True)
class Node:
    """An element of the schema."""

    name: str
    id: int | None
    physical: int | None
    children: tuple[Node, ...] = field(default=())

    def elements(self, names: Collection[str] | None = None) -> Node:
        """Return the element of a list or map; `names` are the fields of its elements, if those are structs."""
        repeated = self.children[0] if self.children else self  # `repeated int32 a` stands alone
        if len(repeated.children) != 1:
            return repeated  # of two levels, or the entries of a map
        if names is not None and [one.name for one in repeated.children] == list(names):
            return repeated
        return repeated.children[0]


def parsed(metadata: bytes) -> Node:
    """Return the root of the schema. Raises ValueError."""
    try:
        elements = iter(thrift.decode(metadata)[_SCHEMA])
        return _node(elements)
    except (KeyError, StopIteration, TypeError, AttributeError, RecursionError) as exc:
        raise ValueError(f"the metadata has no schema: {exc}") from None


def _node(elements: Iterator[thrift.Fields]) -> Node:
    one = next(elements)
    children = tuple(_node(elements) for _ in range(one.get(_CHILDREN) or 0))
    return Node(one[_NAME].decode(), one.get(_ID), one.get(_PHYSICAL), children)
