"""Look at every line of some files of text inputs: a task as JSON comes in, and what is wrong goes out, or nothing.

It ends with the process that has begun it, for which alone it works.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

from gpuquery.api.spec import Input
from gpuquery.plan.plan import StoreAccess
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.inputs.resolve import from_json

ORPHAN_SECONDS = 1.0
"""How late it may learn that nobody waits for its word any more."""


def told(task: dict[str, Any]) -> dict[str, str]:
    """Return class and message of the first thing that is wrong; empty if all is right."""
    access = StoreAccess.model_validate(task["access"])
    resolved = from_json(task["resolved"], [Input.model_validate(item) for item in task["items"]])
    for name, at in task["places"]:
        one = resolved[name]
        try:
            one.reading.verify(one.item, one.files, access, at)
        except JobError as exc:
            return {"failure": exc.failure.value, "message": exc.message}
    return {}


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(ORPHAN_SECONDS)
    os._exit(1)


def main() -> None:
    """Look."""
    threading.Thread(target=_end_with, args=(os.getppid(),), name="orphan", daemon=True).start()
    print(json.dumps(told(json.load(sys.stdin))), flush=True)


if __name__ == "__main__":
    main()
