"""The report of a pod, made without the models of `api.report`, which cost more memory than the supervisor."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from gpuquery.runner.coordination.causes import Fault

MAX_BYTES = 4096
"""Of a termination message that the kubelet keeps."""
UNTOLD = 3
"""Exit code of a pod whose report could not be written."""
MAX_TABLES_BYTES = 2000
"""Of the tables in it: the message needs room, too."""
_CUT = " ..."


def failed(cause: Fault, tables: Sequence[Any] = ()) -> str:
    """Return the report of a pod whose attempt failed: the first cause, wherever it was.

    `tables` are those that it has read, which a retry reads again; the first ones, if there are too many.
    """
    report = {"failure": cause.failure.value, "message": cause.told(), **cause.details}
    while len(json.dumps(tables)) > MAX_TABLES_BYTES:
        tables = tables[:-1]
    if tables:
        report["inputs"] = tables
    if cause.pod:
        report["pod"] = cause.pod
    return _line({**report, "finished": _now()})


def passed(report: Mapping[str, Any]) -> str:
    """Return the report of a process as that of its pod."""
    return _line(report)


def well(message: str = "") -> str:
    """Return the report of a pod that did its share."""
    return _line({"done": True, "message": message, "finished": _now()})


def leave(line: str, termination_log: Path, log: Callable[[str], None]) -> int:
    """Write the report where the kubelet finds it; returns the pod's exit code."""
    try:
        termination_log.write_text(line)
    except OSError as exc:
        log(f"cannot write {termination_log}: {exc.strerror}; the report was: {line}")
        return UNTOLD
    return 1 if "failure" in json.loads(line) else 0


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _line(report: Mapping[str, Any]) -> str:
    while len(line := json.dumps(report, ensure_ascii=False).encode(errors="replace")) > MAX_BYTES:
        if report.get("warnings"):
            report = {**report, "warnings": report["warnings"][:-1]}
            continue
        text, excess = str(report.get("message", "")), len(line) - MAX_BYTES
        # A character takes up to six bytes, so a sixth of the excess never cuts more than it must.
        report = {**report, "message": text[: max(0, len(text) - excess // 6 - len(_CUT) - 1)] + _CUT}
        if not text.strip(" ."):
            break
    return line.decode()
