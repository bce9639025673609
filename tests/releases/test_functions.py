"""The functions that a release's cudf-polars translates are those of which the table of functions says so."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from gpuquery.plan import releases
from gpuquery.runner.query.sql import functions
from gpuquery.runner.query.sql.functions import lacks
from tests.releases import environments
from tests.releases.environments import CUDA
from tests.support import sql_functions
from tests.support.sql_function_cases import CASES

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.releases

PROBE = Path(__file__).with_name("function_probe.py")
OPERATOR = environments.ROOT / "operator"
DATA = Path(lacks.__file__)
CONSTANTS = ("to_months", "to_quarters", "to_years", "to_decades", "to_centuries", "to_millennia")
"""No release has to translate them: the front end makes constants of them."""


class Found(NamedTuple):
    """Names of functions of whose calls a release translates none, and some."""

    none: list[str]
    some: list[str]


def asked(folder: Path) -> Path:
    """Write the calls of every function, bound, and return where."""
    names = [row.name for row in functions.ROWS if row.name not in CONSTANTS]
    bound = {name: {text: sql_functions.node(text) for text in CASES[name]} for name in names}
    path = folder / "asked"
    path.write_bytes(pickle.dumps(bound))
    return path


def answered(release: str, path: Path) -> Found:
    python = environments.python_of(release)
    env = {k: v for k, v in os.environ.items() if not k.startswith(("CUDF_POLARS", "RAPIDSMPF"))}
    if release == "26.04":
        env["LD_LIBRARY_PATH"] = str(environments.nvml_stub(environments.folder(release, CUDA)))
    env["PYTHONPATH"] = str(OPERATOR)
    command = [python, "-P", PROBE, release, path]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-3000:]
    problems: Mapping[str, Mapping[str, str | None]] = json.loads(done.stdout)
    none = [name for name, calls in problems.items() if all(calls.values())]
    return Found(none, [name for name, calls in problems.items() if any(calls.values()) and name not in none])


def _filled(names: list[str]) -> str:
    return textwrap.fill(" ".join(names), 112, break_long_words=False, break_on_hyphens=False)


def written(found: Mapping[str, Found]) -> str:
    """Return the text of the data."""

    def block(name: str, doc: str, lists: Mapping[str, list[str]]) -> str:
        rows = "".join(f'    "{release}": """\n{_filled(names)}\n""",\n' for release, names in lists.items())
        return f'{name}: dict[str, str] = {{\n{rows}}}\n"""{doc}"""\n'

    return (
        '"""What cudf-polars translates. Generated: `GOLDEN=write pytest tests/releases/test_functions.py`.\n\n'
        "Every release that runs SQL on GPUs is here.\n"
        '"""\n\n'
        + block("NONE", "Functions of whose calls it translates none.", {r: f.none for r, f in found.items()})
        + block("SOME", "Functions of whose calls it translates some.", {r: f.some for r, f in found.items()})
    )


def recorded(release: str) -> Found:
    return Found(lacks.NONE.get(release, "").split(), lacks.SOME.get(release, "").split())


def test_the_table_says_what_each_release_translates(tmp_path: Path) -> None:
    """Of the releases that are not installed here the table is taken as it stands."""
    path = asked(tmp_path)
    here = {release for release in environments.CHECKED if environments.python(release, CUDA)}
    assert here.intersection(releases.sql_on_gpus()), "no release that runs SQL on GPUs is installed"
    text = written({
        release: answered(release, path) if release in here else recorded(release)
        for release in releases.sql_on_gpus()
    })  # fmt: skip
    if os.environ.get("GOLDEN") == "write":
        DATA.write_text(text)
    assert DATA.read_text() == text, "what the releases translate has changed; GOLDEN=write records it"
