"""Who sends requests to Google Cloud Storage: the credentials that object_store finds for reading, in the same order.

https://cloud.google.com/iam/docs/service-account-creds says how a service account's key makes a token of its own, which
no server has to be asked for. No cryptographic library is among our dependencies, so the one signature that this takes
(RSASSA-PKCS1-v1_5 with SHA-256, RFC 8017 section 8.2) is computed here. It is deterministic, and made of nothing that
others can choose.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.stores import tokens
from gpuquery.runner.stores.rest import Request
from gpuquery.runner.stores.tokens import Bearer, Nobody, Token

if TYPE_CHECKING:
    from collections.abc import Mapping

    import requests

    from gpuquery.runner.stores.rest import Signer
    from gpuquery.runner.stores.vended import Loan

KEY = "GOOGLE_SERVICE_ACCOUNT_KEY"
FILES = ("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "GOOGLE_APPLICATION_CREDENTIALS")
SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
TOKENS = "https://oauth2.googleapis.com/token"
METADATA = "metadata.google.internal"
_WELL_KNOWN = ".config/gcloud/application_default_credentials.json"
_SECONDS = 3600
_SHA256 = bytes.fromhex("3031300d060960864801650304020105000420")
"""What stands before a SHA-256 in a signature: DER of its DigestInfo (RFC 8017, section 9.2, note 1)."""
_PEM = re.compile(r"-----BEGIN (?:RSA )?PRIVATE KEY-----(.*?)-----END", re.DOTALL)


class Lent:
    """Signs with a token that a catalog vends, which the catalog's lease renews."""

    def __init__(self, loan: Loan) -> None:
        self._loan = loan

    def __call__(self, request: requests.PreparedRequest) -> None:
        """Send the token."""
        request.headers["Authorization"] = f"Bearer {self._loan.keys().values['gcs.oauth2.token']}"

    def forget(self) -> None:
        """Leave it to the lease."""


def signer(loan: Loan | None, *, anonymous: bool) -> Signer:
    """Return who signs requests. Raises JobError(StorageAuth)."""
    if loan is not None:
        return Lent(loan)
    if anonymous:
        return Nobody()
    if key := os.environ.get(KEY):
        return _of_account(_read(KEY, key))
    for name in FILES:
        if path := os.environ.get(name):
            return _of_file(name, path)
    own = Path.home() / _WELL_KNOWN
    return _of_file(str(own), str(own)) if own.is_file() else Bearer(_of_node)


def sign(text: bytes, key: str) -> bytes:
    """Sign with a private RSA key in PEM. Raises ValueError for anything else."""
    found = _PEM.search(key)
    if found is None:
        raise ValueError("no private key in PEM")
    n, d = _rsa(base64.b64decode("".join(found[1].split()), validate=True))
    size = (n.bit_length() + 7) // 8
    tail = b"\x00" + _SHA256 + hashlib.sha256(text).digest()
    padded = b"\x00\x01" + b"\xff" * (size - len(tail) - 2) + tail
    if size < len(tail) + 11:
        raise ValueError("the key is too short")
    return pow(int.from_bytes(padded, "big"), d, n).to_bytes(size, "big")


def _of_file(name: str, path: str) -> Signer:
    found = _read(name, tokens.read(name, path))
    if found.get("type") == "authorized_user":
        return Bearer(lambda: _of_user(found))
    return _of_account(found)


def _read(name: str, text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise JobError(Failure.STORAGE_AUTH, f"{name} is not the JSON of credentials of Google")
    return found


def _of_account(found: Mapping[str, Any]) -> Signer:
    if found.get("disable_oauth"):  # emulators' keys say so (object_store does the same)
        return Nobody()
    return Bearer(lambda: _own(found))


def _own(account: Mapping[str, Any]) -> Token:
    """Make a token with a service account's key."""
    now = int(time.time())
    try:
        who, key = account["client_email"], account["private_key"]
        head = {"alg": "RS256", "typ": "JWT", "kid": account["private_key_id"]}  # readers need it too (object_store)
        claims = {"iss": who, "sub": who, "scope": SCOPE, "iat": now, "exp": now + _SECONDS}
        text = ".".join(_url64(json.dumps(part, separators=(",", ":")).encode()) for part in (head, claims))
        return Token(f"{text}.{_url64(sign(text.encode(), key))}", _SECONDS)
    except (KeyError, TypeError, ValueError) as exc:
        raise JobError(
            Failure.STORAGE_AUTH,
            f"the key of the service account cannot be used ({type(exc).__name__}): it must be the whole JSON file, "
            "with client_email, private_key and private_key_id, as Google has made it",
        ) from None


def _of_user(found: Mapping[str, Any]) -> Token:
    given = {name: str(found.get(name, "")) for name in ("client_id", "client_secret", "refresh_token")}
    body = urlencode({"grant_type": "refresh_token", **given}).encode()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    return tokens.asked("Google's server of tokens", Request("POST", TOKENS, body, kind))


def _of_node() -> Token:
    host = os.environ.get("GCE_METADATA_HOST") or METADATA
    url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/token"
    return tokens.asked("the metadata server of Google", Request("GET", url, headers={"Metadata-Flavor": "Google"}))


def _url64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _rsa(der: bytes) -> tuple[int, int]:
    """Return modulus and private exponent of a key in DER: PKCS #1, or PKCS #8 around it (RFC 5958)."""
    parts = _sequence(der)
    if parts[1][0] == 0x30:  # PKCS #8: version, algorithm, key
        parts = _sequence(parts[2][1])
    return int.from_bytes(parts[1][1], "big"), int.from_bytes(parts[3][1], "big")


def _sequence(der: bytes) -> list[tuple[int, bytes]]:
    """Return tag and content of the members of a sequence in DER."""
    (tag, inside, _), found = _one(der), []
    if tag != 0x30:
        raise ValueError("no sequence")
    while inside:
        tag, content, inside = _one(inside)
        found.append((tag, content))
    if len(found) < 3:
        raise ValueError("no key")
    return found


def _one(der: bytes) -> tuple[int, bytes, bytes]:
    tag, size, start = der[0], der[1], 2
    if size & 0x80:
        start = 2 + (size & 0x7F)
        size = int.from_bytes(der[2:start], "big")
    if start + size > len(der):
        raise ValueError("it is cut off")
    return tag, der[start : start + size], der[start + size :]
