"""What runs in a release's packages for `test_preflight.py`: the query process, for one plan after another.

Reads a line of JSON with the path of a plan and variables, and prints the report; imports of a release take seconds, so
one process serves many plans.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from gpuquery.runner import main as query


def main() -> None:
    """Serve until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a library prints is no answer
    for line in sys.stdin:
        asked = json.loads(line)
        os.environ.update(asked["env"])
        print(query._run(Path(asked["plan"]), None).to_line(), file=answers)
        for name in asked["env"]:
            del os.environ[name]


if __name__ == "__main__":
    main()
