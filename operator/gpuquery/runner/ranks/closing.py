"""Closing: the pod's last word, without the models of `api.report`, which cost more memory than the supervisor."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from gpuquery.api.reasons import Failure
from gpuquery.runner import gpu_words, oom
from gpuquery.runner.ranks.causes import Fault
from gpuquery.runner.redaction import redact

MAX_BYTES = 4096
"""Of a termination message that the kubelet keeps."""
_TAIL = 1800
"""Characters of the last lines of a process in its report."""
_CUT = " ..."


def failed(cause: Fault) -> str:
    """Return the report of a pod whose attempt failed: the first cause, wherever it was."""
    report = {"failure": cause.failure.value, "message": cause.told(), **cause.details}
    if cause.pod:
        report["pod"] = cause.pod
    return _line({**report, "finished": _now()})


def well(message: str = "") -> str:
    """Return the report of a pod that did its share."""
    return _line({"done": True, "message": message, "finished": _now()})


def obituary(status: int, *, oom_killed: bool, tail: Sequence[str]) -> tuple[Failure, str]:
    """Return class and message for a process that left no report."""
    if status < 0 and oom_killed:
        limit = oom.limit()
        return Failure.HOST_OUT_OF_MEMORY, (
            f"the kernel killed a process of the query: the pod needed more memory than its limit"
            f"{limit and f' of {limit}'}: raise workers.resources.limits.memory or make the query's intermediate "
            "results smaller"
        )
    if (said := gpu_words.last_words("\n".join(tail))) is not None:
        return said[0], redact(said[1])
    last = _last(tail)
    if status < 0:
        return Failure.WORKER_LOST, f"a process of the query died of {name(status)}{last}"
    return Failure.INTERNAL_ERROR, f"a process of the query ended with exit code {status} and left no report{last}"


def name(status: int) -> str:
    """Name the signal of a negative exit code."""
    try:
        return f"signal {-status} ({signal.Signals(-status).name})"
    except ValueError:  # a real-time signal
        return f"signal {-status}"


def _last(tail: Sequence[str]) -> str:
    text = "\n".join(redact(line) for line in tail if line.strip())
    if not text:
        return ""
    return "; its last lines:\n" + (text if len(text) <= _TAIL else f"...{text[-_TAIL:]}")


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _line(report: Mapping[str, Any]) -> str:
    while len(line := json.dumps(report, ensure_ascii=False).encode(errors="replace")) > MAX_BYTES:
        if report.get("warnings"):
            report = {**report, "warnings": report["warnings"][:-1]}
            continue
        text, excess = str(report["message"]), len(line) - MAX_BYTES
        # A character takes up to six bytes, so a sixth of the excess never cuts more than it must.
        report = {**report, "message": text[: max(0, len(text) - excess // 6 - len(_CUT) - 1)] + _CUT}
        if not text.strip(" ."):
            break
    return line.decode()
