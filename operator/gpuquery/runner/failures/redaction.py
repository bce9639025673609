"""Redaction: what must not appear in a status, which more people may read than a pod's log."""

from __future__ import annotations

import os
import re

from gpuquery.api.stores import KEYS
from gpuquery.api.text import clean

MAX_MESSAGE = 1200

_SIGNED = re.compile(
    r"<(AWSAccessKeyId|StringToSign|StringToSignBytes|SignatureProvided|CanonicalRequest|CanonicalRequestBytes)>"
    r".*?</\1>|(X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)=|[?&;]sig=)[^&\s\"']+|(Credential=|Signature=)[^,\s]+",
    re.S,
)


def hidden(text: str) -> str:
    """Take out credentials and signatures."""
    for name in KEYS:
        # A key that ends with a line break is one with and without it.
        key = os.environ.get(name, "")
        for shown in (key, repr(key)[1:-1], key.strip()):
            if len(shown) >= 4:
                text = text.replace(shown, "***")
    return _SIGNED.sub(lambda m: f"{m[2] or m[3] or ''}***", text)


def redact(text: str) -> str:
    """Take out credentials, signatures and text beyond 1,200 characters, and show characters that cannot be seen."""
    text = clean(" ".join(hidden(text).split()))
    return text if len(text) <= MAX_MESSAGE else text[:MAX_MESSAGE] + " ..."
