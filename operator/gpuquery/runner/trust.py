"""Trust: the authorities of the job's ConfigMap, beside those that everybody trusts.

Each client has a variable of its own for a file of certificates, in place of what it would trust otherwise. So all of
them get one file, in which both are. Polars and obstore (rustls-native-certs) and Python's OpenSSL read
SSL_CERT_FILE, botocore AWS_CA_BUNDLE, requests (pyiceberg) REQUESTS_CA_BUNDLE, and KvikIO CURL_CA_BUNDLE, from release
25.10 on (`cpp/src/detail/tls.cpp`; rapidsai/kvikio#817).
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gpuquery.api.labels import CA_KEY, CA_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VARIABLES = ("SSL_CERT_FILE", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_WHERE = f"storage.caConfigMapName: {CA_KEY}"
_FIX = "make the ConfigMap anew with `kubectl create configmap <name> --from-file=ca.crt`"
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)
_OF_SYSTEMS = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
_OF_PACKAGES = (("certifi", "cacert.pem"), ("botocore", "cacert.pem"))


class TrustError(Exception):
    """The job's certificates cannot be used; the message names the field and the way out."""


def variables(environment: Mapping[str, str] = os.environ) -> Mapping[str, str]:
    """Return what makes the clients of a process trust the job's authorities; nothing if it has none.

    Writes the file that they read into TMPDIR. Raises TrustError.
    """
    if not (given := environment.get(CA_VARIABLE)):
        return {}
    try:
        own = Path(given).read_bytes()
    except OSError as exc:
        raise TrustError(f"{_WHERE} cannot be read: {exc.strerror}") from None
    _check(own)
    folder = Path(environment.get("TMPDIR") or tempfile.gettempdir())
    file = folder / "gpuquery-ca.pem"
    if environment.get("SSL_CERT_FILE") == str(file):  # a process above has made it
        return dict.fromkeys(VARIABLES, str(file))
    # Several processes of a pod may write it.
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as made:
        made.write(b"\n".join([_everybodys(environment), own, b""]))
    os.replace(made.name, file)
    return dict.fromkeys(VARIABLES, str(file))


def _check(own: bytes) -> None:
    import ssl

    if b"PRIVATE KEY-----" in own:
        raise TrustError(f"{_WHERE} holds a private key, which everybody here could read: {_FIX}")
    found = _CERTIFICATE.findall(own)
    if not found:
        raise TrustError(f"{_WHERE} holds no certificate in PEM: {_FIX}")
    try:
        text = b"\n".join(found).decode("ascii")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as exc:
        why = getattr(exc, "reason", None) or exc
        raise TrustError(f"{_WHERE} holds a certificate that cannot be read ({why}): {_FIX}") from None


def _everybodys(environment: Mapping[str, str]) -> bytes:
    """Return the certificates that would be trusted without the job's; nothing where there are none."""
    for place in (environment.get("SSL_CERT_FILE"), *_OF_SYSTEMS, *packaged()):
        if place:
            with contextlib.suppress(OSError):
                return Path(place).read_bytes()
    return b""


def packaged() -> Iterator[str]:
    """Yield files of the authorities that packages bring, which are there."""
    for package, name in _OF_PACKAGES:
        found = importlib.util.find_spec(package)
        if found is not None and found.origin:
            yield str(Path(found.origin).parent / name)
