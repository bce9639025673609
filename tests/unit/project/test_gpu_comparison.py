"""What the tests on GPUs take for the same result."""

import polars as pl
import pytest

from tests.gpu.same import same

WANT = pl.DataFrame({"k": ["a", "b", None], "n": [1, 2, 3], "x": [1e9, 2.5, None]})


@pytest.mark.parametrize(
    "got",
    [
        pytest.param(WANT.reverse(), id="another order"),
        pytest.param(WANT.with_columns(x=pl.col("x") * (1 + 1e-11)), id="the last digits of a sum"),
        pytest.param(WANT.with_columns(pl.col("n").cast(pl.Int32)), id="a narrower integer"),
    ],
)
def test_the_same(got: pl.DataFrame) -> None:
    same(got, WANT)


@pytest.mark.parametrize(
    "got",
    [
        pytest.param(WANT.head(2), id="a row is missing"),
        pytest.param(pl.concat([WANT, WANT]), id="every row twice"),
        pytest.param(WANT.with_columns(x=pl.col("x") * (1 + 1e-6)), id="another sum"),
        pytest.param(WANT.with_columns(n=pl.col("n") + 1), id="another number"),
        pytest.param(WANT.with_columns(x=pl.col("x").fill_null(0.0)), id="a value for a null"),
        pytest.param(WANT.rename({"n": "m"}), id="another name"),
    ],
)
def test_not_the_same(got: pl.DataFrame) -> None:
    with pytest.raises(AssertionError):
        same(got, WANT)
