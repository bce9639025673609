"""A plan as a picture: Graphviz text, or SVG, which every browser can show. Rows flow from bottom to top."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from gpuquery.api.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpuquery.runner.query.sql.rules.explain import Step

WIDTH = 44
"""Maximum characters of a line in a box; longer ones are cut."""
_CHARACTER, _LINE, _PAD, _GAP, _LEVEL = 7, 16, 8, 24, 36
"""Pixels."""


def dot(step: Step, name: str) -> str:
    """Return the Graphviz text."""
    lines = [f"digraph {_quoted(name)} {{", "  rankdir=BT;", "  node [shape=box, fontname=monospace];"]
    numbers: dict[int, int] = {}
    for number, one in enumerate(_all(step)):
        numbers[id(one)] = number
        lines.append(f"  n{number} [label={_quoted(chr(10).join(_text(one)))}];")
    for one in _all(step):
        for below in one.steps:
            label = f" [label={_quoted(below.leads_to)}]" if below.leads_to else ""
            lines.append(f"  n{numbers[id(below)]} -> n{numbers[id(one)]}{label};")
    return "\n".join([*lines, "}", ""])


def svg(step: Step, name: str) -> str:
    """Return an SVG document."""
    boxes: list[str] = []
    width, height = _size(step)
    _draw(step, 0, 0, boxes)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width + 2 * _PAD}" height="{height + 2 * _PAD}" '
        f'viewBox="{-_PAD} {-_PAD} {width + 2 * _PAD} {height + 2 * _PAD}" font-family="monospace" font-size="12">'
    )
    return "\n".join([head, f"<title>{escape(clean(name))}</title>", *boxes, "</svg>", ""])


def _all(step: Step) -> Iterator[Step]:
    yield step
    for below in step.steps:
        yield from _all(below)


def _text(step: Step) -> list[str]:
    from gpuquery.runner.query.sql.rules.explain import shown_number

    rows = [] if step.rows is None else [f"~{shown_number(step.rows)} rows"]
    return [_cut(clean(line)) for line in (step.title, *step.details, *rows)]


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


def _quoted(text: str) -> str:
    """Return a text in Graphviz quotes, with lines aligned to the left."""
    lines = [line.replace("\\", "\\\\").replace('"', '\\"') for line in text.split("\n")]
    return '"' + "".join(f"{line}\\l" for line in lines) + '"' if len(lines) > 1 else f'"{lines[0]}"'


def _box(step: Step) -> tuple[int, int]:
    lines = _text(step)
    return max(map(len, lines)) * _CHARACTER + 2 * _PAD, len(lines) * _LINE + 2 * _PAD


def _size(step: Step) -> tuple[int, int]:
    """Return width and height of a step with everything below it."""
    own, tall = _box(step)
    if not step.steps:
        return own, tall
    sizes = [_size(below) for below in step.steps]
    width = sum(wide for wide, _ in sizes) + _GAP * (len(sizes) - 1)
    return max(own, width), tall + _LEVEL + max(high for _, high in sizes)


def _draw(step: Step, x: int, y: int, out: list[str]) -> int:
    """Draw a step and everything below it into the space that begins at x and y; return its middle."""
    width, _ = _size(step)
    own, tall = _box(step)
    middle = x + width // 2
    below = x + max(0, (width - _row(step)) // 2)
    for part in step.steps:
        foot = _draw(part, below, y + tall + _LEVEL, out)
        out.append(f'<path d="M{foot} {y + tall + _LEVEL}L{middle} {y + tall}" stroke="#888" fill="none"/>')
        if part.leads_to:
            out.append(f'<text x="{foot + 4}" y="{y + tall + _LEVEL - 6}" fill="#666">{escape(part.leads_to)}</text>')
        below += _size(part)[0] + _GAP
    left = middle - own // 2
    out.append(f'<rect x="{left}" y="{y}" width="{own}" height="{tall}" rx="4" fill="#f6f8fa" stroke="#57606a"/>')
    for number, line in enumerate(_text(step)):
        weight = ' font-weight="bold"' if number == 0 else ""
        out.append(
            f'<text x="{left + _PAD}" y="{y + _PAD + (number + 1) * _LINE - 4}"{weight} xml:space="preserve">'
            f"{escape(line)}</text>"
        )
    return middle


def _row(step: Step) -> int:
    return sum(_size(below)[0] for below in step.steps) + _GAP * max(0, len(step.steps) - 1)
