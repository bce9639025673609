"""What a real API server refuses, in its own words, and what its lists and watches are like."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from gpuquery.api.types import GpuQueryJob
from gpuquery.kube.ability import Ability
from gpuquery.kube.client import KubeClient, Resource, Scope
from gpuquery.kube.copy import Copy
from gpuquery.reconcile.apply import create, write_status
from gpuquery.reconcile.decide.job import decide
from gpuquery.reconcile.observe.head import Head, head
from gpuquery.reconcile.observe.model import Observed
from tests.support.kube_objects import DEFAULTS, NOW
from tests.tenants.stage import API, USER, Server, job

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.tenants


@asynccontextmanager
async def client(server: Server) -> AsyncIterator[KubeClient]:
    """The operator's client."""
    loaded = Configuration()
    path = str(server.plane.kubeconfig(USER))
    await config.load_kube_config(config_file=path, client_configuration=loaded)  # type: ignore[no-untyped-call]
    subject = KubeClient(ApiClient(loaded))
    try:
        yield subject
    finally:
        await subject.close()


def batch_job(namespace: str, **pod: Any) -> dict[str, Any]:
    container = {"name": "runner", "image": "x"}
    spec = {"template": {"spec": {"containers": [container], "restartPolicy": "Never", **pod}}}
    meta = {"name": "typo", "namespace": namespace}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": spec}


@pytest.mark.parametrize(
    ("pod", "named"),
    [
        ({"affinity": {"foo": {}}}, "spec.template.spec.affinity.foo"),
        ({"tolerations": [{"op": "Equal"}]}, "spec.template.spec.tolerations"),
        ({"affinity": {"foo": 1, "bar": 2}}, "spec.template.spec.affinity.bar"),
    ],
)
async def test_a_field_that_kubernetes_does_not_know_is_refused_for_good_and_named(
    server: Server, pod: dict[str, Any], named: str
) -> None:
    namespace = await asyncio.to_thread(server.namespace, "typo")
    async with client(server) as subject:
        refusal = await create(subject, (batch_job(namespace, **pod),))
    assert refusal is not None and refusal.permanent and named in refusal.message, refusal
    assert "decoding" not in refusal.message


async def test_a_number_that_the_schema_does_not_take_keeps_no_job_from_being_told_of(server: Server) -> None:
    namespace = await asyncio.to_thread(server.namespace, "numbers")
    assert await asyncio.to_thread(server.create, namespace, job("big")) == [201]
    async with client(server) as subject:
        raw = await subject.get(Resource.JOBS, namespace, "big")
        known = GpuQueryJob.model_validate(raw)
        status = decide(known, Observed(), DEFAULTS, NOW).status
        assert status is not None and status.plan is not None
        wrong = status.model_copy(update={"plan": status.plan.model_copy(update={"gpus": 10**30})})
        assert await write_status(subject, known, wrong)
        stored = GpuQueryJob.model_validate(await subject.get(Resource.JOBS, namespace, "big")).status
    assert stored.attempt == 1 and stored.plan is None
    assert any("refused to store more" in c.message for c in stored.conditions)


async def test_a_copy_follows_a_real_server_through_pages_events_and_deletions(server: Server) -> None:
    namespace = await asyncio.to_thread(server.namespace, "copies")
    made = await asyncio.to_thread(server.create, namespace, *(job(f"j-{n}") for n in range(70)))
    assert set(made) == {201}
    told: asyncio.Queue[tuple[str, Head | None, bool]] = asyncio.Queue()
    async with client(server) as subject:
        copy: Copy[Head] = Copy(
            subject, Scope(Resource.JOBS, namespace), trim=head, ability=(ability := Ability("watch")),
            tell=lambda key, item, listed: told.put_nowait((key[1], item, listed)),
        )  # fmt: skip
        running = asyncio.create_task(copy.keep())
        listed = [await asyncio.wait_for(told.get(), 30) for _ in range(70)]
        assert {name for name, _, _ in listed} == {f"j-{n}" for n in range(70)} and all(how for _, _, how in listed)
        path = f"{API}/namespaces/{namespace}/gpuqueryjobs/j-1"
        label = {"metadata": {"labels": {"a": "b"}}}
        await asyncio.to_thread(server.send, ("PATCH", path, label), ("DELETE", path, None), parallel=1)
        changed, gone = [await asyncio.wait_for(told.get(), 30) for _ in range(2)]
        assert changed[0] == gone[0] == "j-1" and changed[1] and gone[1] is None
        assert ability.missing() is None
        running.cancel()
