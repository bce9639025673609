import datetime as dt
from decimal import Decimal

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Parameter
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.query import params


@pytest.mark.parametrize(
    ("given", "want"),
    [
        pytest.param({"string": "it's"}, "it's", id="a text"),
        pytest.param({"integer": -(2**63)}, -(2**63), id="the smallest whole number of 64 bits"),
        pytest.param({"number": 0.5}, 0.5, id="a number"),
        pytest.param({"decimal": "12.50"}, Decimal("12.50"), id="a decimal keeps its zeros"),
        pytest.param({"boolean": False}, False, id="false is a value"),
        pytest.param({"date": "1996-02-29"}, dt.date(1996, 2, 29), id="a leap day"),
        pytest.param({"timestamp": "1994-01-31T12:00:00"}, dt.datetime(1994, 1, 31, 12), id="a moment"),
        pytest.param({"strings": ["a", ""]}, ["a", ""], id="a list of texts"),
        pytest.param({"integers": [1, 2]}, [1, 2], id="a list of whole numbers"),
        pytest.param({"numbers": [0.5, 2.0]}, [0.5, 2.0], id="a list of numbers"),
        pytest.param({"decimals": ["1.50"]}, [Decimal("1.50")], id="a list of decimals"),
        pytest.param({"dates": ["1996-02-29"]}, [dt.date(1996, 2, 29)], id="a list of days"),
        pytest.param({"timestamps": ["1994-01-31T12:00:00"]}, [dt.datetime(1994, 1, 31, 12)], id="a list of moments"),
        pytest.param({"nullOf": "date"}, None, id="NULL"),
    ],
)
def test_a_parameter_becomes_the_value_of_its_type(given, want):
    value = params.values({"p": Parameter.model_validate(given)})["p"]
    assert value.python == want
    assert type(value.python) is type(want)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        pytest.param({"date": "1994-02-31"}, ['"since"', "1994-02-31", "day"], id="a day that no month has"),
        pytest.param({"timestamp": "noon"}, ['"since"', "noon", "1994-01-31T12:00:00"], id="a timestamp in words"),
        pytest.param({"integer": 2**63}, ['"since"', "9223372036854775808", "decimal"], id="one more than 64 bits"),
        pytest.param({"integers": [1, 2**80]}, ['"since"', str(2**80)], id="a list with one that is too large"),
        pytest.param({"dates": ["1994-01-31", "1994-02-31"]}, ['"since"', "1994-02-31"], id="a list with no such day"),
        pytest.param({"number": float("nan")}, ['"since"', "finite"], id="not a number"),
        pytest.param({"decimal": "1" * 39}, ['"since"', "38 digits"], id="a decimal of 39 digits"),
        pytest.param({"decimal": "0." + "0" * 39}, ['"since"', "38 digits"], id="a decimal of 39 places"),
    ],
)
def test_a_wrong_value_is_refused_with_the_parameters_name_and_the_value(given, words):
    with pytest.raises(JobError) as caught:
        params.values({"since": Parameter.model_validate(given)})
    assert caught.value.failure is Failure.INVALID_QUERY
    for word in words:
        assert word in caught.value.message


def test_a_null_has_the_type_that_it_was_given():
    value = params.values({"p": Parameter.model_validate({"nullOf": "date"})})["p"]
    assert (value.kind, value.python, value.is_list) == ("date", None, False)
    assert value.described == "NULL of the type date"


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"nullOf": "strings"}, id="a list is not NULL"),
        pytest.param({"nullOf": "date", "date": "1994-01-31"}, id="NULL and a value"),
        pytest.param({}, id="nothing"),
    ],
)
def test_a_parameter_is_one_value(given):
    with pytest.raises(ValueError, match=r"nullOf"):
        Parameter.model_validate(given)
