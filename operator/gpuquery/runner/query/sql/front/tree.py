"""A walk over the JSON trees that DuckDB answers with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def objects(root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield all objects of a tree in their order, without recursion: a text may be nested deeply."""
    waiting: list[Any] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting.extend(reversed(node.values()))
        elif isinstance(node, list):
            waiting.extend(reversed(node))
