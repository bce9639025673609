"""What a reader must know to read a table: the protocol's versions and its features.

"Valid Feature Names in Table Features" in the protocol lists them. Features that only writers must know change nothing
for us: constraints, generated and identity columns, defaults, the change data feed, row tracking, clustering.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpuquery.runner.inputs.tables.delta.actions import Snapshot
    from gpuquery.runner.inputs.tables.delta.place import Table

MAPPING = "columnMapping"
VECTORS = "deletionVectors"
KNOWN = frozenset(
    {
        MAPPING, VECTORS, "timestampNtz", "v2Checkpoint", "vacuumProtocolCheck", "typeWidening", "typeWidening-preview",
        "variantType", "variantType-preview", "variantShredding", "variantShredding-preview",
    }
)  # fmt: skip
"""Reader features that are read as the protocol says. A column of type variant is refused by its own name."""
_WAYS_OUT = {
    "catalogManaged": "its catalog alone knows which commits count: write a copy of it that no catalog manages",
    "catalogOwned": "its catalog alone knows which commits count: write a copy of it that no catalog manages",
}
_COORDINATOR = "delta.coordinatedCommits.commitCoordinator-preview"


def check(table: Table, snapshot: Snapshot) -> None:
    """Raise JobError that names what the table needs of its readers and we do not know."""
    version = int(snapshot.protocol.get("minReaderVersion", 0))
    if version > 3:
        raise table.refused(
            f"it needs a reader of version {version} of the protocol, and only versions 1 to 3 are known: write a copy "
            "of it in an older version"
        )
    if coordinator := snapshot.configuration.get(_COORDINATOR):
        raise table.refused(
            f"its commits are coordinated by {coordinator}, which alone knows the newest ones: drop the feature "
            "coordinatedCommits, or write a copy of the table without it"
        )
    unknown = sorted(_features(snapshot) - KNOWN)
    if unknown:
        names = ", ".join(unknown)
        way = next((_WAYS_OUT[one.partition("-")[0]] for one in unknown if one.partition("-")[0] in _WAYS_OUT), None)
        raise table.refused(
            f"it needs the reader feature {names}, which cannot be read: "
            f"{way or 'drop the feature (ALTER TABLE ... DROP FEATURE), or write a copy of the table without it'}"
        )
    mode = snapshot.configuration.get("delta.columnMapping.mode", "none")
    if mode not in ("none", "name", "id"):
        raise table.refused(f'its property delta.columnMapping.mode is "{mode}", which is not known: use name or id')


def mapping(snapshot: Snapshot) -> str:
    """How columns are found in files: by their names in the table (none), by physical names (name), or by ids (id)."""
    supported = int(snapshot.protocol.get("minReaderVersion", 0)) == 2 or MAPPING in _features(snapshot)
    return snapshot.configuration.get("delta.columnMapping.mode", "none") if supported else "none"


def _features(snapshot: Snapshot) -> set[str]:
    if int(snapshot.protocol.get("minReaderVersion", 0)) < 3:
        return set()
    return set(snapshot.protocol.get("readerFeatures") or ())
