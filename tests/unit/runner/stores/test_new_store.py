"""A store is added by one module and one line of the registry: inputs, sizes, commits and faults then go through it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Input
from gpuquery.runner import inputs, stores
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import classify
from gpuquery.runner.sizing import estimate
from gpuquery.runner.stores import reader_rules
from tests.support.memory_backend import AwayError, Memory
from tests.support.sinks import plan, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuquery.plan.plan import Plan

ROWS = pl.DataFrame({"id": range(1000), "text": [f"row {n}" for n in range(1000)]})


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    added = Memory()
    monkeypatch.setitem(stores.STORES, "http", added)
    return added


@pytest.fixture
def root(memory: Memory) -> Iterator[str]:
    body = io.BytesIO()
    ROWS.write_parquet(body)
    memory.put("in/orders.parquet", body.getvalue())
    with memory.serving() as uri:
        yield uri


def job(root: str, name: str = "orders.parquet", **input_: Any) -> Plan:
    """A plan from and to the new store, past the object's own patterns for URIs."""
    given = {"name": "t", "uri": "s3://lake/x.parquet", "format": "parquet", **input_}
    item = Input.model_validate(given).model_copy(update={"uri": f"{root}/in/{name}"})
    made = plan("s3://lake/out")
    output = made.output.model_copy(update={"uri": f"{root}/out"})
    return made.model_copy(update={"inputs": (item,), "output": output})


def test_inputs_are_checked_read_and_sized_through_it(memory: Memory, root: str) -> None:
    made = job(root)
    stores.check([made.output.uri, made.inputs[0].uri], made.store)
    assert memory.checked == [f"{root}/out", f"{root}/in/orders.parquet"]
    frame = inputs.frames(inputs.resolve(made.inputs, made.store), made.store)["t"]
    assert frame.collect().equals(ROWS)
    sized = estimate(frame, made.store)
    assert (sized.files, sized.rows) == (1, 1000)
    assert sized.stored_bytes == pytest.approx(len(memory.get("in/orders.parquet") or b""), rel=0.2)
    assert memory.parts_read


def test_a_result_is_committed_to_it_once_and_read_back(memory: Memory, root: str) -> None:
    made = job(root)
    status = run(made, inputs.frames(inputs.resolve(made.inputs, made.store), made.store)["t"])
    assert (status.uri, status.version, status.rows) == (f"{root}/out/data/", 1, 1000)
    content = memory.folders["out"]
    (path,) = content.data()
    assert content.uploads == {}
    item = made.inputs[0].model_copy(update={"uri": f"{root}/out/data/{path}"})
    assert inputs.frames(inputs.resolve([item], made.store), made.store)["t"].collect().equals(ROWS)
    assert run(made).version == 1, "the same job commits once"
    with pytest.raises(JobError) as caught:
        run(job(root))
    assert caught.value.failure is Failure.OUTPUT_EXISTS


def test_its_faults_are_explained_in_its_own_words(memory: Memory, root: str) -> None:
    made = job(root, "ordres.parquet")
    with pytest.raises(JobError, match=f"in {root}/in/ there is orders.parquet") as caught:
        inputs.frames(inputs.resolve(made.inputs, made.store), made.store)
    assert caught.value.failure is Failure.INVALID_INPUT
    assert classify(AwayError("away"), default=Failure.USER_ERROR).failure is Failure.STORAGE_UNAVAILABLE
    with pytest.raises(JobError, match=r"write s3://bucket/folder or .* or file:///folder"):
        stores.locate("ftp://x")


def test_gpu_readers_are_asked_about_it(memory: Memory, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Memory, "reader_variables", lambda *_: ({"MEMORY_HOST": root}, ("slow",)), raising=False)
    assert reader_rules.variables(job(root)) == ({"MEMORY_HOST": root}, ("slow",))
    with pytest.raises(JobError, match="read CSV from local files only"):
        reader_rules.check_formats(job(root, format="csv"))
