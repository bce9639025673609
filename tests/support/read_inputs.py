"""Read inputs as a rank does: resolved once, passed on as JSON, and made frames of there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import inputs

if TYPE_CHECKING:
    import polars as pl

    from gpuquery.runner.inputs import Resolved


def item(uri: object, **changes: Any) -> Input:
    """An input by name `t`."""
    return Input.model_validate({"name": "t", "uri": f"file://{uri}", "format": "parquet", **changes})


def resolved(uri: object, **changes: Any) -> Resolved:
    """The input as another rank has it."""
    one = item(uri, **changes)
    text = inputs.to_json(inputs.resolve([one], StoreAccess()))
    return inputs.from_json(text, [one])["t"]


def frame(uri: object, **changes: Any) -> pl.LazyFrame:
    """The lazy frame of the input; its schema is the one that was resolved."""
    one = resolved(uri, **changes)
    made = one.frame(StoreAccess())
    assert dict(made.collect_schema()) == one.schema
    return made
