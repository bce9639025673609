"""The words of the object that follow from the table of RAPIDS releases: engines, releases, and which runs which.

The API server checks them, so they stand in `api`, which may not import the table.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from gpuquery.api.engines import EngineChoice

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gpuquery.plan.releases import Release, Way

MODULE = '''"""Engines and releases. Generated from plan/releases/table.py by `make generate`. Do not edit."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class EngineChoice(StrEnum):
    """Execution models."""

{engines}

class ReleaseChoice(StrEnum):
    """RAPIDS releases, oldest first."""

{releases}

RUN_BY: Mapping[EngineChoice, tuple[ReleaseChoice, ...]] = {{
{run_by}}}
"""Releases that run a GPU engine with a right result on some cluster shape, oldest first. Where a release runs several
engines, `auto` means the first of them."""
GPU_ENGINES = tuple(RUN_BY)
"""All engines but the one that needs no GPU."""
'''


def _member(word: str) -> str:
    return f"R{word.replace('.', '_')}" if word[0].isdigit() else word.upper()


def _new(word: object) -> EngineChoice:
    """Return a member for an engine that has rows and was not generated yet."""
    member = str.__new__(EngineChoice, word)
    member._name_, member._value_ = _member(str(word)), str(word)
    return member


def _table() -> Mapping[str, Release]:
    """Return the table, whose rows may name an engine that was not generated yet."""
    EngineChoice._missing_ = _new  # type: ignore[method-assign, assignment]
    try:
        from gpuquery.plan.releases import RELEASES
    finally:
        del EngineChoice._missing_
    return RELEASES


RELEASES = _table()


def module() -> str:
    """Return the text of `api/engines.py`."""
    engines, run_by = _engines()
    return MODULE.format(
        engines="".join(f'    {_member(engine)} = "{engine}"\n' for engine in engines),
        releases="".join(f'    {_member(name)} = "{name}"\n' for name in RELEASES),
        run_by="".join(
            f"    EngineChoice.{_member(engine)}: (\n"
            + "".join(f"        ReleaseChoice.{_member(name)},\n" for name in names)
            + "    ),\n"
            for engine, names in run_by.items()
        ),
    )


def values_schema(text: str) -> str:
    """Return the schema of the chart's values with the words of the table."""
    for name, words in (("engine", _engines()[0]), ("release", [*RELEASES])):
        text = re.sub(rf'("{name}": {{"enum": )\[[^]]*\]', lambda m, words=words: m[1] + json.dumps(words), text)
    return text


def _engines() -> tuple[list[str], dict[EngineChoice, list[str]]]:
    """Return all words of `spec.engine`, and which releases run those that need GPUs."""
    from gpuquery.plan.releases import Way

    ways: dict[EngineChoice, dict[str, set[Way]]] = {}
    for release in RELEASES.values():
        for (engine, _), cell in release.cells.items():
            ways.setdefault(engine, {}).setdefault(release.name, set()).update({cell.way} if cell.way else ())
    on_cpu = [engine for engine, runs in ways.items() if any(Way.POLARS in found for found in runs.values())]
    run_by = {e: [name for name, found in runs.items() if found] for e, runs in ways.items() if e not in on_cpu}
    return ["auto", *run_by, *on_cpu], run_by
