"""Python queries: the author's function makes a plan, and their mistakes are told in their own lines."""

import polars as pl
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Parameter
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.query import params, python_query

FRAMES = {"t": pl.LazyFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]})}


def planned(source, **parameters):
    values = params.values({name: Parameter.model_validate(p) for name, p in parameters.items()})
    return python_query.plan(python_query.compiled(source), FRAMES, values)


def body(*lines):
    return "\n".join(["import polars as pl", "def query(inputs, params):", *(f"    {line}" for line in lines)]) + "\n"


def test_the_function_gets_inputs_and_typed_parameters():
    made = planned(body("return inputs['t'].filter(pl.col('a') > params['least']).select('b')"), least={"integer": 1})
    assert made.frame.collect().rows() == [("y",), ("z",)]
    assert made.warnings == ()


WRONG = [
    pytest.param("def query(inputs, params)\n  pass", ["line 1", "does not compile"], id="a syntax error"),
    pytest.param("x = 1", ["no function query(inputs, params)"], id="no function"),
    pytest.param("query = 7", ["no function query"], id="query is a number"),
    pytest.param("def query(inputs): return 1", ["def query(inputs, params)"], id="one argument"),
    pytest.param("def query(a, b, c): return 1", ["def query(inputs, params)"], id="three arguments"),
    pytest.param("import nosuchmodule", ["nosuchmodule", "line 1"], id="a missing module"),
    pytest.param("raise SystemExit(3)", ["SystemExit", "line 1"], id="it leaves"),
    pytest.param(body("return 7"), ["int", "LazyFrame"], id="a number"),
    pytest.param(body("pass"), ["NoneType", "LazyFrame"], id="nothing"),
    pytest.param(body("return inputs['t'].collect()"), ["DataFrame", "collect"], id="a collected frame"),
    pytest.param(
        body("x = [1]", "return x[5]"), ["IndexError", "query.py line 4, in query: return x[5]"], id="it raises"
    ),
    pytest.param(body("return inputs['u']"), ["'u'", "known: t"], id="an unknown input"),
    pytest.param(body("return inputs['t'].limit(params['n'])"), ["'n'", "known: none"], id="an unknown parameter"),
    pytest.param(body("return inputs['t'].select('nope')"), ["nope", '"a", "b"'], id="an unknown column"),
    pytest.param(
        body("inputs['t'].sink_parquet('/tmp/x')"), ["sink_parquet", "line 3", "runner writes"], id="it sinks"
    ),
    pytest.param(
        body("inputs['t'].collect().write_csv('/tmp/x')"), ["write_csv", "line 3", "runner writes"], id="it writes"
    ),
    pytest.param(
        body("return inputs['t'].sink_csv('/tmp/x', lazy=True)"), ["sink_csv", "runner writes"], id="a lazy sink"
    ),
]


@pytest.mark.parametrize(("source", "words"), WRONG)
def test_a_mistake_is_told_with_the_authors_own_line(source, words):
    with pytest.raises(JobError) as caught:
        planned(source)
    assert caught.value.failure is Failure.USER_ERROR
    for word in words:
        assert word in caught.value.message
    for foreign in ("site-packages", "python_query.py", "/polars/"):
        assert foreign not in caught.value.message


def test_a_traceback_shows_the_innermost_frames_of_the_author_only():
    source = "def f(n):\n    if n == 0:\n        raise ValueError('deep')\n    return f(n - 1)\n" + body("return f(50)")
    with pytest.raises(JobError) as caught:
        planned(source)
    lines = caught.value.message.splitlines()
    assert lines[0] == "query.python failed: ValueError: deep"
    assert len(lines) == 1 + python_query.MAX_FRAMES
    assert lines[-1] == "  query.py line 3, in f: raise ValueError('deep')"


def test_writing_works_again_afterwards(tmp_path):
    with pytest.raises(JobError):
        planned(body("return 7"))
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "x.parquet")
    assert pl.scan_parquet(tmp_path / "x.parquet").collect().height == 1


def test_a_collect_inside_works_and_is_told():
    made = planned(body("n = inputs['t'].collect().height", "return inputs['t'].limit(n - 1)"))
    assert made.frame.collect().height == 2
    (warning,) = made.warnings
    assert "query.py line 3 calls collect()" in warning


@pytest.mark.parametrize(
    "use", ["params['p']", "params.get('p')", "dict(params.items())", "{**params}", "list(params)"]
)
def test_a_parameter_that_is_looked_at_counts_as_used(use):
    planned(body(f"_ = {use}", "return inputs['t']"), p={"integer": 1})


def test_an_unused_parameter_is_refused_by_name():
    with pytest.raises(JobError) as caught:
        planned(body("return inputs['t']"), p={"integer": 1})
    assert caught.value.failure is Failure.INVALID_QUERY
    assert '"p"' in caught.value.message
