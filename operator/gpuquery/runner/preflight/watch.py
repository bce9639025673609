"""Translating a plan as cudf-polars does, while noting which node and which expression each refusal is about.

cudf-polars collects the refusals of a plan in `Translator.errors`, as bare exceptions: "ewm mean". Its two methods are
entered for every node and every expression, so whatever is new in that list when one of them returns belongs to it, or
to what it had called and has been given an owner already.

The class is made here at run time: cudf-polars is there only in a GPU image, and nothing else may import it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpuquery.runner.preflight import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

_NEEDS_GPU = re.compile(r"cuda|nvml|libcuda|no device|device driver", re.I)
_MAKE_NO_COLUMN = ("Scan", "Filter", "Sort", "Join")
"""Nodes whose expressions are no columns of the result: Polars names them too."""
_FOLLOWS = re.compile(r"ErrorExpr|ErrorNode")
"""What is said of a node because an expression in it was refused already."""


@dataclass(frozen=True)
class Finding:
    """One refusal."""

    step: str
    """The node, in the author's words."""
    what: str
    """What cudf-polars says."""
    column: str = ""
    """The column that is made there."""
    expression: str = ""
    """The expression that is refused."""
    needs_gpu: bool = False
    """Whether it only shows that this machine has no GPU."""

    def __str__(self) -> str:
        where = self.step + (f' of "{self.column}"' if self.column else "")
        expression = f"{self.expression} " if self.expression and self.expression != self.column else ""
        what = "can only be checked on a GPU" if self.needs_gpu else self.what
        what = f"is {what}" if expression and what.startswith("not ") else what
        return f"{where}: {expression}{what}" if where else f"{expression}{what}"


def needs_gpu(exc: BaseException) -> bool:
    """Whether an exception says no more than that there is no GPU here."""
    text = f"{type(exc).__name__} {exc}"
    return not isinstance(exc, NotImplementedError) and bool(_NEEDS_GPU.search(text))


class Notes:
    """What was refused so far, and where the translation is."""

    def __init__(self, plan: Any, inputs: Mapping[str, str], hive: Sequence[str] = ()) -> None:
        """`inputs` names an input by the beginning of its files' paths; `hive` are those in key=value folders."""
        self._plan = plan
        self._inputs = inputs
        self._hive = hive
        self._owned: list[BaseException] = []
        self._nodes: list[Any] = []
        self._expressions: list[list[int]] = []
        self._found: list[Finding] = []

    @property
    def findings(self) -> list[Finding]:
        """The refusals, each once; what only follows from another is left out."""
        return list(dict.fromkeys(self._found))

    def enter(self, node: Any) -> None:
        """Begin a node."""
        self._nodes.append(node)
        self._expressions.append([])

    def leave(self, errors: list[BaseException]) -> None:
        """End a node; what has no owner in `errors` is its own."""
        for exc in self._new(errors):
            # A grouping is rewritten as a whole; what it had in hand when it gave up is on the stack.
            grouping = type(self._nodes[-1]).__name__ in ("GroupBy", "Rolling")
            column, text = (_named_expression(exc.__traceback__) if grouping else None) or ("", "")
            what = words.said(exc, expression=text)
            # Some releases look for a filter's parts before they translate it.
            within = bool(text) or str(exc) == words.PYTHON_FUNCTION
            step = self._step(within)
            if not step and what == words.HIVE:  # Polars does not show such a scan at all
                step = "reading input " + " or ".join(f'"{name}"' for name in self._hive)
            self._found.append(Finding(step, what, column, text, needs_gpu(exc)))
        self._nodes.pop()
        self._expressions.pop()

    def enter_expression(self, number: int) -> None:
        """Begin an expression."""
        self._expressions[-1].append(number)

    def leave_expression(self, errors: list[BaseException]) -> None:
        """End an expression."""
        stack = self._expressions[-1]
        for exc in self._new(errors):
            node = self._nodes[-1]
            makes = type(node).__name__ not in _MAKE_NO_COLUMN
            names = {number: name for name, number in words.named(node)} if makes else {}
            text = words.expression(self._plan, stack[-1])
            self._found.append(
                Finding(
                    self._step(within=True),
                    words.said(exc, expression=text),
                    words.shown(names.get(stack[0], "")),
                    text,
                    needs_gpu(exc),
                )
            )
        stack.pop()

    def add_types(self, columns: Mapping[str, str]) -> None:
        """Note columns whose types are not supported: `{"s": "Categorical"}`."""
        where = self._step()
        for name, what in columns.items():
            known = any(f.column == name and f.what == what for f in self._found)
            if not known:
                self._found.append(Finding(where, what, column=name))

    def own(self, errors: list[BaseException]) -> None:
        """Take `errors` as noted."""
        self._new(errors)

    def _new(self, errors: list[BaseException]) -> list[BaseException]:
        fresh = [e for e in errors if not any(e is known for known in self._owned)]
        self._owned += fresh
        return [e for e in fresh if not _FOLLOWS.search(str(e))]

    def _step(self, within: bool = False) -> str:
        """Name the node; `within`: it is about an expression in it, which in a scan is a filter moved there."""
        node = self._nodes[-1]
        if type(node).__name__ == "Scan":
            path = str(next(iter(getattr(node, "paths", ())), ""))
            name = next((n for start, n in self._inputs.items() if path.startswith(start)), "")
            doing = "the filter on" if within else "reading"
            return f'{doing} input "{name}"' if name else f"{doing} an input"
        return words.step(node) if node is not None else ""


