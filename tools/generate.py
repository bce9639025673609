"""Writes the generated files: the words of the release table, the CRD and the chart's copy, the references in docs.

`--check` writes nothing and fails when a file is stale.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from gpuquery.api.crd import as_yaml
from tools.choices import module, values_schema
from tools.functions import functions_page
from tools.kubectl import ROOT
from tools.reference import as_markdown
from tools.releases import options_page, releases_page

RELEASES_PAGE = "docs/releases.md"
WORDS = "operator/gpuquery/api/engines.py"
VALUES_SCHEMA = "charts/gpuquery/values.schema.json"


def files() -> dict[str, str]:
    """Return the generated files by path."""
    crd = as_yaml()
    return {
        WORDS: module(),
        VALUES_SCHEMA: values_schema((ROOT / VALUES_SCHEMA).read_text()),
        "crds/gpuquery.io_gpuqueryjobs.yaml": crd,
        "charts/gpuquery/files/crd.yaml": crd,
        "docs/reference/api.md": as_markdown(),
        "docs/reference/options.md": options_page(),
        "docs/reference/sql-functions.md": functions_page(),
        RELEASES_PAGE: releases_page((ROOT / RELEASES_PAGE).read_text()),
    }


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for name, text in files().items():
        path = ROOT / name
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            print(f"wrote {name}", flush=True)
            if name == WORDS:  # This process has the old words.
                return subprocess.run([sys.executable, "-m", "tools.generate"], check=False).returncode
    if check and stale:
        print(f"stale: {', '.join(stale)}; run `make generate`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
