"""TLS with a Dask cluster of somebody else's: which certificates will do, and what is told of those that will not."""

from __future__ import annotations

import ssl
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from gpuquery.api.reasons import Failure
from gpuquery.runner.engines.dask.tls import SETTINGS, Certificates
from gpuquery.runner.failures.errors import JobError
from tests.support.certificates import Authority

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ADDRESS = "tls://warm:8786"


class Config:
    """The configuration of Dask, with what lies in a folder."""

    def __init__(self, **files: Any) -> None:
        self._files = files

    def get(self, name: str, default: Any) -> Any:
        key = next(key for key, setting in SETTINGS.items() if setting == name)
        return self._files.get(key, default)


def config(folder: Path) -> Config:
    return Config(**{key: str(folder / key) for key in SETTINGS})


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A CA."""
    return Authority(tmp_path)


def test_certificates_that_belong_together_will_do_and_so_will_a_key_in_the_file_of_its_certificate(
    authority: Authority,
) -> None:
    folder = authority.signed("client")
    Certificates(ADDRESS, secret="client").check(config(folder))
    both = folder / "both.pem"
    both.write_bytes((folder / "tls.key").read_bytes() + (folder / "tls.crt").read_bytes())
    Certificates(ADDRESS, secret=None).check(Config(**{"ca.crt": str(folder / "ca.crt"), "tls.crt": str(both)}))


def test_certificates_may_stand_in_the_variables_themselves_as_dask_allows(authority: Authority) -> None:
    folder = authority.signed("client")
    Certificates(ADDRESS, secret=None).check(Config(**{key: (folder / key).read_text() for key in SETTINGS}))


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (
            {},
            "its client knows no CA and has no certificate: name a Secret with ca.crt, tls.crt and tls.key in dask.tls",
        ),
        ({"ca.crt": "/ca"}, "its client has no certificate"),
        ({"tls.crt": "/crt"}, "DASK_DISTRIBUTED__COMM__TLS__CA_FILE"),
    ],
)
def test_without_certificates_nobody_is_asked(known: dict[str, str], words: str) -> None:
    with pytest.raises(JobError, match=words) as told:
        Certificates(ADDRESS, secret=None).check(Config(**known))
    assert told.value.failure is Failure.INVALID_COMBINATION and ADDRESS in told.value.message


def absent(folder: Path, _: Authority) -> None:
    (folder / "ca.crt").unlink()


def emptied(folder: Path, _: Authority) -> None:
    (folder / "ca.crt").write_text("no certificate")


def anothers_key(folder: Path, authority: Authority) -> None:
    (folder / "tls.key").write_bytes((authority.signed("other") / "tls.key").read_bytes())


def locked(folder: Path, _: Authority) -> None:
    words = ["pkcs8", "-topk8", "-passout", "pass:secret", "-in", folder / "tls.key", "-out", folder / "locked"]
    subprocess.run(["openssl", *words], check=True, capture_output=True)
    (folder / "locked").replace(folder / "tls.key")


def expired(folder: Path, authority: Authority) -> None:
    other = authority.signed("expired", days=-1)
    for key in ("tls.crt", "tls.key"):
        (folder / key).write_bytes((other / key).read_bytes())


def a_servers(folder: Path, authority: Authority) -> None:
    other = authority.signed("server", usage="serverAuth")
    for key in ("tls.crt", "tls.key"):
        (folder / key).write_bytes((other / key).read_bytes())


def of_an_old_ca(folder: Path, authority: Authority) -> None:
    words = ["x509", "-in", authority.certificate, "-signkey", authority.folder / "ca.key", "-days", "-1"]
    subprocess.run(["openssl", *words, "-out", folder / "ca.crt"], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (absent, ("ca.crt", "No such file")),
        (emptied, ("ca.crt", "no certificate or crl found")),
        (anothers_key, ("tls.crt", "key values mismatch")),
        (locked, ("tls.crt", "its key has a password")),
        (expired, ("tls.crt", "certificate has expired")),
        (a_servers, ("tls.crt", "certificate purpose")),
        (of_an_old_ca, ("ca.crt", "all of its certificates have expired")),
    ],
)
@pytest.mark.parametrize("secret", ["client", None])
def test_a_file_that_cannot_be_used_is_named_with_its_secret(
    authority: Authority, spoil: Callable[[Path, Authority], None], words: tuple[str, str], secret: str | None
) -> None:
    folder = authority.signed("client")
    spoil(folder, authority)
    with pytest.raises(JobError) as told:
        Certificates(ADDRESS, secret=secret).check(config(folder))
    assert told.value.failure is Failure.CLUSTER_UNAVAILABLE
    wanted = 'the Secret "client" (dask.tlsSecretName)' if secret else "DASK_DISTRIBUTED__COMM__TLS__CA_FILE"
    assert all(each in told.value.message for each in (*words, ADDRESS, wanted)), told.value.message


class CommClosedError(OSError):
    """What Dask raises of a connection that breaks."""


def broken(words: str, cause: Exception | None = None) -> Exception:
    """What comes of a try to connect, as it reaches the client: the words of OpenSSL may be behind it only."""
    try:
        try:
            raise CommClosedError(words) from cause
        except CommClosedError as exc:
            raise JobError(Failure.WORKER_LOST, "a process of the Dask cluster was lost") from exc
    except JobError as exc:
        return exc


def verify(why: str) -> Exception:
    return ssl.SSLCertVerificationError(
        1, f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {why} (_ssl.c:1)"
    )


UNFIT, WRONG = Failure.CLUSTER_UNAVAILABLE, Failure.INVALID_COMBINATION
COMPARE = 'compare its certificates with those of the client, the Secret "client" (dask.tlsSecretName)'
REFUSED: list[Any] = [
    pytest.param(
        broken("TLS certificate does not match.", verify("unable to get local issuer certificate")),
        (UNFIT, "TLS certificate does not match.: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"),
        id="another CA",
    ),
    pytest.param(
        broken("in <TLS (closed)>: SSLError: [SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert (_ssl.c:2580)"),
        (UNFIT, "in <TLS (closed)>: SSLError: [SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert"),
        id="the scheduler wants another one",
    ),
    pytest.param(
        broken("SSLError: [SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca (_ssl.c:1)"),
        (UNFIT, "tlsv1 alert unknown ca"),
        id="the scheduler has another CA",
    ),
    pytest.param(
        broken("SSLError: [SSL: TLSV1_ALERT_PROTOCOL_VERSION] tlsv1 alert protocol version (_ssl.c:1)"),
        (UNFIT, "tlsv1 alert protocol version"),
        id="versions that do not meet",
    ),
    pytest.param(
        broken("", ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)")),
        (WRONG, "does not speak TLS ([SSL: WRONG_VERSION_NUMBER] wrong version number"),
        id="it speaks something else",
    ),
    pytest.param(
        broken("", ssl.SSLError(1, "[SSL: RECORD_LAYER_FAILURE] record layer failure (_ssl.c:1006)")),
        (WRONG, "does not speak TLS ([SSL: RECORD_LAYER_FAILURE]"),
        id="in the words of a later OpenSSL",
    ),
    pytest.param(
        ValueError("IOStream is not idle; cannot convert to SSL"), (WRONG, "does not speak TLS"), id="and does so first"
    ),
    pytest.param(broken("Timed out trying to connect"), None, id="nobody there"),
    pytest.param(
        broken("in <TLS (closed)>", ssl.SSLEOFError(8, "EOF occurred in violation of protocol (_ssl.c:2427)")), None,
        id="a scheduler that hangs up",
    ),
    pytest.param(
        broken("[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred (_ssl.c:1)"), None, id="a scheduler on its way out"
    ),
]  # fmt: skip


@pytest.mark.parametrize(("raised", "want"), REFUSED)
def test_what_a_handshake_failed_of_is_told_in_the_words_of_dask(raised: Exception, want: Any) -> None:
    found = Certificates(ADDRESS, secret="client").refused(raised)
    assert Certificates("tcp://warm:8786", secret=None).refused(raised) is None
    if want is None:
        assert found is None, "the next try may succeed"
        return
    failure, words = want
    assert found is not None and found.failure is failure and words in found.message, found
    assert ADDRESS in found.message and (failure is WRONG or found.message.endswith(COMPARE))
