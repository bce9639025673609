"""Differences of two receipts, in words: first what can change rows, then the rest.

The first half decides whether a commit can be reused, so it names all that decides a result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gpuquery.api.receipt import image_known
from gpuquery.api.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gpuquery.api.receipt import Receipt, ReceiptInput

_DIGITS = 12
"""Of a digest that is shown."""
_MAX = 300
"""Characters of a difference."""


class Difference(NamedTuple):
    """One thing in which two receipts differ."""

    what: str
    """One word for programs: query, parameter, input, engine, option, release, software, image, output, result, cost,
    warning, expectation."""
    text: str
    """One line for people, about the first receipt (`then`) and the second (`now`)."""
    rows: bool
    """Whether it can change the rows, or the files that hold them."""


def differences(then: Receipt, now: Receipt) -> Iterator[Difference]:
    """Yield all differences, those first that can change rows. What only one of them knows is no difference."""
    yield from deciding(then, now)
    yield from _result(then, now)
    yield from _cost(then, now)


def deciding(then: Receipt, now: Receipt) -> Iterator[Difference]:
    """Yield what differs of all that the key of a receipt covers: none, if the second can reuse the first."""
    yield from _image(then, now)
    yield from _query(then, now)
    yield from _mapped("parameter", then.parameters, now.parameters)
    yield from _inputs(then, now)
    yield from _maybe("engine", "engine", then.engine, now.engine, rows=True, strict=True)
    yield from _maybe("release", "release", then.release, now.release, rows=True, strict=True)
    yield from _mapped("option", then.options, now.options, name="executorOptions.")
    for name in then.software.keys() & now.software.keys():
        yield from _maybe("software", f"software {name}:", then.software[name], now.software[name], rows=True)
    yield from _maybe("output", "output.uri", then.uri.rstrip("/"), now.uri.rstrip("/"), rows=True)
    yield from _mapped("output", then.output, now.output, name="output.")


def _image(then: Receipt, now: Receipt) -> Iterator[Difference]:
    """Compare the digests that kubelets tell; where one is not known, what the jobs asked for."""
    before, after = image_known(then.image), image_known(now.image)
    if not (before and after):
        before, after = image_known(then.asked), image_known(now.asked)
    yield from _maybe("image", "image", before, after, rows=True)


def _query(then: Receipt, now: Receipt) -> Iterator[Difference]:
    before, after = then.query, now.query
    if before.language != after.language:
        yield _different("query", f"query: {before.language} then, {after.language} now")
    elif before.dialect != after.dialect:
        yield _different("query", f"query.dialect: {before.dialect} then, {after.dialect} now")
    elif before.sha256 != after.sha256 and not (before.text and before.text == after.text):
        yield _different("query", f"query: another text ({before.sha256[:_DIGITS]} then, {after.sha256[:_DIGITS]} now)")


def _inputs(then: Receipt, now: Receipt) -> Iterator[Difference]:
    before, after = ({one.name: one for one in each.inputs} for each in (then, now))
    for name in dict.fromkeys((*before, *after)):
        if name not in after:
            yield _different("input", f"input {name}: not read now")
        elif name not in before:
            yield _different("input", f"input {name}: not read then")
        elif words := _of_input(before[name], after[name]):
            yield _different("input", f"input {name}: {words}")


def _of_input(then: ReceiptInput, now: ReceiptInput) -> str:
    """Say what changed in an input: its snapshot, its files, their bytes, or how it is read."""
    found = []
    if then.snapshot != now.snapshot:
        found.append(f"snapshot {then.snapshot or 'none'} then, {now.snapshot or 'none'} now")
    if then.place and now.place and then.place != now.place:
        found.append(f"{then.place} then, {now.place} now")
    if not _same_digest(then.digest, now.digest):
        found += _amount(now.files - then.files, "file") + _amount(now.bytes - then.bytes, "byte")
        if not found:
            found.append("files were replaced, as many files and bytes as before")
    if then.reading and now.reading and then.reading != now.reading:
        found.append("it is read in another way (format, types, options or schema)")
    return ", ".join(found)


def _same_digest(then: str, now: str) -> bool:
    """Whether two digests are the same, of which one may be cut short."""
    length = min(len(then), len(now))
    return then[:length] == now[:length] and (length > 0 or then == now)


def _amount(more: int, thing: str) -> list[str]:
    count = abs(more)
    return [f"{count:,} {thing}{'s' if count != 1 else ''} {'more' if more > 0 else 'fewer'}"] if more else []


def _mapped(what: str, then: Mapping[str, str], now: Mapping[str, str], *, name: str = "") -> Iterator[Difference]:
    label = name or f"{what} "
    for key in dict.fromkeys((*then, *now)):
        if key not in now:
            yield _different(what, f"{label}{key}: {then[key]} then, not set now")
        elif key not in then:
            yield _different(what, f"{label}{key}: not set then, {now[key]} now")
        elif then[key] != now[key]:
            yield _different(what, f"{label}{key}: {then[key]} then, {now[key]} now")


def _maybe(
    what: str, label: str, then: str, now: str, *, rows: bool = False, strict: bool = False
) -> Iterator[Difference]:
    """Compare one value; an empty one is not known, unless `strict` says that it is empty."""
    if then != now and (strict or (then and now)):
        yield Difference(what, clean(f"{label} {then or 'none'} then, {now or 'none'} now", _MAX), rows)


def _different(what: str, text: str) -> Difference:
    return Difference(what, clean(text, _MAX), True)


def _result(then: Receipt, now: Receipt) -> Iterator[Difference]:
    yield from _maybe("result", "version", str(then.version or ""), str(now.version or ""))
    yield from _maybe("result", "snapshot", then.snapshot, now.snapshot)
    counted: tuple[tuple[str, Callable[[Receipt], int]], ...] = (
        ("row", lambda one: one.rows),
        ("file", lambda one: one.files),
        ("byte", lambda one: one.bytes),
        ("partition", lambda one: one.partitions),
    )
    for thing, of in counted:
        for words in _amount(of(now) - of(then), thing):
            yield Difference("result", f"result: {words} ({of(then):,} then, {of(now):,} now)", False)
    for text in then.warnings:
        if text not in now.warnings:
            yield Difference("warning", clean(f"warning only then: {text}", _MAX), False)
    for text in now.warnings:
        if text not in then.warnings:
            yield Difference("warning", clean(f"warning only now: {text}", _MAX), False)
    yield from _maybe("expectation", "expectations that held:", then.expectations, now.expectations)


def _cost(then: Receipt, now: Receipt) -> Iterator[Difference]:
    yield from _maybe("cost", "cluster", then.cluster, now.cluster)
    if then.gpus != now.gpus:
        yield Difference("cost", f"{then.gpus} GPUs then, {now.gpus} now", False)
    if any((phase in then.seconds) != (phase in now.seconds) for phase in ("planning", "starting")):
        return  # one is by the clock of a pod, the other by that of the operator, which begin and end elsewhere
    for label, before, after in (
        ("seconds", then.seconds, now.seconds),
        ("GPU-seconds", then.gpu_seconds, now.gpu_seconds),
    ):
        for phase in before:
            if phase in after and round(before[phase]) != round(after[phase]):
                text = f"{label} {phase}: {before[phase]:,.0f} then, {after[phase]:,.0f} now"
                yield Difference("cost", text, False)
