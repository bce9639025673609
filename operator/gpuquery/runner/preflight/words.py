"""Plans in the author's words: what a node of Polars' plan, or of cudf-polars', is called by the one who wrote it.

Both trees are private to their libraries and differ between releases, so nothing here is relied on: what is not known
is left out of the sentence.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_TEXT = 80
PYTHON_FUNCTION = "anonymousfunction"
"""What Polars calls `map_elements` and `map_batches` of an expression when it cannot show them."""
HIVE = (
    "the GPU engines read at most 1,000 partitions of key=value folders: name fewer folders in uri, set "
    "hivePartitioned: false if the files hold the columns that are needed, or use engine: cpu"
)
_STEPS = {
    "Select": "the selection",
    "HStack": "the selection",
    "SimpleProjection": "the selection",
    "Projection": "the selection",
    "Filter": "the filter",
    "GroupBy": "the grouping",
    "Rolling": "the rolling grouping",
    "Sort": "the sort",
    "Join": "the join",
    "ConditionalJoin": "the join",
    "IEJoin": "the join",
    "Distinct": "distinct",
    "Union": "the union",
    "MergeSorted": "merge_sorted",
    "HConcat": "the horizontal concat",
    "Slice": "the slice",
    "Reduce": "the aggregation",
    "Sink": "the result",
    "PythonScan": "a Python source",
    "DataFrameScan": "a table within the query",
}
_OPERATORS = {
    "Plus": "+", "Minus": "-", "Multiply": "*", "TrueDivide": "/", "Divide": "/", "FloorDivide": "//", "Modulus": "%",
    "Eq": "=", "NotEq": "!=", "EqValidity": "=", "NotEqValidity": "!=", "Lt": "<", "LtEq": "<=", "Gt": ">",
    "GtEq": ">=", "And": "AND", "Or": "OR", "LogicalAnd": "AND", "LogicalOr": "OR", "Xor": "XOR",
}  # fmt: skip
_JOINS = {"inner": "", "as_of": "asof", "range": "join_where", "iejoin": "join_where", "ie_join": "join_where"}
_GPU_OPERATORS = {
    "ADD": "+", "SUB": "-", "MUL": "*", "DIV": "/", "TRUE_DIV": "/", "FLOOR_DIV": "//", "MOD": "%", "EQUAL": "=",
    "NOT_EQUAL": "!=", "LESS": "<", "LESS_EQUAL": "<=", "GREATER": ">", "GREATER_EQUAL": ">=",
}  # fmt: skip
_PLAIN = re.compile(
    r"No handler for|^(Unary|String|Boolean|Temporal|List|Struct) function|^No support for .* in groupby/rolling"
)
"""What says no more than that an expression is not supported."""
_PARTITIONS = re.compile(
    r"^(This|Class|Cross|ConditionalJoin|Sort|\w+)\b.*(not support|not supported).*multiple partitions"
)
_SPACES = {"StringFunction": "str.", "TemporalFunction": "dt.", "ListFunction": "list.", "StructFunction": "struct."}
_FAMILIES = {"EwmFunction": "ewm_{}", "RollingFunction": "rolling_{}", "RangeFunction": "{}"}


def step(node: Any) -> str:
    """Name a node of a plan, of either library: `the grouping`, `the join (asof)`."""
    kind = type(node).__name__
    if kind == "Join":
        how = _JOINS.get(how := _first(getattr(node, "options", None)), how)
        return f"the join ({how})" if how else "the join"
    if kind == "MapFunction":
        name = _first(getattr(node, "function", None)) or str(getattr(node, "name", ""))
        return f"{name}" if name else "a function over the table"
    return _STEPS.get(kind, _snake(kind).replace("_", " "))


def _first(value: Any) -> str:
    """The word at the beginning of nested tuples, in small letters."""
    while isinstance(value, (tuple, list)) and value:
        value = value[0]
    return _snake(str(value)) if isinstance(value, str) else ""


def named(node: Any) -> Iterator[tuple[str, int]]:
    """Yield name and number of every expression of a node of Polars' plan."""
    for attribute in dir(node):
        if attribute.startswith("_"):
            continue
        value: Any = getattr(node, attribute, None)
        items: list[Any] = value if isinstance(value, list) else [value]
        for item in items:
            if type(item).__name__ == "PyExprIR":
                yield str(item.output_name), int(item.node)


def expression(plan: Any, number: int) -> str:
    """Write an expression of Polars' plan as its author might have: `ewm_mean(b)`. Empty if it cannot be seen."""
    return shortened(_expression(plan, number, 0))


