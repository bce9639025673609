"""An operator that watches several namespaces, one of which refuses it."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, Any

from kubernetes.aio.client import Configuration

from gpuquery.api.conditions import is_true
from gpuquery.app import main as app
from gpuquery.app.settings import Settings
from gpuquery.kube import ability
from gpuquery.kube.client import ApiError, Manifest, Resource, Scope
from tests.support.recording import RecordingClient
from tests.unit.reconcile.test_reconciler import current, store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import pytest


class OneRefuses(RecordingClient):
    """An API server that lets jobs be listed in namespace marts, and refuses them in all others."""

    async def pages(
        self, resource: Resource, namespace: str | None, digest: Callable[[Manifest], Any], **_: Any
    ) -> AsyncIterator[tuple[list[Any], str]]:
        if namespace != "marts":
            raise ApiError(403, "Forbidden", "no")
        yield [digest(job) for (kind, _), job in self.objects.items() if kind is resource], "9"

    async def watch(
        self, scope: Scope, version: str, digest: Callable[[Manifest], Any], *, opened: Any
    ) -> AsyncIterator[tuple[str, Any]]:
        opened()
        await asyncio.Event().wait()
        yield "", None


async def only_ready(*, ready_flag: asyncio.Event, stop_flag: asyncio.Event, **_: Any) -> None:
    """Stand for kopf."""
    ready_flag.set()
    await stop_flag.wait()


async def test_jobs_begin_after_a_restart_while_another_namespace_refuses_its_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(app.kopf, "operator", only_ready)
    client, stop = OneRefuses(), asyncio.Event()
    store(client)
    settings = Settings(namespaces=("refused", "marts"), leader_election=False)
    subject = app.Operator(settings, Configuration(), client)
    running = asyncio.create_task(subject.operate(stop))
    async with asyncio.timeout(10):
        while not is_true(current(client).status.conditions, "Accepted"):  # noqa: ASYNC110 (there is no such event)
            await asyncio.sleep(0.01)
    monkeypatch.setattr(ability, "REFUSED_SECONDS", 0.0)
    assert subject.health.ready() is None and subject.health.alive() is None
    assert subject.health.partly() == "cannot list and watch the jobs of namespace refused: 403 Forbidden: no"
    stop.set()
    await running


async def test_a_signal_ends_the_operator_though_kopf_has_taken_the_signals_for_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    taken = []

    async def grasping(**flags: asyncio.Event) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, taken.append, "by kopf")
        await only_ready(**flags)

    monkeypatch.setattr(app.kopf, "operator", grasping)
    client, stop = OneRefuses(), asyncio.Event()
    subject = app.Operator(Settings(namespaces=("marts",), leader_election=False), Configuration(), client)
    running = asyncio.create_task(subject.operate(stop))
    async with asyncio.timeout(10):
        while not subject.health.watching:  # noqa: ASYNC110 (there is no such event)
            await asyncio.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)
        await running
    assert stop.is_set() and not taken
