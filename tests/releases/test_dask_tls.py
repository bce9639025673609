"""Warm Dask clusters that speak TLS, with the packages of a release, and jobs whose certificates fit or do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from gpuquery.api.reasons import Failure
from tests.releases.dask_jobs import LAST, LONG, RAPIDSMPF, TASKS, WANTED, attached, each, rows, stub
from tests.support.certificates import Authority, client, servers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.dask_cluster import Warm
    from tests.support.dask_pods import Pods

pytestmark = [pytest.mark.releases, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.mark.parametrize(("release", "engine"), each([RAPIDSMPF], among=[TASKS, RAPIDSMPF]))
def test_a_job_talks_tls_with_scheduler_and_workers(
    start: Callable[..., Pods], warm: Callable[..., Warm], tmp_path: Path, release: str, engine: str
) -> None:
    """Certificates are what this cluster goes by: another client of it gets no answer."""
    authority = Authority(tmp_path)
    cluster = warm(release, protocol="tls", **servers(authority.signed("dask")), **stub(release))
    assert cluster.address.startswith("tls://")
    pods = start(release, engine, env=client(authority.signed("client")), **attached(cluster, tlsSecret="client"))
    code, report = pods.end(0)
    assert code == 0, f"{report}\n{pods.logs()}\n{cluster.log()[-4000:]}"
    assert rows(pods) == WANTED
    assert cluster.files() == [] and "tcp://" not in cluster.log()


class Misfit(NamedTuple):
    """Certificates of a client whose cluster goes by those of the CA "ca", and what is to be told of them."""

    words: tuple[str, ...]
    ca: str = "ca"
    """Which CA it trusts."""
    own: str = "ca"
    """Which one has signed its own certificate."""
    days: int = 1
    """How long that is valid."""


HANDSHAKE = "no TLS with the Dask scheduler at"
MISFITS = [
    LONG(Misfit((HANDSHAKE, "self-signed certificate"), ca="other"), id="the CA of another cluster"),
    LONG(Misfit((HANDSHAKE, "unknown ca"), own="other"), id="a certificate by another CA"),
    LONG(Misfit(("tls.crt", "certificate has expired"), days=-1), id="a certificate that has expired"),
]


@LAST
@pytest.mark.parametrize("misfit", MISFITS)
def test_certificates_that_do_not_fit_are_told_at_once_and_for_good(
    start: Callable[..., Pods], warm: Callable[..., Warm], tmp_path: Path, misfit: Misfit
) -> None:
    known = {name: Authority(tmp_path, name) for name in ("ca", "other")}
    cluster = warm("26.10", protocol="tls", workers=0, **servers(known["ca"].signed("dask")))
    secret = known[misfit.own].signed("client", days=misfit.days)
    (secret / "ca.crt").write_bytes(known[misfit.ca].certificate.read_bytes())
    code, report = start("26.10", "rapidsmpf", env=client(secret), **attached(cluster, tlsSecret="client")).end(0)
    assert code == 1
    assert report.failure is Failure.CLUSTER_UNAVAILABLE, "which is not tried again"
    assert all(words in report.message for words in (*misfit.words, cluster.address)), report.message
    assert 'the Secret "client" (dask.tlsSecretName)' in report.message


class Mistaken(NamedTuple):
    """A scheduler that speaks something else than its address says."""

    speaks: str
    named: str
    certificates: bool
    """Whether the client has them, and must talk TLS."""
    words: str
    failure: Failure = Failure.INVALID_COMBINATION


UNHEARD = Mistaken(
    "tls", "tcp", False, "see whether its pod runs, whether it speaks this protocol", Failure.WORKER_LOST
)
MISTAKEN = [
    LONG(Mistaken("tls", "tls", False, "its client knows no CA and has no certificate: name"), id="no certificates"),
    LONG(Mistaken("tls", "tcp", True, "encryption required"), id="an address of tcp where TLS is wanted"),
    LONG(UNHEARD, id="an address of tcp"),
    LONG(Mistaken("tcp", "tls", True, "does not speak TLS"), id="a scheduler that speaks tcp"),
]


@LAST
@pytest.mark.parametrize("mistaken", MISTAKEN)
def test_a_scheduler_under_another_protocol_is_told(
    start: Callable[..., Pods], warm: Callable[..., Warm], tmp_path: Path, mistaken: Mistaken
) -> None:
    secret = Authority(tmp_path).signed("dask")
    cluster = warm("26.10", protocol=mistaken.speaks, workers=0, **servers(secret))
    cluster.address = cluster.address.replace(f"{mistaken.speaks}://", f"{mistaken.named}://")
    env = client(secret) if mistaken.certificates else {}
    code, report = start("26.10", "rapidsmpf", env=env, **attached(cluster)).end(0)
    assert code == 1
    assert report.failure is mistaken.failure
    assert mistaken.words in report.message, report.message
