"""Generated statements of SQL: clauses around generated expressions. Every answer is determined but for the order of
rows, and that too where the statement has an ORDER BY: such an order names every output column or a unique one.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, NamedTuple

from tests.support import sql_tables
from tests.support.sql_calls import AGGREGATES, BOUNDS, EXCLUDES, OFFSETS, PICKED, RANKS, SUMS
from tests.support.sql_expressions import SORTS, Expressions, Reference
from tests.support.sql_productions import HOLE, TABLE, WORDS, Production, productions
from tests.support.sql_rich_expressions import CASTS, RICH

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Sequence

TABLES = ("a", "a", "a", "b", "b", "c", "e")
ORDERED = ("int", "dec", "text", "date", "ts", "bool")
"""Sorts by which rows are ordered: sums of floats differ in their last bits."""
FLOATLESS = ("int", "dec", "text", "date", "ts", "bool")
SETS = ("UNION", "UNION ALL", "INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL")
NULL_ORDERS = ("ASC NULLS FIRST", "ASC NULLS LAST", "DESC NULLS FIRST", "DESC NULLS LAST")


PRODUCED = 0.5
"""The share of statements that come from the templates of `sql_productions.sql`."""


class Made(NamedTuple):
    """A statement, and which kind of clause it was made for."""

    text: str
    kind: str


class Source(NamedTuple):
    """A FROM clause, its columns, and those that tell its rows apart."""

    text: str
    scope: tuple[Reference, ...]
    unique: tuple[str, ...]


class Generator:
    """Makes statements; equal seeds make equal ones. `portable`: those that PostgreSQL has too, and means alike."""

    def __init__(self, seed: str, *, portable: bool = False) -> None:
        self._random = Random(seed)
        self._expressions = Expressions(self._random, portable=portable)
        self._portable = portable
        self._aliases = 0
        self._productions = [p for p in productions() if p.portable or not portable]

    def statement(self) -> Made:
        """Return one more statement."""
        self._aliases = 0
        if self._random.random() < PRODUCED:
            production = self._random.choice(self._productions)
            return Made(self._produced(production), production.kind)
        kind = self._random.choice(KINDS)
        return Made(kind(self), kind.__name__.lstrip("_"))

    # The parts of a statement

    def _pick(self, options: Sequence[str]) -> str:
        return self._random.choice([o for o in options if not (self._portable and o.startswith("!"))]).lstrip("!")

    def _produced(self, production: Production) -> str:
        """Fill the holes of a template: tables first, as the others stand for expressions over them."""
        drawn = {"one": self._random.choice(FLOATLESS), "two": self._random.choice(FLOATLESS)}
        tables = {
            alias: Source(
                "", tuple(Reference(f"{alias}.{name}", drawn.get(sort, sort)) for name, sort in columns.items()), ()
            )
            for alias, columns in production.columns.items()
        }

        def table(hole: re.Match[str]) -> str:
            tables[hole[1]] = self._table(self._random.choice(hole[2] or TABLES), hole[1])
            return tables[hole[1]].text

        def filled(hole: re.Match[str]) -> str:
            if hole[2] is None:
                return self._random.choice(WORDS[hole[1]])
            over = [tables[alias] for alias in hole[2].split("+")]
            source = Source("", sum((one.scope for one in over), ()), sum((one.unique for one in over), ()))
            return self._hole(drawn.get(hole[1], hole[1]), source)

        return HOLE.sub(filled, TABLE.sub(table, production.text))

    def _hole(self, what: str, source: Source) -> str:
        match what:
            case "id":
                return source.unique[0]
            case "k":
                return _key(source)
            case "column":
                return self._random.choice(source.scope).text
            case "cast" | "trycast" | "scalarcast":
                known = SORTS if what == "scalarcast" else CASTS
                column = self._random.choice([r for r in source.scope if r.sort in known])
                word = "TRY_CAST" if what == "trycast" else "CAST"
                return f"{word}({column.text} AS {self._random.choice(CASTS[column.sort])})"
            case "agg":
                return self._call(source, clause=False).text
            case "over":
                return self._over(source)
            case "rich":
                what = self._random.choice(RICH)
        return self._expressions.make(what, source.scope, self._random.choice((0, 1, 1, 2)))

    def _table(self, name: str = "", alias: str = "") -> Source:
        name = name or self._random.choice(TABLES)
        self._aliases += 1
        alias = alias or f"t{self._aliases}"
        columns = [c for c in sql_tables.columns(name) if c.portable or not self._portable]
        scope = tuple(Reference(f"{alias}.{c.name}", c.sort) for c in columns)
        return Source(f"{name} AS {alias}", scope, (f"{alias}.id",))

    def _expression(self, source: Source, sorts: Sequence[str] = SORTS, depth: int = 2) -> Reference:
        sort = self._random.choice(sorts)
        return Reference(self._expressions.make(sort, source.scope, depth), sort)

    def _condition(self, source: Source, depth: int = 3) -> str:
        return self._expressions.make("bool", source.scope, depth)

    def _where(self, source: Source, share: float = 0.6) -> str:
        return f" WHERE {self._condition(source)}" if self._random.random() < share else ""

    def _tail(self, outputs: Sequence[Reference], *, limit: bool = True) -> str:
        """Return ORDER BY and LIMIT over all outputs, or nothing where their order would hang on last bits."""
        if any(o.sort not in ORDERED for o in outputs) or self._random.random() < 0.3:
            return ""
        places = self._random.sample(range(1, len(outputs) + 1), len(outputs))
        order = ", ".join(f"{place} {self._random.choice(NULL_ORDERS)}" for place in places)
        end = f" LIMIT {self._random.randint(0, 9)} OFFSET {self._random.randint(0, 2)}"
        return f" ORDER BY {order}{end if limit and self._random.random() < 0.5 else ''}"

    def _outputs(self, outputs: Sequence[Reference]) -> str:
        return ", ".join(f"{o.text} AS o{i}" for i, o in enumerate(outputs, 1))

    def _some(self, source: Source, most: int = 4, sorts: Sequence[str] = SORTS, depth: int = 2) -> list[Reference]:
        return [self._expression(source, sorts, depth) for _ in range(self._random.randint(1, most))]

    def _select(self, source: Source, outputs: Sequence[Reference], clauses: str = "", prefix: str = "") -> str:
        return f"SELECT {prefix}{self._outputs(outputs)} FROM {source.text}{clauses}"

    # Kinds

    def _plain(self) -> str:
        source = self._table()
        outputs = [Reference(source.unique[0], "int"), *self._some(source, depth=3)]
        return self._select(source, outputs, self._where(source)) + self._tail(outputs)

    def _extreme(self) -> str:
        source = self._table("x")
        outputs = [Reference(source.unique[0], "int"), *self._some(source, 2, depth=1)]
        return self._select(source, outputs, self._where(source, 0.3)) + self._tail(outputs)

    def _extreme_groups(self) -> str:
        source = self._table("x")
        calls = [self._call(source, depth=0) for _ in range(2)]
        return self._select(source, [Reference("t1.k", "int"), *calls], " GROUP BY t1.k")

    def _distinct(self) -> str:
        source = self._table()
        outputs = self._some(source, 3, FLOATLESS, depth=1)
        return self._select(source, outputs, self._where(source), "DISTINCT ") + self._tail(outputs)

    def _joined(self, kinds: Sequence[str] = ("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN")) -> Source:
        left, right = self._table(), self._table()
        kind = self._random.choice(kinds)
        both = Source(f"{left.text} {kind} {right.text}", left.scope + right.scope, left.unique + right.unique)
        if kind == "CROSS JOIN":
            return both
        return both._replace(text=f"{both.text} ON {self._on(left, right, both, kind)}")

    def _on(self, left: Source, right: Source, both: Source, kind: str) -> str:
        drawn = self._random.random()
        sort = self._random.choice(("int", "text", "dec", "date"))
        one, two = self._expressions.column(left.scope, (sort,)), self._expressions.column(right.scope, (sort,))
        if one.sort != two.sort or drawn < 0.4:
            one, two = Reference(_key(left), "int"), Reference(_key(right), "int")
        equal = f"{one.text} = {two.text}"
        if kind == "FULL JOIN" and self._portable:
            return equal
        if drawn < 0.5:
            return f"{equal} AND {self._condition(both, 2)}"
        if drawn < 0.6:
            return f"{equal} OR {self._condition(both, 2)}"
        if drawn < 0.7:
            return f"{one.text} {self._random.choice(('<', '>=', '<>', 'IS NOT DISTINCT FROM'))} {two.text}"
        return self._condition(both, 2) if drawn < 0.75 else equal

    def _join(self) -> str:
        source = self._joined()
        outputs = [*(Reference(u, "int") for u in source.unique), *self._some(source, 2)]
        return self._select(source, outputs, self._where(source, 0.4)) + self._tail(outputs)

    def _three(self) -> str:
        source, third = self._joined(("JOIN", "LEFT JOIN")), self._table()
        kind = self._random.choice(("JOIN", "LEFT JOIN", "RIGHT JOIN"))
        condition = (
            f"{self._random.choice([r.text for r in source.scope if r.text.endswith('.k')])} = {third.unique[0][:-2]}k"
        )
        whole = Source(
            f"{source.text} {kind} {third.text} ON {condition}",
            source.scope + third.scope,
            source.unique + third.unique,
        )
        outputs = [*(Reference(u, "int") for u in whole.unique), *self._some(whole, 1)]
        return self._select(whole, outputs, self._where(whole, 0.5)) + self._tail(outputs)

    def _call(self, source: Source, depth: int = 1, clause: bool = True) -> Reference:
        known = [c for c in AGGREGATES if not (self._portable and c[0].startswith("!"))]
        if len(source.unique) != 1:  # no column tells the rows of a join apart
            known = [c for c in known if "{id}" not in c[0]]
        template, sort = self._random.choice(known)
        sort = self._random.choice(FLOATLESS) if sort == "any" else sort
        if sort == "bool" and template.startswith(("min", "max")):
            sort = "int"
        holes = {"x": self._expressions.make(sort, source.scope, depth), "id": (source.unique or ("1",))[0]}
        holes["y"] = self._expressions.make("float" if "corr" in template else "int", source.scope, 0)
        text = template.lstrip("!").format_map(holes)
        if clause and "CAST(" not in template and self._random.random() < 0.2:
            text += f" FILTER (WHERE {self._condition(source, 2)})"
        counted = "int" if template.lstrip("!").startswith("count") else sort
        plain = any(word in template for word in ("sum", "min", "max", "count", "bool")) and "arg" not in template
        return Reference(text, counted if plain else "other")

    def _grouped(self, source: Source) -> tuple[list[Reference], str]:
        keys = self._some(source, 2, FLOATLESS, depth=1)
        calls = [self._call(source) for _ in range(self._random.randint(1, 3))]
        text = self._select(source, [*keys, *calls], self._where(source, 0.4))
        return [*keys, *calls], f"{text} GROUP BY {', '.join(str(n) for n in range(1, len(keys) + 1))}"

    def _groups(self) -> str:
        source = self._table() if self._random.random() < 0.6 else self._joined(("JOIN", "LEFT JOIN"))
        outputs, text = self._grouped(source)
        having = f" HAVING {self._call(source, clause=False).text} IS NOT NULL" if self._random.random() < 0.2 else ""
        if self._random.random() < 0.2:
            having = f" HAVING count(*) > {self._random.randint(0, 3)}"
        return text + having + self._tail(outputs)

    def _whole(self) -> str:
        source = self._table()
        calls = [self._call(source, depth=2) for _ in range(self._random.randint(1, 4))]
        return self._select(source, calls, self._where(source))

    def _sets(self) -> str:
        source = self._table(self._random.choice("ab"))
        keys = [r.text for r in self._random.sample([r for r in source.scope if r.sort in FLOATLESS], 3)]
        sets = self._random.choice((
            f"ROLLUP ({', '.join(keys)})", f"CUBE ({keys[0]}, {keys[1]})",
            f"GROUPING SETS (({keys[0]}, {keys[1]}), ({keys[2]}), ())", f"{keys[0]}, ROLLUP ({keys[1]}, {keys[2]})",
            f"GROUPING SETS ({keys[0]}, {keys[0]}, ())",
        ))  # fmt: skip
        used = [key for key in keys if key in sets]
        outputs = [Reference(key, next(r.sort for r in source.scope if r.text == key)) for key in used]
        outputs += [Reference(f"GROUPING({', '.join(used)})", "int"), self._call(source), self._call(source)]
        return self._select(source, outputs, f"{self._where(source, 0.3)} GROUP BY {sets}") + self._tail(outputs)

    def _over(self, source: Source) -> str:
        """Return a window function; where ties could decide, the order has a unique end."""

        def make(sort: str) -> str:
            return self._expressions.make(sort, source.scope, 1)

        holes = {
            "x": make(self._random.choice(FLOATLESS)),
            "n": make("int"),
            "d": make("dec"),
            "bool": make("bool"),
            "f": make("float"),
        }
        if self._random.random() < 0.5:
            holes["x"] = make("int")
        parts = self._some(source, 2, FLOATLESS, depth=0) if self._random.random() < 0.6 else []
        partition = f"PARTITION BY {', '.join(p.text for p in parts)} " if parts else ""
        keys = [f"{r.text} {self._random.choice(NULL_ORDERS)}" for r in self._some(source, 2, FLOATLESS, depth=0)]
        total = ", ".join([*keys, *source.unique])
        drawn = self._random.random()
        if drawn < 0.2:
            function = self._random.choice(RANKS)
            order = total if function.startswith(("row", "ntile")) else ", ".join(keys)
            return f"{function} OVER ({partition}ORDER BY {order})"
        if drawn < 0.35:
            return f"{self._pick(OFFSETS).format_map(holes)} OVER ({partition}ORDER BY {total})"
        if drawn < 0.5:
            return f"{self._pick(PICKED).format_map(holes)} OVER ({partition}ORDER BY {total}{self._frame('ROWS')})"
        function = self._pick(SUMS).format_map(holes)
        if drawn < 0.6:
            return f"{function} OVER ({partition})"
        if drawn < 0.75:
            return f"{function} OVER ({partition}ORDER BY {total}{self._frame('ROWS')})"
        if drawn < 0.87:
            return f"{function} OVER ({partition}ORDER BY {', '.join(keys)}{self._frame('GROUPS')})"
        key = self._expressions.column(source.scope, ("int", "dec"))
        return (
            f"{function} OVER ({partition}ORDER BY {key.text} {self._random.choice(NULL_ORDERS)}{self._frame('RANGE')})"
        )

    def _frame(self, unit: str) -> str:
        if self._random.random() < 0.25:
            return ""
        start = self._random.randrange(len(BOUNDS) - 1)
        end = self._random.randrange(max(start, 1), len(BOUNDS))
        if BOUNDS[start] == "CURRENT ROW" and "PRECEDING" in BOUNDS[end]:
            end = len(BOUNDS) - 1
        return f" {unit} BETWEEN {BOUNDS[start]} AND {BOUNDS[end]}{self._random.choice(EXCLUDES)}"

    def _window(self) -> str:
        source = self._table() if self._random.random() < 0.8 else self._joined(("JOIN", "LEFT JOIN"))
        outputs = [*(Reference(u, "int") for u in source.unique)]
        outputs += [Reference(self._over(source), "other") for _ in range(self._random.randint(1, 3))]
        return self._select(source, outputs, self._where(source, 0.3))

    def _set_operation(self) -> str:
        sorts = [self._random.choice(FLOATLESS) for _ in range(self._random.randint(1, 3))]
        parts = []
        for _ in range(self._random.choice((2, 2, 3))):
            source = self._table()
            outputs = [Reference(self._expressions.make(sort, source.scope, 1), sort) for sort in sorts]
            parts.append(self._select(source, outputs, self._where(source)))
        joined = parts[0]
        for part in parts[1:]:
            joined += f" {self._random.choice(SETS)} {part}"
        return joined + self._tail([Reference("", sort) for sort in sorts])

    def _derived(self) -> tuple[str, Source]:
        """Return a sub-query and the source that it is under the alias `q`."""
        if self._random.random() < 0.4:
            outputs, text = self._grouped(self._table())
        else:
            source = self._table()
            outputs = [Reference(source.unique[0], "int"), *self._some(source, 3)]
            text = self._select(source, outputs, self._where(source))
        scope = tuple(Reference(f"q.o{i}", o.sort) for i, o in enumerate(outputs, 1))
        return text, Source("q", scope, ())

    def _nested(self) -> str:
        text, q = self._derived()
        outputs = self._some(q, 3)
        return self._select(q._replace(text=f"({text}) AS q"), outputs, self._where(q)) + self._tail(outputs)

    def _cte(self) -> str:
        text, q = self._derived()
        other, hidden = self._table(), self._random.random() < 0.3
        name = "b" if hidden else "q"
        keys = [r for r in q.scope if r.sort == "int"] or [Reference("1", "int")]
        twice = f"{name} AS q JOIN {name} AS r ON q.o1 IS NOT DISTINCT FROM r.o1"
        joined = f"{name} AS q LEFT JOIN {other.text} ON {keys[0].text} = {_key(other)}"
        once = hidden or self._random.random() < 0.5
        source = q._replace(text=twice) if once else Source(joined, q.scope + other.scope, other.unique)
        outputs = self._some(source, 3, depth=1)
        return f"WITH {name} AS ({text}) {self._select(source, outputs, self._where(source, 0.3))}" + self._tail(
            outputs
        )

    def _correlated(self, outer: Source) -> tuple[Source, str]:
        """Return an inner table and a condition that ties it to the outer one."""
        inner = self._table()
        both = Source("", outer.scope + inner.scope, ())
        tie = self._on(outer, inner, both, "JOIN") if self._random.random() < 0.5 else ""
        return inner, f" WHERE {tie or f'{_key(outer)} = {_key(inner)}'}"

    def _scalar(self) -> str:
        outer = self._table()
        inner, tied = self._correlated(outer)
        call = self._call(inner, clause=False).text
        if self._random.random() < 0.3:
            call = self._expression(inner, depth=1).text
            tied += f" ORDER BY {inner.unique[0]} LIMIT 1"
        uncorrelated = f"(SELECT {self._call(self._table('b'), clause=False).text.replace('t3.', 'z.')} FROM b AS z)"
        value = Reference(f"(SELECT {call} FROM {inner.text}{tied})", "other")
        outputs = [Reference(outer.unique[0], "int"), value]
        if self._random.random() < 0.3:
            outputs.append(Reference(uncorrelated, "other"))
        return self._select(outer, outputs, self._where(outer, 0.3))


def _key(table: Source) -> str:
    """Return the column `k`, which every table has."""
    return f"{table.unique[0].removesuffix('id')}k"


KINDS: list[Callable[[Generator], str]] = [
    Generator._plain, Generator._plain, Generator._plain, Generator._extreme, Generator._extreme,
    Generator._extreme_groups, Generator._distinct, Generator._join, Generator._join, Generator._three,
    Generator._groups, Generator._groups, Generator._whole, Generator._sets, Generator._window, Generator._window,
    Generator._window, Generator._set_operation, Generator._set_operation, Generator._nested, Generator._cte,
    Generator._scalar, Generator._scalar,
]  # fmt: skip
