"""After native code has ended a query: is a file of its inputs to blame? `python -m gpuquery.runner.inputs.autopsy`.

The supervisor of a pod starts it, which itself imports nothing that could crash. Prints one JSON object: failure class
and message, or nothing in it. Takes less than two minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path

from gpuquery.api.reasons import Failure
from gpuquery.plan.plan import Plan
from gpuquery.runner.inputs.explain import lookup, text
from gpuquery.runner.inputs.resolve import resolve


def told(plan: Plan) -> dict[str, str]:
    """Return class and message of the failure; empty if no file is to blame."""
    plain = [item for item in plan.inputs if item.table is None and item.delta is None]
    tables = [item for item in plan.inputs if item not in plain]
    looked = lookup.broken(lookup.Task(plain, plan.store)) if plain else lookup.Looked()
    if tables and not looked.broken:
        with contextlib.suppress(Exception):  # what keeps a table from being resolved has ended no process
            looked = lookup.broken(lookup.Task(tables, plan.store, resolve(tables, plan.store, plan.snapshots)))
    if not looked.broken:
        return {}
    return {"failure": Failure.INVALID_INPUT.value, "message": text.of_broken(looked.broken)}


def main() -> None:
    """Look into the inputs of a plan."""
    parser = argparse.ArgumentParser(prog="gpuquery.runner.inputs.autopsy", description=__doc__)
    parser.add_argument("--plan", type=Path, required=True, help="the plan, a JSON file")
    plan = Plan.model_validate_json(parser.parse_args().plan.read_bytes())
    print(json.dumps(told(plan)), flush=True)


if __name__ == "__main__":
    main()
