"""Shared parts: one that is used once stands where it is used, one that is not used goes.

One that only reads an input is no work to share: each use reads what it needs, with its own filter.
"""

from __future__ import annotations

from collections import Counter

from gpuquery.runner.query.sql.plan import Column, Filter, Literal, Project, Reference, Relation, Scan, With
from gpuquery.runner.query.sql.walk import relations, with_inputs


def inlined(node: Relation, *, reads: bool = False) -> Relation:
    """Return the relation without a With whose shared relation has one use, or none; or, if asked, only reads."""
    uses = Counter(below.number for below in relations(node) if isinstance(below, Reference))
    return _inlined(node, uses, {}, reads)


def _only_reads(node: Relation) -> bool:
    match node:
        case Scan():
            return True
        case Filter():
            return _only_reads(node.input)
        case Project():
            return _only_reads(node.input) and all(isinstance(item.value, Column | Literal) for item in node.items)
        case _:
            return False


def _inlined(node: Relation, uses: Counter[int], shared: dict[int, Relation], reads: bool) -> Relation:
    match node:
        case Reference():
            return shared.get(node.number, node)
        case With():
            if uses[node.number] > 1 and not (reads and _only_reads(node.shared)):
                return with_inputs(node, [_inlined(below, uses, shared, reads) for below in node.inputs])
            if uses[node.number] == 0:
                _forget(node.shared, uses)
                return _inlined(node.body, uses, shared, reads)
            part = _inlined(node.shared, uses, shared, reads)
            return _inlined(node.body, uses, {**shared, node.number: part}, reads)
        case _:
            return with_inputs(node, [_inlined(below, uses, shared, reads) for below in node.inputs])


def _forget(node: Relation, uses: Counter[int]) -> None:
    """Count no more what a part that goes has used."""
    uses.subtract(below.number for below in relations(node) if isinstance(below, Reference))
