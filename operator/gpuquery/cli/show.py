"""What the command line prints: remarks and progress to standard error, results to standard output."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import yaml

from gpuquery.api.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gpuquery.api.report import Progress, Report


class _Plain(yaml.SafeDumper):
    """Writes every object in full: in manifests, anchors are noise."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def manifests(objects: Iterable[Mapping[str, Any]]) -> str:
    """Return objects as YAML documents."""
    return yaml.dump_all(objects, Dumper=_Plain, sort_keys=False, width=120)


def say(text: str) -> None:
    """Print to standard output without invisible characters: the job's file may be untrusted."""
    print(clean(text))


def remark(text: str) -> None:
    """Print to standard error, as `say`."""
    print(clean(text), file=sys.stderr)


def outcome(name: str, report: Report) -> None:
    """Print how a run ended."""
    for warning in report.warnings:
        remark(f"{name}: warning: {warning}")
    if report.committed is None:
        remark(f"{name}: {report.failure}: {report.message}")
        return
    if report.reuse is not None:
        word = (
            f"reused the commit of {report.reuse.job}" if report.reuse.reused else f"not reused: {report.reuse.differs}"
        )
        remark(f"{name}: {word}")
    out = report.committed
    say(f"{out.uri}: {out.commit}, {out.rows:,} rows in {out.files:,} files, {out.bytes / 1e6:,.1f} MB")


class Bar:
    """Progress: one line that is overwritten on a terminal, otherwise a line for each phase."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._began = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._phase = ""
        self._drawn = False

    def update(self, progress: Progress) -> None:
        """Show the state of the run."""
        if not self._terminal and progress.phase == self._phase:
            return
        self._phase = progress.phase
        share = f" {progress.percent:3d} %" if progress.percent is not None else ""
        text = f"{self._name}: {progress.phase}{share}, {progress.rows:,} rows, {progress.bytes / 1e6:,.1f} MB"
        text += f", {time.monotonic() - self._began:.1f} s"
        if self._terminal:
            print(f"\r\x1b[K{clean(text)}", end="", file=sys.stderr, flush=True)
        else:
            remark(text)
        self._drawn = self._terminal

    def end(self) -> None:
        """End the line."""
        if self._drawn:
            print(file=sys.stderr)
