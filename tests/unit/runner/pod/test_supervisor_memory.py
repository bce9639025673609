"""The supervisor shares the pod's memory with the query, so what it loads has a bound."""

from __future__ import annotations

import json
import subprocess
import sys

MOST_MIB = 28
"""Resident memory of a supervisor that has loaded all that it ever loads. Measured on x86-64 with Python 3.11: 24 MiB,
of which 6 MiB are the interpreter's own code and 3 MiB that of OpenSSL, which the query shares, and 3 MiB are asyncio.
With pydantic it is 36 MiB.
"""
LIBRARIES = {"pydantic", "polars", "dask", "boto3", "yaml"}
LOADED = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
line = next(line for line in open("/proc/self/status") if line.startswith("VmRSS"))
print(json.dumps([sorted(sys.modules), int(line.split()[1]) / 1024]))
"""


def test_the_supervisor_loads_no_library_and_stays_small() -> None:
    command = [sys.executable, "-c", LOADED, "gpuquery.runner.supervisor"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    loaded, mebibytes = json.loads(done.stdout)
    assert LIBRARIES.intersection(loaded) == set()
    assert mebibytes < MOST_MIB
