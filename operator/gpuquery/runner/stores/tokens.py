"""Tokens that open a store for a while, kept until shortly before they end, for all threads of this process."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpuquery.api.reasons import Failure
from gpuquery.api.text import clean
from gpuquery.runner.failures import redaction
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.stores import redact, with_way_out
from gpuquery.runner.stores import rest

if TYPE_CHECKING:
    from collections.abc import Callable

    import requests

MARGIN = 300.0
"""Seconds before their end at which tokens are asked for again."""
LEAST = 60.0
"""Tokens that live shorter than this are asked for again each minute: a clock may be wrong."""


@dataclass(frozen=True)
class Token:
    """A token, and the seconds for which it is good."""

    text: str
    seconds: float


class Bearer:
    """Signs requests with a token."""

    def __init__(self, ask: Callable[[], Token]) -> None:
        """`ask` raises JobError(StorageAuth) and rest.UnreachedError."""
        self._ask = ask
        self._lock = threading.Lock()
        self._held = ""
        self._due = 0.0

    def __call__(self, request: requests.PreparedRequest) -> None:
        """Send the token."""
        request.headers["Authorization"] = f"Bearer {self.text()}"

    def text(self) -> str:
        """Return a token that does not end soon."""
        with self._lock:
            if time.monotonic() >= self._due:
                found = self._ask()
                redaction.learn([found.text])
                self._held, self._due = found.text, time.monotonic() + max(found.seconds - MARGIN, LEAST)
            return self._held

    def forget(self) -> None:
        """Ask again next time."""
        self._due = 0.0


class Nobody:
    """Signs nothing."""

    def __call__(self, request: requests.PreparedRequest) -> None:
        """Leave the request as it is."""

    def forget(self) -> None:
        """Forget nothing."""


def asked(what: str, request: rest.Request) -> Token:
    """Ask a server of tokens (RFC 6749, section 5.1). Raises JobError(StorageAuth), rest.UnreachedError."""
    answer = rest.send(rest.session(), request)
    if answer.status in rest.BUSY:
        raise rest.UnreachedError(f"{what} answers {answer.status}")
    try:
        found = json.loads(answer.body)
        if answer.status < 300:
            return Token(str(found["access_token"]), float(found.get("expires_in", 3600)))
        why = f"{found.get('error', '')}: {found.get('error_description', '')}"
    except (ValueError, KeyError, TypeError, AttributeError):
        why = ""
    text = f"{what} gives no token: {answer.status} {clean(redact(why), 300)}"
    raise with_way_out(Failure.STORAGE_AUTH, text.rstrip(": ")) from None


def read(what: str, path: str) -> str:
    """Read a file with credentials. Raises JobError(StorageAuth)."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as exc:
        raise JobError(Failure.STORAGE_AUTH, f"{what} names a file that cannot be read: {type(exc).__name__}") from None
