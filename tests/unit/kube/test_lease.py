"""The Lease: what an election tells of whether it can read and write it. kopf's session stands here too."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import ApiClient, Configuration

from gpuquery.kube.lease import Holding, PatientLock, lead

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

HELD = {
    "metadata": {"name": "gpuquery", "namespace": "system"},
    "spec": {
        "holderIdentity": "other", "leaseDurationSeconds": 15, "acquireTime": "2026-11-21T12:00:00.000000Z",
        "renewTime": "2026-11-21T12:00:00.000000Z",
    },
}  # fmt: skip
FREE = {"metadata": HELD["metadata"], "spec": {}}
WHAT = "the Lease system/gpuquery"


def failure(status: int, reason: str) -> web.Response:
    return web.json_response({"kind": "Status", "reason": reason, "code": status, "message": "no"}, status=status)


@asynccontextmanager
async def server(answers: Mapping[str, object]) -> AsyncIterator[Configuration]:
    """An API server that answers by method, with an object or a status."""

    async def handle(request: web.Request) -> web.Response:
        answer = answers[request.method]
        return failure(answer, "Refused") if isinstance(answer, int) else web.json_response(answer)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    async with TestServer(app) as found:
        configuration = Configuration()
        configuration.host = str(found.make_url("")).rstrip("/")
        yield configuration


async def elected(
    monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, object], *, leads: bool = False
) -> tuple[Holding, bool]:
    """Stand for election for a moment; returns what became known, and whether it led."""
    monkeypatch.setattr("gpuquery.kube.ability.LATELY_SECONDS", 0.0)
    led = asyncio.Event()
    async with server(answers) as configuration:
        api, holding = ApiClient(configuration), Holding.of("gpuquery", "system")

        async def work() -> None:
            led.set()
            await asyncio.Event().wait()

        running = asyncio.create_task(lead(PatientLock("gpuquery", "system", "me", api, holding), work))
        tries = [holding.read, holding.write][: len(answers)]
        async with asyncio.timeout(10):
            while not all(ability._ever or ability._why for ability in tries):  # noqa: ASYNC110 (there is no event)
                await asyncio.sleep(0.01)
            if leads:
                await led.wait()
        assert not running.done(), running.exception()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await api.close()  # type: ignore[no-untyped-call]
    return holding, led.is_set()


@pytest.mark.parametrize(
    ("answers", "read", "write"),
    [
        pytest.param({"GET": HELD}, None, None, id="whoever waits for another's Lease is able"),
        pytest.param({"GET": 403}, f"cannot read {WHAT}: 403 Forbidden", None, id="who may not read it is not"),
        pytest.param({"GET": 401}, f"cannot read {WHAT}: 401 Unauthorized", None, id="nor who is not known"),
        pytest.param(
            {"GET": 404, "POST": 403}, None, f"cannot write {WHAT}: 403 Forbidden", id="nor who cannot make it"
        ),
        pytest.param(
            {"GET": FREE, "PUT": 403}, None, f"cannot write {WHAT}: 403 Forbidden", id="nor who cannot take it"
        ),
        pytest.param({"GET": FREE, "PUT": 409}, None, None, id="another one may be faster"),
    ],
)
async def test_whether_an_operator_that_does_not_lead_could(
    monkeypatch: pytest.MonkeyPatch, answers: Mapping[str, object], read: str | None, write: str | None
) -> None:
    holding, led = await elected(monkeypatch, answers)
    assert (holding.read.missing(), holding.write.missing(), led) == (read, write, False)


async def test_a_free_lease_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    holding, led = await elected(monkeypatch, {"GET": FREE, "PUT": HELD}, leads=True)
    assert led and holding.read.missing() is None and holding.write.missing() is None


async def test_a_leader_whose_api_server_is_away_loses_its_lease_and_ends_long_before_it_is_not_alive(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, seconds in (("LEASE_SECONDS", 2), ("RENEW_SECONDS", 1.3), ("RETRY_SECONDS", 1)):
        monkeypatch.setattr(f"gpuquery.kube.lease.{name}", seconds)
    answers: dict[str, object] = {"GET": FREE, "PUT": HELD}
    async with server(answers) as configuration:
        api, holding = ApiClient(configuration), Holding.of("gpuquery", "system")

        async def work() -> None:
            answers.update(GET=503, PUT=503)
            await asyncio.Event().wait()

        async with asyncio.timeout(20):
            led = await lead(PatientLock("gpuquery", "system", "me", api, holding), work)
        await api.close()  # type: ignore[no-untyped-call]
    assert not led and holding.write.lost() is None
    assert "is lost: another operator may have taken over" in caplog.text
