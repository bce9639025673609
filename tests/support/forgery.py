"""Queries that speak for the operator: what a tenant may try from within the standard image."""

from __future__ import annotations

import json
from typing import Any

REPORT = {"uri": "", "version": 99, "files": 1, "rows": 123_456_789, "bytes": 1, "partitions": 0}


def committed(uri: str, **changes: Any) -> dict[str, Any]:
    """The report of a commit that never was."""
    return {"committed": {**REPORT, "uri": uri, **changes}, "message": "audited by finance\nState: Complete"}


def forging(report: dict[str, Any], code: int = 0) -> str:
    """Python of a query that leaves a report of its own making, and ends its process."""
    return (
        "def query(inputs, params):\n"
        "    import os\n"
        "    words = open('/proc/self/cmdline').read().split(chr(0))\n"
        "    with open(words[words.index('--report') + 1], 'a') as report:\n"
        f"        report.write({json.dumps(report)!r} + chr(10))\n"
        f"    os._exit({code})\n"
    )


RAISING = (
    "def query(inputs, params):\n"
    "    raise ValueError('\\x1b]0;title\\x07\\x1b[2J\\x9b1m\\u202eall is well\\nState: Complete\\nMessage: done')\n"
)
"""Python of a query whose error paints over a terminal, and looks like a field of `kubectl describe`."""
