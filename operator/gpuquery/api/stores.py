"""Stores: what a job may say of each kind, and what its pods are given to reach it.

The runner has a module for each (`runner/stores`), which this room cannot see.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True, kw_only=True)
class Store:
    """One kind of store."""

    root: str
    """A URI up to its path, as a regular expression."""
    keys: Mapping[str, bool]
    """Keys of the credentials Secret that become variables of the pods, and whether each may be missing."""
    endpoint: Sequence[str]
    """Variables that say where the store is."""
    region: Sequence[str]
    """Variables that say which region the buckets are in."""
    no_node_role: Mapping[str, str]
    """Variables that keep a pod from asking the node for credentials."""
    reserved: str
    """Variables that a template may not set, as a regular expression."""


S3 = Store(
    root=r"s3://[A-Za-z0-9][A-Za-z0-9._-]+",
    keys={"AWS_ACCESS_KEY_ID": False, "AWS_SECRET_ACCESS_KEY": False, "AWS_SESSION_TOKEN": True},
    endpoint=("AWS_ENDPOINT_URL",),
    region=("AWS_REGION", "AWS_DEFAULT_REGION"),
    no_node_role={"AWS_EC2_METADATA_DISABLED": "true"},
    reserved="AWS_.*",
)
STORES = (S3,)
KEYS = tuple(key for store in STORES for key in store.keys)
"""Variables whose values are secrets."""


def used(uris: Iterable[str]) -> Sequence[Store]:
    """Return the stores of some URIs; a file of this machine has none."""
    found = list(uris)
    return [store for store in STORES if any(re.match(store.root, uri) for uri in found)]