def translator(base: Any, error_expression: Any, data_type: Any) -> Any:
    """Make the class: `translator(Translator, ErrorExpr, DataType)(plan, engine, notes).translate_ir()`."""

    class Watched(base):  # type: ignore[misc]
        def __init__(self, visitor: Any, engine: Any, notes: Notes) -> None:
            super().__init__(visitor, engine)
            self._notes = notes

        def translate_ir(self, *, n: int | None = None) -> Any:
            before = self.visitor.get_node()
            if n is not None:
                self.visitor.set_node(n)
            self._notes.enter(_view(self.visitor))
            refused = self._refused_types()
            inputs = list(self.visitor.get_inputs()) if refused else []
            try:
                made = super().translate_ir()
                if refused:
                    # The base gives up at the node's schema and looks no deeper; the author wants to hear it all.
                    self._notes.add_types(refused)
                    self._notes.own(self.errors)
                    for child in inputs:
                        self.translate_ir(n=child)
            finally:
                self._notes.leave(self.errors)
                self.visitor.set_node(before)
            return made

        def translate_expr(self, *, n: int, schema: Any, **more: Any) -> Any:
            self._notes.enter_expression(n)
            try:
                return super().translate_expr(n=n, schema=schema, **more)
            except Exception as exc:
                # The base lets some pass through, which would hide the other expressions of the same node.
                self.errors.append(exc)
                return error_expression(data_type(self.visitor.get_dtype(n)), str(exc))
            finally:
                self._notes.leave_expression(self.errors)

        def _refused_types(self) -> dict[str, str]:
            refused = {}
            for name, dtype in self.visitor.get_schema().items():
                try:
                    data_type(dtype)
                except Exception as exc:
                    refused[name] = words.said(exc)
            return refused

    return Watched


def _view(visitor: Any) -> Any:
    try:
        return visitor.view_current_node()
    except Exception:
        return None


def _named_expression(trace: TracebackType | None) -> tuple[str, str] | None:
    """Name and text of the expression that cudf-polars had in hand when it raised, innermost first."""
    for frame_locals in reversed(list(_locals(trace))):
        for value in frame_locals.values():
            if type(value).__name__ == "NamedExpr" and type(value).__module__.startswith("cudf_polars"):
                return words.shown(str(value.name)), words.gpu_expression(value.value)
    return None


def _locals(trace: TracebackType | None) -> Iterator[Mapping[str, Any]]:
    while trace is not None:
        if str(trace.tb_frame.f_globals.get("__name__", "")).startswith("cudf_polars"):
            yield trace.tb_frame.f_locals
        trace = trace.tb_next
