"""Read inputs as a rank does: resolved once, passed on as JSON, and made frames of there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner import inputs
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    import polars as pl

    from gpuquery.runner.inputs import Resolved


def item(uri: object, **changes: Any) -> Input:
    """An input by name `t`."""
    return Input.model_validate({"name": "t", "uri": f"file://{uri}", "format": "parquet", **changes})


def resolved(uri: object, **changes: Any) -> Resolved:
    """The input as another rank has it."""
    return passed_on(item(uri, **changes))


def passed_on(one: Input) -> Resolved:
    """An input by name `t` as another rank has it."""
    text = inputs.to_json(inputs.resolve([one], StoreAccess()))
    return inputs.from_json(text, [one])["t"]


def read(one: Input) -> pl.DataFrame:
    """Its rows, which have the schema that was resolved."""
    found = passed_on(one)
    rows = found.frame(StoreAccess()).collect()
    assert dict(rows.schema) == found.schema
    return rows


def refusal(one: Input) -> str:
    """Why it is not read."""
    with pytest.raises(JobError) as caught:
        read(one)
    assert caught.value.failure is Failure.INVALID_INPUT, caught.value
    return caught.value.message


def frame(uri: object, **changes: Any) -> pl.LazyFrame:
    """The lazy frame of the input; its schema is the one that was resolved."""
    one = resolved(uri, **changes)
    made = one.frame(StoreAccess())
    assert dict(made.collect_schema()) == one.schema
    return made
