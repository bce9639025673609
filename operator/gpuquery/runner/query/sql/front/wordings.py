"""DuckDB's errors whose message does not depend on the scope: patterns, and our messages for them.

DuckDB 2.0.1. Groups of a pattern are named as they stand in the words.
"""

from __future__ import annotations

from gpuquery.runner.query.sql.front.limits import TOO_DEEP

WORDINGS: tuple[tuple[str, str], ...] = (
    (
        r"Table Function with name (?P<name>.*?) does not exist",
        "the table function {name} is refused: a query reads only the job's inputs",
    ),
    (
        r"Cannot mix values of type (?P<left>.*?) and (?P<right>.*?) in (?P<what>.*?) - an explicit",
        "{left} and {right} cannot be mixed in a {what}: cast one of them",
    ),
    (
        r'Ambiguous reference to column name "(?P<name>.*?)" \(use: (?P<use>.*?)\)',
        'column "{name}" is in several tables in FROM: write {use}',
    ),
    (
        r'Ambiguous reference to table "(?P<name>.*?)"',
        '"{name}" names two tables in FROM: give one of them another alias with AS',
    ),
    (
        r'Duplicate alias "(?P<name>.*?)"',
        '"{name}" names two tables in FROM: give one of them another alias with AS',
    ),
    (r"syntax error at end of input", "the statement ends too early"),
    (
        r'syntax error at or near "(?i:symmetric)"',
        "BETWEEN SYMMETRIC is not supported: write BETWEEN least(a, b) AND greatest(a, b)",
    ),
    (r'syntax error at or near "(?P<name>.*?)"', 'syntax error at or after "{name}"'),
    (r"unterminated quoted identifier", 'a quoted name is not closed: add "'),
    (r"unterminated string literal", "a quoted string is not closed: add '"),
    (r"unterminated /\* comment", "a comment is not closed: add */"),
    (r"unterminated dollar-quoted", "a dollar-quoted string is not closed"),
    (r'Duplicate CTE name "(?P<name>.*?)"', 'WITH names "{name}" twice'),
    (r"VALUES lists must all be the same length", "the rows of VALUES do not all have the same number of values"),
    (
        r"Set operations can only apply to expressions with the same number",
        "the sides of UNION, INTERSECT or EXCEPT do not have the same number of columns",
    ),
    (
        r"aggregate function calls cannot be nested",
        "an aggregate is inside an aggregate: compute the inner one in a sub-query",
    ),
    (
        r"aggregate function calls cannot contain window",
        "a window function is inside an aggregate: compute it in a sub-query",
    ),
    (
        r"window function.*cannot be nested|Nested window",
        "a window function is inside a window function: compute the inner one in a sub-query",
    ),
    (
        r"(?P<name>[A-Z ]+) clause cannot contain aggregates",
        "{name} cannot contain an aggregate: use HAVING, or compute it in a sub-query",
    ),
    (
        r"(?P<name>[A-Z ]+) clause cannot contain window functions",
        "{name} cannot contain a window function: use QUALIFY, or compute it in a sub-query",
    ),
    (
        r"Window functions are not supported here",
        "a window function needs OVER (...), and is allowed only in SELECT, QUALIFY and ORDER BY",
    ),
    (
        r"(?P<name>GROUP|ORDER)(?: BY)? term out of range - should be between 1 and (?P<n>\d+)",
        "a number in {name} BY must be the position of a column of SELECT, from 1 to {n}",
    ),
    (
        r"Subquery returns (?P<n>\d+) columns - expected (?P<m>\d+)",
        "this sub-query returns {n} columns, and {m} is expected here",
    ),
    (
        r'Column "(?P<name>.*?)" does not exist on (?P<side>left|right) side of join',
        'USING: the {side} side has no column "{name}"',
    ),
    (
        r'Could not find key "(?P<name>.*?)" in struct\s+Candidate Entries: (?P<known>.*)',
        'the struct has no field "{name}" (similar: {known})',
    ),
    (
        r'extract specifier "(?P<name>.*?)" not recognized',
        '"{name}" is not a part of a date or time: write year, month, day, hour, minute, second ...',
    ),
    (
        r"Failed to parse format specifier (?P<name>.*?):",
        "the format {name} is not known: write it with %Y, %m, %d, %H, %M, %S ...",
    ),
    (
        r'Column "(?P<name>.*?)" in (?P<what>EXCLUDE|REPLACE|RENAME) list not found',
        '{what}: column "{name}" does not exist',
    ),
    (r"LIMIT/OFFSET cannot be negative", "LIMIT and OFFSET cannot be negative"),
    (
        r'GROUPING child "(?P<name>.*?)" must be a grouping column',
        'GROUPING takes columns of GROUP BY, and "{name}" is not one',
    ),
    (r"GROUPING statement cannot be used without groups", "GROUPING needs a GROUP BY"),
    (
        r"UNNEST\(\) can only be applied to lists, structs and NULL, not (?P<name>.*)",
        "UNNEST takes a list, and this is {name}",
    ),
    (r"UNNEST not supported here", "UNNEST is allowed only in SELECT and FROM"),
    (r"Missing ASOF JOIN inequality", "ASOF JOIN needs one inequality in ON, as in a.time >= b.time"),
    (r"Multiple ASOF JOIN inequalities", "ASOF JOIN takes one inequality in ON"),
    (r"Hex string literal", "x'...' takes pairs of hexadecimal digits"),
    (
        r'The "(?P<name>.*?)" argument in function "(?P<function>.*?)" must be a constant',
        "{function}: the {name} must be a constant or a parameter",
    ),
    (r"QUANTILE can only take parameters in the range", "a quantile is a number from 0 to 1"),
    (
        r"STAR expression is only allowed as the root",
        "* stands here inside of an expression: write the columns, or COLUMNS(*)",
    ),
    (r'No matching columns found that match regex "(?P<name>.*?)"', "COLUMNS: no column matches {name}"),
    (
        r"at least one window function must appear in the SELECT column or QUALIFY",
        "QUALIFY needs a window function: use WHERE or HAVING",
    ),
    (r"Max expression depth limit of (?P<n>\d+) exceeded", TOO_DEEP),
    (r"Cannot deduce template type", "the types of the arguments do not fit each other: cast one of them"),
    (
        r'Circular reference to CTE "(?P<name>.*?)"',
        'WITH: "{name}" refers to itself: write WITH RECURSIVE {name} AS (first rows UNION ALL next rows)',
    ),
    (
        "Cannot extract field \\'(?P<name>.*?)\\' from expression \"(?P<of>.*?)\"",
        '"{of}" is not a struct, so it has no field "{name}"',
    ),
    (r"aggregate functions are not allowed in FILTER", "FILTER cannot contain an aggregate: compute it in a sub-query"),
    (
        r"window functions are not allowed in window definitions",
        "a window function is inside a window: compute the inner one in a sub-query",
    ),
    (r"DISTINCT requires at least one argument", "DISTINCT needs an argument"),
    (
        r'Could not ORDER BY column "(?P<name>.*?)"',
        '"{name}" is not a column of the UNION, INTERSECT or EXCEPT: order by a name of its first SELECT',
    ),
    (
        r"Frame start(?:ing| cannot)",
        "a frame ends before it begins: the start must come before the end, as in BETWEEN 1 PRECEDING AND CURRENT ROW",
    ),
    (
        r"Frame end",
        "a frame ends before it begins: the start must come before the end, as in BETWEEN 1 PRECEDING AND CURRENT ROW",
    ),
    (r"RANGE frames must have only one ORDER BY", "RANGE with a distance needs exactly one key in ORDER BY"),
    (r'window "(?P<name>.*?)" does not exist', 'WINDOW names no "{name}"'),
    (r'window "(?P<name>.*?)" is already defined', 'WINDOW names "{name}" twice'),
    (
        r"No columns found to join on in NATURAL JOIN",
        "NATURAL JOIN: the two sides have no column of the same name: write ON, or CROSS JOIN",
    ),
    (
        r"Cannot unpivot columns of types (?P<left>.*?) and (?P<right>.*?) -",
        "UNPIVOT: {left} and {right} do not fit in one column: cast one of them",
    ),
    (r"DECIMAL type width must be between 1 and 38", "a DECIMAL has 1 to 38 digits"),
    (r"DECIMAL type scale cannot be greater than width", "a DECIMAL cannot have more places than digits"),
    (r'Duplicate named argument "(?P<name>.*?)"', 'the struct has the field "{name}" twice'),
    (r"Cannot use multiple ORDER BY clauses with WITHIN GROUP", "WITHIN GROUP takes one key in ORDER BY"),
    (r"PERCENTILEs can only take", "a percentile is a number from 0 to 1"),
    (r"Type TUPLE.* does not match with TUPLE", "rows of different length cannot be compared"),
    (
        r'table "(?P<name>.*?)" has (?P<n>\d+) columns available but (?P<m>\d+) columns specified',
        '"{name}" has {n} columns, and {m} names are given for them',
    ),
    (r"Deprecated lambda arrow", "this arrow does not begin a lambda here: write lambda x: x + 1"),
    (
        r"invalid lambda expression",
        "a lambda is allowed only as an argument of a list function, such as list_transform",
    ),
    (
        r"This lambda function only supports up to (?P<n>\w+) lambda parameters?",
        "a lambda takes up to {n} parameters here",
    ),
    (
        r"Cannot concatenate types (?P<left>.*?) and (?P<right>.*?) -",
        "{left} and {right} cannot be concatenated: cast one of them",
    ),
    (r"Maximum grouping set count", "CUBE, ROLLUP and GROUPING SETS give more than 65,535 grouping sets"),
    (r"SELECT clause without selection list", "SELECT names no columns"),
    (
        r'Enum value: unrecognized value "(?P<name>.*?)" for enum "OrderType"',
        '"{name}" is not a sort order: write ASC or DESC',
    ),
    (
        r'Enum value: unrecognized value "(?P<name>.*?)" for enum "OrderByNullType"',
        '"{name}" is not an order of NULLs: write NULLS FIRST or NULLS LAST',
    ),
)
