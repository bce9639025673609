"""Redaction: what must not appear in a status, which more people may read than a pod's log."""

from __future__ import annotations

import contextlib
import json
import os
import re
from typing import TYPE_CHECKING

from gpuquery.api import catalogs
from gpuquery.api.stores import KEYS
from gpuquery.api.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_MESSAGE = 1200
SHOWN_AS: dict[str, str] = {}
"""Beginnings of URLs that only this process knows, and what they stand for (runner/stores/relay.py)."""
_MIN_VALUE = 16
"""Characters of the shortest value in a signed URL that is hidden by itself too."""

_SIGNED = re.compile(
    r"<(AWSAccessKeyId|StringToSign|StringToSignBytes|SignatureProvided|CanonicalRequest|CanonicalRequestBytes)>"
    r".*?</\1>|(X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)=|[?&;]sig=)[^&\s\"']+|(Credential=|Signature=)[^,\s]+",
    re.S,
)

_LEARNT: set[str] = set()
"""Secrets that stand in no variable."""


def learn(secrets: Iterable[str]) -> None:
    """Take these out, too, from now on."""
    _LEARNT.update(secrets)


def hidden(text: str) -> str:
    """Take out credentials and signatures."""
    for own, shown in SHOWN_AS.items():
        text = text.replace(own, shown)
    names = [*KEYS, *filter(catalogs.holds_secret, os.environ)]
    held = [*(os.environ.get(name, "") for name in names), *tuple(_LEARNT)]
    # The longest first: what is left of a secret after a part of it was taken out would be shown.
    for key in sorted((part for one in held for part in _parts(one)), key=len, reverse=True):
        # A key that ends with a line break is one with and without it.
        for shown in (key, repr(key)[1:-1], key.strip()):
            if len(shown) >= 4:
                text = text.replace(shown, "***")
    return _SIGNED.sub(lambda m: f"{m[2] or m[3] or ''}***", text)


def _parts(key: str) -> Iterator[str]:
    """Return a key, and each part of it that nobody may see: of a service account's JSON, of `id:secret`, and of signed
    URLs."""
    if key.lstrip().startswith(("https://", "#")):
        for line in key.splitlines():
            query = line.strip().partition("?")[2]
            yield query
            yield from (value for one in query.split("&") if len(value := one.partition("=")[2]) >= _MIN_VALUE)
        return
    yield key
    if key.count(":") == 1:
        yield key.partition(":")[2].strip()
    if key.lstrip().startswith("{"):
        with contextlib.suppress(ValueError, AttributeError):
            for name, value in json.loads(key).items():
                if isinstance(value, str) and "private" in name:
                    yield value
                    yield from (line for line in value.splitlines() if not line.startswith("-----"))


def redact(text: str) -> str:
    """Take out credentials, signatures and text beyond 1,200 characters, and show characters that cannot be seen."""
    text = clean(" ".join(hidden(text).split()))
    return text if len(text) <= MAX_MESSAGE else text[:MAX_MESSAGE] + " ..."
