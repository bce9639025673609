"""How long the clients of object_store (Polars, obstore) wait for any store, and how each of the two is told.

Polars' own defaults give up after eight tries within seconds; these survive an outage of minutes.
"""

from __future__ import annotations

import functools
from datetime import timedelta
from importlib import metadata
from typing import TYPE_CHECKING, Any

from gpuquery.plan.releases import POLARS_RETRIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from obstore.store import ClientConfig, RetryConfig

CONNECT_TIMEOUT = 5
"""Seconds until an endpoint that does not answer counts as unreachable, once."""
READ_TIMEOUT = 30
PATIENCE = 300
"""Seconds for which a request is tried again: longer than a store's restart, shorter than a person's patience."""
HURRIED = 6
"""Seconds for which a request is tried again that must succeed or fail soon."""


def options() -> dict[str, Any]:
    """Return the options of object_store that are the same for every store."""
    return {
        "max_retries": 50,
        "retry_timeout_ms": PATIENCE * 1000,
        "retry_max_backoff_ms": 10_000,
        "timeout": f"{READ_TIMEOUT}s",
        "connect_timeout": f"{CONNECT_TIMEOUT}s",
    }


def for_polars(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return `storage_options` for the Polars that is installed."""
    if polars_version() < POLARS_RETRIES:
        return {name: str(value) for name, value in given.items() if not name.startswith("retry_")}
    return dict(given)


def for_obstore(*, allow_http: bool, hurried: bool = False) -> tuple[ClientConfig, RetryConfig]:
    """Return `client_options` and `retry_config` of an obstore client."""
    return (
        {"timeout": f"{READ_TIMEOUT}s", "connect_timeout": f"{CONNECT_TIMEOUT}s", "allow_http": allow_http},
        {
            "max_retries": 50,
            "retry_timeout": timedelta(seconds=HURRIED if hurried else PATIENCE),
            "backoff": {"max_backoff": timedelta(seconds=1 if hurried else 10)},
        },
    )


@functools.cache
def polars_version() -> tuple[int, ...]:
    """Return the version of Polars that is installed: (1, 44)."""
    return tuple(int(part) for part in metadata.version("polars").split(".")[:2])
