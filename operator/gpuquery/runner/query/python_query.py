"""Python queries: run the author's `query(inputs, params)`, and report errors with the author's own lines only.

The function builds a lazy plan; the runner executes it and owns the output, so writing inside is refused. Collecting
inside is allowed (a small look-up table, a list of months) and warned about: it runs while the plan is made, in the
memory of this one process.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import os
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.failures.words import kind, named, storable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import CodeType, FrameType, TracebackType

    from gpuquery.runner.query.params import Value

FILENAME = "query.py"
MAX_FRAMES = 5
MAX_TEXT = 1200
"""Characters of an exception that are reported."""
_WRITERS = tuple(
    (owner, name)
    for owner, prefix in ((pl.LazyFrame, "sink_"), (pl.DataFrame, "write_"))
    for name in dir(owner)
    if name.startswith(prefix)
)


@dataclass(frozen=True)
class Compiled:
    """The author's function, and every string literal in its source."""

    function: Callable[..., object]
    literals: frozenset[str]


@dataclass(frozen=True)
class Planned:
    """The result of a Python query."""

    frame: pl.LazyFrame
    warnings: tuple[str, ...]


class _Named(dict[str, Any]):
    """A dict that names its keys when one is unknown, and records which ones were read."""

    def __init__(self, what: str, items: Mapping[str, Any]) -> None:
        super().__init__(items)
        self.what = what
        self.used: set[str] = set()

    def __missing__(self, key: object) -> NoReturn:
        raise KeyError(f"no {self.what} {key!r} (known: {', '.join(sorted(self)) or 'none'})")

    def __getitem__(self, key: str) -> Any:
        self.used.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        self.used.add(key)
        return super().get(key, default)

    def __iter__(self) -> Iterator[str]:
        self.used.update(self.keys())
        return super().__iter__()

    def items(self) -> Any:
        self.used.update(super().keys())
        return super().items()

    def values(self) -> Any:
        self.used.update(super().keys())
        return super().values()


def parsed(source: str) -> tuple[ast.Module, CodeType]:
    """Parse and compile the source and run nothing of it; raises JobError(UserError)."""
    try:
        tree = ast.parse(source, FILENAME)
        return tree, compile(tree, FILENAME, "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:  # the last two: nested too deeply
        what = exc.args[0] if exc.args else kind(exc)
        place = f" at line {exc.lineno}, column {exc.offset}" if isinstance(exc, SyntaxError) else ""
        line = (exc.text or "").strip() if isinstance(exc, SyntaxError) else ""
        raise _user_error(f"query.python does not compile{place}: {what}" + (f": {line}" if line else "")) from None


def compiled(source: str) -> Compiled:
    """Compile the source and return its `query`; raises JobError(UserError). Runs the module's own top level."""
    linecache.cache[FILENAME] = (len(source), None, source.splitlines(keepends=True), FILENAME)
    namespace: dict[str, Any] = {"__name__": "query", "__file__": FILENAME}
    tree, code = parsed(source)
    with _told(), _no_writing([]):
        exec(code, namespace)  # noqa: S102 - the author's code, in the author's own pod
    function = namespace.get("query")
    if not callable(function):
        raise _user_error("query.python defines no function query(inputs, params)")
    try:
        inspect.signature(function).bind({}, {})
    except TypeError as exc:
        raise _user_error(f"query.python: write def query(inputs, params): {exc}") from None
    texts = (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str))
    return Compiled(function, frozenset(texts))


def plan(query: Compiled, frames: Mapping[str, pl.LazyFrame], values: Mapping[str, Value]) -> Planned:
    """Call the function; raises JobError(UserError) with the author's own frames, or JobError(InvalidQuery)."""
    params = _Named("parameter", {name: value.python for name, value in values.items()})
    collected: list[str] = []
    with _told(), _no_writing(collected):
        result = query.function(_Named("input", frames), params)
        if not isinstance(result, pl.LazyFrame):
            hint = ": leave out .collect()" if isinstance(result, pl.DataFrame) else ""
            raise _user_error(f"query() returned {type(result).__name__}, not a LazyFrame{hint}")
        result.collect_schema()
    # A function that Polars calls later may look at a parameter then, so its name in the source is enough.
    if unused := sorted(set(values) - params.used - query.literals):
        raise JobError(
            Failure.INVALID_QUERY,
            f'parameter "{unused[0]}" is not used by query(): remove it or read params[{unused[0]!r}]',
        )
    return Planned(result, tuple(collected))


