"""Requests to an S3 server by what they are for: the reason stands in method, key and query string alone."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tests.support.faultproxy import Request

REASONS = (
    ("begin an upload", "POST", r"/data/.*\?uploads"),
    ("send a piece", "PUT", r"/data/.*partNumber="),
    ("complete an upload", "POST", r"/data/.*uploadId="),
    ("drop an upload", "DELETE", r"/data/.*uploadId="),
    ("look for a file", "HEAD", r"/data/"),
    ("prove conditional writes", "PUT", r"/_staging/.*/probe-"),
    ("sign of life", "PUT", r"/_staging/.*\.lease"),
    ("pending set", "PUT", r"/_staging/.*/rank-\d+\.json"),
    ("read a pending set", "GET", r"/_staging/.*/rank-\d+\.json"),
    ("commit record", "PUT", r"/_commits/\d+\.json"),
    ("marker", "PUT", r"/_commits/\d+\..*\.done"),
    ("read the pointer", "GET", r"/_current\.json"),
    ("move the pointer", "PUT", r"/_current\.json"),
    ("look for a marker", "HEAD", r"/_commits/"),
    ("read a record", "GET", r"/_commits/\d+\.json"),
    ("list the log", "GET", r"prefix=[^&]*_commits"),
    ("list what is staged", "GET", r"prefix=[^&]*_staging"),
    ("list what was kept", "GET", r"prefix=[^&]*_failed"),
    ("list uploads", "GET", r"[?&]uploads"),
    ("delete objects", "POST", r"\?delete"),
)


def reason(request: Request) -> str:
    """What a request is for; its method and target where no reason fits."""
    for why, method, target in REASONS:
        if request.method == method and re.search(target, request.target):
            return why
    return f"{request.method} {request.target}"


def counted(requests: Iterable[Request]) -> Mapping[str, int]:
    """How many requests each reason had."""
    return dict(Counter(map(reason, requests)).most_common())