def _expression(plan: Any, number: int, depth: int) -> str:
    if depth > 4:
        return "..."
    try:
        node = plan.view_expression(number)
    except Exception:
        return ""

    def inner(children: Any) -> str:
        children = children if isinstance(children, list) else [children]
        texts = [_expression(plan, child, depth + 1) or "..." for child in children if isinstance(child, int)]
        return ", ".join(texts)

    match type(node).__name__:
        case "Column":
            return str(node.name)
        case "Literal":
            return repr(node.value) if isinstance(node.value, (str, int, float, bool)) else "..."
        case "BinaryExpr":
            sign = _OPERATORS.get(_member(node.op), _member(node.op))
            return f"{inner(node.left)} {sign} {inner(node.right)}"
        case "Function":
            return f"{function(node.function_data)}({inner(node.input)})"
        case "Agg":
            return f"{node.name}({inner(node.arguments)})"
        case "Cast":
            return f"cast({inner(node.expr)} as {node.dtype})"
        case "Window":
            return f"{inner(node.function)} over ({inner(node.partition_by)})"
        case "Ternary":
            return f"when({inner(node.predicate)})"
        case "Len":
            return "len()"
        case other:
            return _snake(other)


def function(data: Any) -> str:
    """Name a function by what Polars' plan says of it: `("skew", True)`, `(StringFunction.Normalize, ...)`."""
    head = data[0] if isinstance(data, (tuple, list)) and data else data
    if isinstance(head, str):
        return head
    family = type(head).__name__
    member = _snake(_member(head))
    return _FAMILIES.get(family, "{}").format(f"{_SPACES.get(family, '')}{member}")


def gpu_expression(value: Any) -> str:
    """Write an expression of cudf-polars' plan: `cum_sum(b)`."""
    return shortened(_gpu_expression(value, 0))


def _gpu_expression(value: Any, depth: int) -> str:
    kind = type(value).__name__
    if kind in ("Col", "ColRef"):
        return str(getattr(value, "name", "..."))
    if kind.startswith("Literal"):
        return "..."
    if depth > 4:
        return "..."
    children = ", ".join(_gpu_expression(child, depth + 1) for child in getattr(value, "children", ()))
    if kind == "BinOp":
        operator = _member(getattr(value, "op", ""))
        sign = f" {_GPU_OPERATORS.get(operator, operator.lower().replace('_', ' '))} "
        return sign.join(_gpu_expression(child, depth + 1) for child in value.children)
    name = getattr(value, "name", None)
    head = name if isinstance(name, str) else _snake(_member(name)) if name is not None else _snake(kind)
    return f"{head}({children})"


def said(exc: BaseException, *, expression: str = "") -> str:
    """Say what cudf-polars says, in one line, without the names of its classes.

    `expression` is what the sentence is about, if that is known: it need not be said again.
    """
    text = str(exc).strip().splitlines()[0] if str(exc).strip() else type(exc).__name__
    if text == PYTHON_FUNCTION:
        return "a Python function (map_elements, map_batches) runs on the CPU only: write it with Polars' expressions"
    if text == "opaque python mapfunction":
        return "a Python function over the whole table runs on the CPU only: write it with Polars' expressions"
    if text.startswith("apply inside GroupBy"):
        return "a Python function over groups (map_groups) runs on the CPU only: write it with Polars' expressions"
    if re.search(r"hive.?partition", text, re.I):
        return HIVE
    if found := re.search(r"dtype=(.+) conversion not supported", text):
        return f"type {found[1]} not supported: cast it in the query"
    if expression and _PLAIN.search(text):
        return "not supported in a grouping" if "groupby/rolling" in text else "not supported"
    text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", text)
    text = re.sub(r"<(?:\w+\.)?(\w+): \d+>", lambda m: _snake(m[1]), text)
    text = re.sub(r"\bname=(?:\w+\.)?'?(\w+)'?", lambda m: _snake(m[1]), text)
    text = text if isinstance(exc, NotImplementedError) else f"{type(exc).__name__}: {text}"
    return f"not supported ({shortened(text, 160)})"


def why_one_partition(text: str) -> str:
    """Return what a warning of cudf-polars says beyond that something runs on one partition; empty if nothing."""
    return "" if _PARTITIONS.search(text) else shortened(text, 120)


def shown(name: str) -> str:
    """Return a column's name, or nothing for one that a library has made up."""
    return "" if re.fullmatch(r"_+\d+|__POLARS_\w+", name) else name


def shortened(text: str, most: int = MAX_TEXT) -> str:
    """Cut a text, and leave out names that Polars has made up."""
    text = re.sub(r"__POLARS_\w+", "...", text)
    return text if len(text) <= most else text[: most - 4] + " ..."


def _member(value: Any) -> str:
    """The last part of an enum member's name."""
    name = getattr(value, "name", None)
    return name if isinstance(name, str) else str(value).rpartition(".")[2].rstrip(">").split(":")[0]


def _snake(text: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", text).lower()
