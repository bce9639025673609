"""Python queries: run the author's `query(inputs, params)` and tell what went wrong in their own lines only.

The function builds a lazy plan; the runner executes it and owns the output, so writing inside is refused. Collecting
inside is allowed (a small look-up table, a list of months) and warned about: it runs while the plan is made, in the
memory of this one process.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, TracebackType
from typing import Any, NoReturn

import polars as pl

from gpuquery.api.reasons import Failure
from gpuquery.runner.errors import JobError
from gpuquery.runner.params import Value

FILENAME = "query.py"
MAX_FRAMES = 5
_WRITERS = tuple(
    (owner, name)
    for owner, prefix in ((pl.LazyFrame, "sink_"), (pl.DataFrame, "write_"))
    for name in dir(owner)
    if name.startswith(prefix)
)


@dataclass(frozen=True)
class Compiled:
    """The author's function, and every text that stands in their source."""

    function: Callable[..., object]
    literals: frozenset[str]


@dataclass(frozen=True)
class Planned:
    """What a Python query made."""

    frame: pl.LazyFrame
    warnings: tuple[str, ...]


class _Named(dict[str, Any]):
    """A dict that answers an unknown key with the known ones, and remembers which were asked for."""

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
    except (SyntaxError, ValueError) as exc:
        place = f" at line {exc.lineno}, column {exc.offset}" if isinstance(exc, SyntaxError) else ""
        line = (exc.text or "").strip() if isinstance(exc, SyntaxError) else ""
        raise _user_error(
            f"query.python does not compile{place}: {exc.args[0]}" + (f": {line}" if line else "")
        ) from None


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
    frames = [f for f in traceback.extract_tb(exc.__traceback__) if f.filename == FILENAME]
    lines = [f"  {FILENAME} line {f.lineno}, in {f.name}: {(f.line or '').strip()[:160]}" for f in frames]
    return "\n".join(lines[-MAX_FRAMES:])


def explained(exc: BaseException) -> JobError:
    """Return the UserError for an exception that the author's code raised."""
    frames = own_frames(exc)
    text = str(exc.args[0]) if isinstance(exc, KeyError) and exc.args else str(exc)
    return _user_error(f"query.python failed: {type(exc).__name__}: {text}" + (f"\n{frames}" if frames else ""))


def _user_error(message: str) -> JobError:
    return JobError(Failure.USER_ERROR, message)


@contextmanager
def _told() -> Iterator[None]:
    """Turn whatever the author's code raises into a UserError, `SystemExit` and a panic of Polars too."""
    try:
        yield
    except JobError:
        raise
    except BaseException as exc:
        raise explained(exc) from None


class _WritingError(Exception):
    """The author's code tried to write output."""


@contextmanager
def _no_writing(collected: list[str]) -> Iterator[None]:
    """Refuse `sink_*` and `write_*` inside; note every `collect` of the author's own lines."""
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
    return any(f.filename == FILENAME for f in traceback.extract_tb(tb))
