"""What the table of RAPIDS releases says, as Markdown: the option reference, and the tables of docs/releases.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuquery.api.choices import GPU_ENGINES, ClusterChoice, EngineChoice
from gpuquery.plan.releases import RELEASES, Cell, Option, OptionKind, Release, sql_on_cpu

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = """<!-- Generated from operator/gpuquery/plan/releases by `make generate`. Do not edit. -->
# Reference: executor options

Options in `spec.executorOptions` by RAPIDS release, under the release's own names. All are optional. Other names, types
and ranges are refused when the job is accepted, with the way out. A size is a number of bytes or a text such as `1.5GB`
or `512MiB`. The same options can be set as `CUDF_POLARS__EXECUTOR__<NAME>` in `spec.template.spec.env`, where sizes are
plain numbers of bytes; `executorOptions` wins.

Settings that the spec or the runner decides are not options: `runtime`, `cluster` and `scheduler` are refused here,
because they are `spec.engine` and `spec.cluster`. The engine `cpu` has no options.
"""
ENGINES = (*GPU_ENGINES, EngineChoice.CPU)
CLUSTERS = (ClusterChoice.SINGLE, ClusterChoice.DISTRIBUTED)
VALUES = {
    OptionKind.BYTES: "size",
    OptionKind.COUNT: "whole number",
    OptionKind.FRACTION: "number",
    OptionKind.BOOLEAN: "true, false",
}


def options_page() -> str:
    """Return the option reference."""
    parts = [HEADER]
    for release in reversed(RELEASES.values()):
        parts += [f"## {release.name}\n", "| option | values | default | for | what it does |\n|---|---|---|---|---|"]
        for option in sorted(release.options.values(), key=lambda option: option.name):
            parts += _rows(release, option, "")
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _rows(release: Release, option: Option, prefix: str) -> Iterator[str]:
    name = prefix + ("<column>" if option.name == "*" else option.name)
    about = f"{option.about} Refused here: {option.instead} instead." if option.instead else option.about
    place = "" if prefix else _place(release, option)
    yield f"| `{name}` | {_values(option)} | {_default(option)} | {place} | {about} |"
    for field in option.fields.values():
        yield from _rows(release, field, f"{name}.")


def _values(option: Option) -> str:
    if option.kind is OptionKind.CHOICE:
        return ", ".join(f"`{choice}`" for choice in option.choices)
    if option.kind is OptionKind.MAPPING:
        others = ["true, false"] if option.can_be_off else ["whole number"] if option.bare else []
        return " or ".join([*others, "mapping"])
    limits = [
        f"over {option.above:g}" if option.above is not None else "",
        f"from {option.least:g}" if option.least or (option.least == 0 and option.most) else "",
        f"to {option.most:g}" if option.most is not None else "",
    ]
    null = " or null" if option.nullable else ""
    return " ".join([VALUES[option.kind], *(limit for limit in limits if limit)]) + null


def _default(option: Option) -> str:
    match option.default:
        case None:
            return ""
        case bool(value):
            return str(value).lower()
        case int(value) if option.kind is OptionKind.BYTES:
            return f"{value // 2**20} MiB"
        case int(value):
            return f"{value:,}"
        case value:
            return f"{value}"


def _place(release: Release, option: Option) -> str:
    """Say for which cells an option is, where it is not for all."""
    known = {cell for cell, found in release.cells.items() if found.collects and cell[0] is not EngineChoice.CPU}
    for_it = {(engine, cluster) for engine, cluster in known if engine in option.engines and cluster in option.clusters}
    if for_it == known:
        return ""
    engines = "" if {e for e, _ in known} == {e for e, _ in for_it} else " or ".join(sorted({e for e, _ in for_it}))
    clusters = "" if {c for _, c in for_it} == set(CLUSTERS) else " or ".join(sorted({c for _, c in for_it}))
    return " x ".join(part for part in (engines, clusters) if part)


def cells_table() -> str:
    """Return what each release runs, what is refused, and why."""
    notes: list[str] = []
    lines = [f"| engine x cluster | {' | '.join(RELEASES)} |", "|---" * (len(RELEASES) + 1) + "|"]
    for engine in ENGINES:
        for cluster in CLUSTERS:
            found = (_cell(release.cells[engine, cluster], notes) for release in RELEASES.values())
            lines.append(f"| {engine} x {cluster} | {' | '.join(found)} |")
    unlike = (_told(f"Refused: {r.sql_unlike}", notes) if r.sql_unlike else "" for r in RELEASES.values())
    lines.append(f"| query.sql on GPUs | {' | '.join(f'no{note}' if note else 'yes' for note in unlike)} |")
    older = "Refused: its Polars gives other values than SQL says"
    cpu = ("yes" if name in sql_on_cpu() else f"no{_told(older, notes)}" for name in RELEASES)
    lines.append(f"| query.sql, engine cpu, in its image | {' | '.join(cpu)} |")
    lines.append("")
    lines += [f"{number}. {note}." for number, note in enumerate(notes, 1)]
    return "\n".join(lines)


def _cell(cell: Cell, notes: list[str]) -> str:
    if cell.way is None:
        return "no" + _told(f"Refused: {cell.because}", notes)
    if not cell.replicated_safe:
        doubled = "Results that every rank holds in full, such as one global sum, are written once for each GPU"
        return cell.way + _told(f"{doubled} (cudf#23525)", notes)
    return cell.way


def _told(text: str, notes: list[str]) -> str:
    """Return the sign of a note, which is added if it is new."""
    if text not in notes:
        notes.append(text)
    return f"<sup>{notes.index(text) + 1}</sup>"


def versions_table() -> str:
    """Return which packages belong to each release."""
    lines = ["| release | cudf-polars | Polars | Python | CUDA | rapidsmpf | ucxx | dask |", "|---" * 8 + "|"]
    for release in RELEASES.values():
        cuda, pins = " and ".join(str(major) for major in release.cuda), release.pins
        lines.append(
            f"| {release.name} | {release.version} | `{release.polars}` | {' to '.join(release.python)} | {cuda} | "
            f"{pins['rapidsmpf']} | {pins['ucxx']} | {pins['dask']} |"
        )
    return "\n".join(lines)


def defects_list() -> str:
    """Return what is known to go wrong, by defect."""
    where: dict[str, list[str]] = {}
    for release in RELEASES.values():
        for defect in release.defects:
            where.setdefault(defect, []).append(release.name)
    return "\n".join(f"- **{', '.join(names)}**: {defect}." for defect, names in where.items())


def releases_page(page: str) -> str:
    """Return docs/releases.md with its generated parts renewed."""
    for name, text in (("cells", cells_table()), ("versions", versions_table()), ("defects", defects_list())):
        start, end = f"<!-- generated: {name} -->\n", f"<!-- end: {name} -->"
        before, found, rest = page.partition(start)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"docs/releases.md has no part between {start.strip()} and {end.strip()}")
        page = f"{before}{start}{text}\n{end}{after}"
    return page
