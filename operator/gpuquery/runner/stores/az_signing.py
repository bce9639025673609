"""Who sends requests to Azure Blob Storage: the credentials that object_store finds for reading, in the same order.

An account's key signs each request (learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key), a shared
access signature is part of the URL, and a service principal, a workload identity or a node's identity gets tokens of
Microsoft Entra.
"""

from __future__ import annotations

import base64
import binascii
import email.utils
import hashlib
import hmac
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.stores import tokens
from gpuquery.runner.stores.rest import Request
from gpuquery.runner.stores.tokens import Bearer, Nobody, Token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import requests

    from gpuquery.runner.stores.rest import Signer
    from gpuquery.runner.stores.vended import Loan

VERSION = "2021-12-02"
"""Of the API (x-ms-version)."""
AUTHORITY = "https://login.microsoftonline.com"
RESOURCE = "https://storage.azure.com"
NODE = "http://169.254.169.254/metadata/identity/oauth2/token"
_SIGNED = (
    "Content-Encoding", "Content-Language", "Content-Length", "Content-MD5", "Content-Type", "Date",
    "If-Modified-Since", "If-Match", "If-None-Match", "If-Unmodified-Since", "Range",
)  # fmt: skip
"""Headers that a signature covers, in its order."""


class SharedKey:
    """Signs with an account's key."""

    def __init__(self, account: str, key: str) -> None:
        """Raises JobError(StorageAuth) for a key that is none."""
        self._account = account
        try:
            self._key = base64.b64decode(key, validate=True)
        except (binascii.Error, ValueError):
            raise JobError(
                Failure.STORAGE_AUTH, "AZURE_STORAGE_ACCOUNT_KEY is no key of a storage account: it is no base64"
            ) from None

    def __call__(self, request: requests.PreparedRequest) -> None:
        """Sign."""
        request.headers["x-ms-date"] = email.utils.formatdate(usegmt=True)
        text = signed_text(self._account, request.method or "", request.url or "", dict(request.headers))
        mac = hmac.new(self._key, text.encode(), hashlib.sha256).digest()
        request.headers["Authorization"] = f"SharedKey {self._account}:{base64.b64encode(mac).decode()}"

    def forget(self) -> None:
        """Keep the key: there is no other."""


class Signature:
    """Puts a shared access signature into URLs."""

    def __init__(self, token: Callable[[], str]) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> None:
        """Add it to the query."""
        url = request.url or ""
        request.url = f"{url}{'&' if '?' in url else '?'}{self._token().lstrip('?')}"

    def forget(self) -> None:
        """Leave it to the lease of a catalog, if it comes from one."""


def signer(account: str, loan: Loan | None, *, anonymous: bool) -> Signer:
    """Return who signs requests. Raises JobError(StorageAuth)."""
    if loan is not None:
        return Signature(lambda: loan.keys().values["adls.sas-token"])
    if anonymous:
        return Nobody()
    given = {name: os.environ.get(f"AZURE_{name}", "") for name in ("CLIENT_ID", "CLIENT_SECRET", "TENANT_ID")}
    if key := os.environ.get("AZURE_STORAGE_ACCOUNT_KEY"):
        return SharedKey(account, key)
    if all(given.values()):
        return Bearer(lambda: _of_principal({"client_secret": given["CLIENT_SECRET"]}, given))
    if given["CLIENT_ID"] and given["TENANT_ID"] and (file := os.environ.get("AZURE_FEDERATED_TOKEN_FILE")):
        return Bearer(lambda: _federated(file, given))
    if token := os.environ.get("AZURE_STORAGE_SAS_TOKEN"):
        return Signature(lambda: token)
    return Bearer(lambda: _of_node(given["CLIENT_ID"]))


def signed_text(account: str, method: str, url: str, headers: Mapping[str, Any]) -> str:
    """Return what a Shared Key signs of a request."""
    parts = urlsplit(url)
    values = {name: headers.get(name) or "" for name in _SIGNED}
    values["Content-Length"] = values["Content-Length"] if values["Content-Length"] != "0" else ""
    own = sorted((name.lower(), value) for name, value in headers.items() if name.lower().startswith("x-ms-"))
    query = sorted((name.lower(), value) for name, value in parse_qsl(parts.query, keep_blank_values=True))
    return "\n".join(
        [
            method,
            *(values[name] for name in _SIGNED),
            *(f"{name}:{value.strip()}" for name, value in own),
            f"/{account}{parts.path}",
            *(f"{name}:{value}" for name, value in query),
        ]
    )


def _of_principal(proof: Mapping[str, str], given: Mapping[str, str]) -> Token:
    host = (os.environ.get("AZURE_AUTHORITY_HOST") or AUTHORITY).rstrip("/")
    body = {
        "grant_type": "client_credentials", "client_id": given["CLIENT_ID"], "scope": f"{RESOURCE}/.default", **proof,
    }  # fmt: skip
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    url = f"{host}/{given['TENANT_ID']}/oauth2/v2.0/token"
    return tokens.asked("Microsoft Entra", Request("POST", url, urlencode(body).encode(), kind))


def _federated(file: str, given: Mapping[str, str]) -> Token:
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    proof = tokens.read("AZURE_FEDERATED_TOKEN_FILE", file).strip()  # the kubelet renews it
    return _of_principal({"client_assertion": proof, "client_assertion_type": kind}, given)


def _of_node(client: str) -> Token:
    where = os.environ.get("IDENTITY_ENDPOINT") or os.environ.get("AZURE_MSI_ENDPOINT") or NODE
    query = {"api-version": "2019-08-01", "resource": RESOURCE, **({"client_id": client} if client else {})}
    secret = os.environ.get("IDENTITY_HEADER")
    headers = {"Metadata": "true", **({"X-IDENTITY-HEADER": secret} if secret else {})}
    return tokens.asked("the metadata server of Azure", Request("GET", f"{where}?{urlencode(query)}", headers=headers))