def own_frames(exc: BaseException) -> str:
    """Return the author's own frames of an exception, innermost last; empty if it did not come through their code."""
    frames = [(f.f_code.co_name, line) for f, line in traceback.walk_tb(exc.__traceback__) if _own(f)][-MAX_FRAMES:]
    lines = (f"  {FILENAME} line {n}, in {name}: {linecache.getline(FILENAME, n).strip()[:160]}" for name, n in frames)
    return "\n".join(map(storable, lines))


def explained(exc: BaseException) -> JobError:
    """Return the UserError for an exception that the author's code raised."""
    frames = own_frames(exc)
    text = named(exc)
    if len(text) > MAX_TEXT:  # the author's own lines come after it, and a report is short
        text = f"{text[:MAX_TEXT]} ..."
    return _user_error(f"query.python failed: {text}" + (f"\n{frames}" if frames else ""))


def _user_error(message: str) -> JobError:
    return JobError(Failure.USER_ERROR, message)


@contextmanager
def _told() -> Iterator[None]:
    """Turn whatever the author's code raises into a UserError, including `SystemExit` and a panic of Polars.

    Descriptors that it closes though it has not opened them are Polars' and the runner's own: the query would hang.
    """
    canary = os.open(os.devnull, os.O_RDONLY)
    device = os.fstat(canary).st_rdev
    try:
        yield
    except JobError:
        raise
    except BaseException as exc:
        raise explained(exc) from None
    finally:
        alive = _is_device(canary, device)
        if alive:
            os.close(canary)
    if not alive:
        raise _user_error("query.python closes file descriptors that it did not open (os.closerange?): leave them open")


def _is_device(fd: int, device: int) -> bool:
    try:
        return os.fstat(fd).st_rdev == device
    except OSError:
        return False


class _WritingError(Exception):
    """The author's code tried to write output."""


@contextmanager
def _no_writing(collected: list[str]) -> Iterator[None]:
    """Refuse `sink_*` and `write_*` inside, and record every `collect` on the author's own lines."""
    originals = {(owner, name): getattr(owner, name) for owner, name in _WRITERS}
    collect = pl.LazyFrame.collect

    def refuse(name: str) -> Callable[..., NoReturn]:
        def call(*_: object, **__: object) -> NoReturn:
            raise _WritingError(f"{name}() is refused: the runner writes the output; return the LazyFrame")

        return call

    def noted(self: pl.LazyFrame, *args: Any, **kwargs: Any) -> Any:
        line = _calling_line()
        if line is not None:
            collected.append(
                f"{FILENAME} line {line} calls collect(): it runs while the query is planned, in memory; "
                "return a lazy plan where the data is large"
            )
        return collect(self, *args, **kwargs)

    for owner, name in originals:
        setattr(owner, name, refuse(name))
    pl.LazyFrame.collect = noted  # type: ignore[method-assign]
    try:
        yield
    finally:
        pl.LazyFrame.collect = collect  # type: ignore[method-assign]
        for (owner, name), original in originals.items():
            setattr(owner, name, original)


def _calling_line() -> int | None:
    """The author's line that is two calls up, if those calls are the author's."""
    frame = inspect.currentframe()
    caller = frame.f_back.f_back if frame and frame.f_back else None
    return caller.f_lineno if caller is not None and caller.f_code.co_filename == FILENAME else None


def is_users(tb: TracebackType | None) -> bool:
    """Whether a traceback runs through the author's code."""
    return any(_own(frame) for frame, _ in traceback.walk_tb(tb))


def _own(frame: FrameType) -> bool:
    return frame.f_code.co_filename == FILENAME
