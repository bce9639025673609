"""What the Secret says of web servers: which of them is shown which header, and which URLs are signed.

A job names a file by its plain URL. What nobody may see is looked up here, in each process and at the last moment, so
no plan, status, record or digest has it, and two attempts with other signatures read the same file.
"""

from __future__ import annotations

import base64
import functools
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlsplit

from gpuquery.api.reasons import Failure
from gpuquery.api.stores import HTTPS_HEADER as HEADER
from gpuquery.api.stores import HTTPS_HOST, HTTPS_PASSWORD, HTTPS_TOKEN, HTTPS_URLS, HTTPS_USER, WEB
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SAFE = "%/:@!$&'()*+,;=~-._"
"""Characters of a path that stay as they are, as Polars leaves them; a percent sign begins an escape."""
_HEADER = re.compile(r"([A-Za-z0-9!#$%&'*+.^_`|~-]+):[ \t]*([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)")
_OURS = {"host", "range", "connection", "content-length", "transfer-encoding", "accept-encoding", "user-agent", "te"}
_TOKEN = re.compile(r"[\x21-\x7e]+")
_HOST = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)(?::([0-9]{1,5}))?")
_MAKE = "correct the Secret in storage.secretName"


class Server(NamedTuple):
    """A web server."""

    host: str
    port: int


@dataclass(frozen=True)
class Secrets:
    """What is shown to whom."""

    servers: frozenset[Server] = frozenset()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What these servers are shown."""
    signed: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Whole URLs, by the plain ones."""

    def shown(self, url: str) -> Mapping[str, str]:
        """Return the headers for a URL: none but for https:// and the servers that are named."""
        parts = urlsplit(url)
        if parts.scheme != "https" or not self.headers:
            return {}
        return self.headers if Server((parts.hostname or "").lower(), parts.port or 443) in self.servers else {}


def spelled(path: str) -> str:
    """Write blanks and other letters than those of URLs as escapes."""
    return quote(path, safe=_SAFE)


def known() -> Secrets:
    """Return what the environment holds. Raises StorageAuth, which shows no value."""
    return _read(*(os.environ.get(name, "") for name in WEB.keys))


@functools.lru_cache(maxsize=4)
def _read(*values: str) -> Secrets:
    given = {name: value.rstrip("\r\n") for name, value in zip(WEB.keys, values, strict=True) if value.strip()}
    headers = _headers(given)
    servers = _servers(given.get(HTTPS_HOST, ""))
    if headers and not servers:
        raise _wrong(f"{HTTPS_HOST} is missing: name the hosts that may see the credentials, with commas in between")
    return Secrets(servers, headers, _signed(given.get(HTTPS_URLS, "")))


def _headers(given: Mapping[str, str]) -> Mapping[str, str]:
    ways = [name for name in (HTTPS_TOKEN, HTTPS_PASSWORD, HEADER) if name in given]
    if len(ways) > 1:
        raise _wrong(f"{' and '.join(ways)} are set: keep one of them")
    if (HTTPS_USER in given) != (HTTPS_PASSWORD in given):
        raise _wrong(f"{HTTPS_USER} and {HTTPS_PASSWORD} belong together, and one of them is missing")
    if token := given.get(HTTPS_TOKEN):
        if not _TOKEN.fullmatch(token):
            raise _wrong(f"{HTTPS_TOKEN} holds a blank or a character that is in no token")
        return {"Authorization": f"Bearer {token}"}
    if password := given.get(HTTPS_PASSWORD):
        if ":" in given[HTTPS_USER]:
            raise _wrong(f"{HTTPS_USER} holds a colon, which basic authentication has no way to send")
        both = base64.b64encode(f"{given[HTTPS_USER]}:{password}".encode()).decode()
        return {"Authorization": f"Basic {both}"}
    if header := given.get(HEADER):
        found = _HEADER.fullmatch(header)
        if found is None or found[1].lower() in _OURS:
            raise _wrong(f"{HEADER} is no header of your own: write it like `X-Api-Key: ...`")
        return {found[1]: found[2]}
    return {}


def _servers(text: str) -> frozenset[Server]:
    found = set()
    for name in filter(None, re.split(r"[,\s]+", text)):
        host = _HOST.fullmatch(name)
        if host is None:
            raise _wrong(f"{HTTPS_HOST} names no hosts: write them like data.example.com or data.example.com:8443")
        found.add(Server(host[1].lower(), int(host[2] or 443)))
    return frozenset(found)


def _signed(text: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not (url := line.strip()) or url.startswith("#"):
            continue
        where = f"line {number} of {HTTPS_URLS}"
        plain, mark, query = url.partition("?")
        scheme, _, rest = plain.partition("://")
        host, slash, path = rest.partition("/")
        if scheme != "https" or not host or "@" in host or not path or not query or not _TOKEN.fullmatch(query):
            raise _wrong(f"{where} is no signed URL: write https://host/path?query, one in a line")
        key = f"https://{host}{slash}{spelled(path)}"
        if found.setdefault(key, key + mark + query) != key + mark + query:
            raise _wrong(f"{where} signs a file that a line above signs otherwise: keep one of them")
    return found


def _wrong(what: str) -> JobError:
    return JobError(Failure.STORAGE_AUTH, f"https://: {what}; {_MAKE}")
