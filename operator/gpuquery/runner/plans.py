"""Reading the plan: a document of another version, or a broken one, is refused in words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pydantic import ValidationError

from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import PLAN_VERSION, Plan
from gpuquery.runner import engines
from gpuquery.runner.failures.errors import JobError

if TYPE_CHECKING:
    from pathlib import Path


def load(path: Path) -> Plan:
    """Read a plan; raises JobError(InvalidPlan)."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as exc:
        raise _invalid(f"the plan {path} cannot be read: {exc}") from None
    version = document.get("version") if isinstance(document, dict) else None
    if version != PLAN_VERSION:
        raise _invalid(
            f"the plan has version {version!r}, this image knows version {PLAN_VERSION}: "
            "use the runtime image of the operator's release"
        )
    try:
        return Plan.model_validate(document)
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        if where == "engine":
            engines.find(str(document["engine"]))  # which names those that this image has
        raise _invalid(f"the plan is broken at {where}: {first['msg']}") from None


def _invalid(message: str) -> JobError:
    return JobError(Failure.INVALID_PLAN, message)
