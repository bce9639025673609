-- Productions of generated statements: one template for each shape, grouped by what it tries.
--
-- A hole is a table with its alias, {t} or {t:ab} (one of a and b); an expression over aliases, {int@t} or {bool@t+u};
-- one of a sort that is drawn once for the statement, {one@t} or {two@t}; {id@t} and {k@t}, the unique column and the
-- key; {column@t}, any column; {agg@t} and {over@t}, an aggregate and a window function; any other is a word. A line
-- above a template has the columns of tables that it derives, by alias. As in sql_expressions a ! keeps a template from
-- PostgreSQL. No result may hang on the order of rows that are equal.

-- # recursion: Recursion
-- r: i int, v int, n int
WITH RECURSIVE r AS (SELECT {id@t} AS i, CAST({int@t} AS bigint) AS v, 0 AS n FROM {t} WHERE {bool@t} UNION ALL
  SELECT i, CAST(v + {small} * i AS bigint), n + 1 FROM r WHERE n < {positive} AND {bool@r}) SELECT i, n,
  {int@r} AS e FROM r WHERE {bool@r};
-- r: n int
WITH RECURSIVE r(n) AS (SELECT CAST({k@t} AS bigint) FROM {t:b} WHERE {bool@t} UNION SELECT CAST(u.q AS bigint) FROM
  r JOIN c AS u ON u.k = r.n) SELECT n, {int@r} AS e FROM r;
-- r: i int, v text, n int
WITH RECURSIVE r AS (SELECT {k@t} AS i, CAST({text@t} AS varchar) AS v, 0 AS n FROM {t} UNION SELECT {k@u}, CAST(r.v || '/' AS
  varchar), n + 1 FROM r JOIN {u:c} ON {k@u} = r.i + 1 WHERE r.n < 3) SELECT r.n, count(*) AS c, {agg@r} AS a FROM r
  GROUP BY r.n;
-- r: i int, v int, n int
WITH RECURSIVE r AS (SELECT 1 AS i, CAST(0 AS bigint) AS v, 0 AS n UNION ALL SELECT i + 1, v + (SELECT count(*) FROM
  {u} WHERE {k@u} = r.i), n + 1 FROM r WHERE i < 5), s AS (SELECT i, v FROM r WHERE {bool@r}) SELECT x.i, y.v FROM s
  AS x {leftjoin} s AS y ON x.i = y.i + 1;
-- r: n int
SELECT {id@t}, (WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 4) SELECT sum(n) FROM r
  WHERE {int@r} <> 3) AS s FROM {t};

-- # pivot: PIVOT and UNPIVOT
!PIVOT {t:a} ON k IN (1, 2, 9) USING {sum}(i32) AS x, count(*) AS n GROUP BY flag;
!PIVOT (SELECT {one@t} AS g, s, {int@t} AS v FROM {t:ab} WHERE {bool@t}) AS q ON s IN ('a', '', 'A') USING {sum}(v)
  GROUP BY g;
!SELECT * FROM (SELECT flag, k, {int@t} AS v FROM {t:a}) AS q PIVOT ({sum}(v) AS x FOR flag IN (TRUE, FALSE) GROUP
  BY k);
!SELECT * FROM (SELECT k, w, q FROM {t:c} WHERE {bool@t}) AS z PIVOT ({sum}(q) FOR w IN ('one', 'two'));
!PIVOT (SELECT {k@t} AS k, {text@t} AS s, {date@t} AS d, {id@t} AS id FROM {t:ab}) AS q ON d IN ('2024-01-31',
  '2024-02-29') USING max(s), min(id) GROUP BY k;
!UNPIVOT (SELECT {id@t} AS i, {one@t} AS x, {one@t} AS y FROM {t}) AS q ON x, y INTO NAME n VALUE v;
-- q: i int, v one, n text
!SELECT i, n, {one@q} AS e FROM (SELECT {id@t} AS i, {one@t} AS x, {one@t} AS y FROM {t}) UNPIVOT INCLUDE NULLS (v
  FOR n IN (x, y)) AS q;

-- # asof: ASOF
!SELECT {id@t}, u.n, {one@t} AS e FROM {t:a} {asofjoin} (SELECT k, day AS edge, max(id) AS n, max(v) AS v FROM b
  WHERE day IS NOT NULL GROUP BY k, day) AS u ON {k@t} = u.k AND t.day {asofop} u.edge;
!SELECT {id@t}, u.n, u.v FROM {t:ab} {asofjoin} (SELECT k, m AS edge, max(id) AS n, max(v) AS v FROM b WHERE m IS
  NOT NULL GROUP BY k, m) AS u ON t.k = u.k AND t.m {asofop} u.edge WHERE {bool@t};
!SELECT {id@t}, u.n FROM {t:ab} {asofjoin} (SELECT {date@s} AS edge, max(id) AS n FROM {s} GROUP BY 1 HAVING at
  IS NOT NULL) AS u ON t.day {asofop} u.edge;

-- # unnest: UNNEST
!SELECT {id@t}, unnest({list@t}) AS x, {one@t} AS e FROM {t:a};
!SELECT {id@t}, unnest({list@t}) AS x, unnest({words@t}) AS y FROM {t:a} WHERE {bool@t};
-- q: x int
!SELECT {id@t}, q.x, {int@q} AS e FROM {t:a}, UNNEST({list@t}) AS q(x) WHERE {bool@t+q};
-- q: x text, o int
!SELECT {id@t}, q.x, q.o FROM {t:a}, UNNEST({words@t}) WITH ORDINALITY AS q(x, o) WHERE {bool@q};
-- q: x int
!SELECT {id@t}, q.x FROM {t:a} LEFT JOIN LATERAL UNNEST({list@t}) AS q(x) ON TRUE;
-- q: x int
!SELECT q.x, count(*) AS c, {agg@t} AS a FROM {t:a}, UNNEST({list@t}) AS q(x) GROUP BY q.x;
-- q: x int
!SELECT {id@t}, (SELECT {agg@q} FROM UNNEST({list@t}) AS q(x)) AS s FROM {t:a};
-- q: x int
!SELECT {id@t}, q.x FROM {t}, generate_series({small}, {positive}) AS q(x) WHERE {bool@t+q};
-- q: x int
!SELECT {id@t}, q.x FROM {t:c}, range({k@t}) AS q(x) WHERE {bool@q};
!SELECT {id@t}, unnest({rec@t}) FROM {t:a};
!SELECT {id@t}, unnest([{rec@t}, {rec@t}], recursive := true) FROM {t:a};
!SELECT x.n, x.t, count(*) AS c FROM (SELECT unnest([{rec@t}]) AS x FROM {t:a}) AS z GROUP BY ALL;
!SELECT {id@t} FROM {t} WHERE {int@t} IN (SELECT unnest({list@t})) OR {bool@t};
-- q: n int, s text
SELECT q.n, {text@q} AS e FROM (VALUES (1, 'a'), (NULL, 'b'), (3, NULL)) AS q(n, s) WHERE {bool@q};

-- # lateral: LATERAL
SELECT {id@t}, l.x FROM {t} {lateral} (SELECT {one@t+u} AS x FROM {u} WHERE {k@u} = {k@t} AND {bool@u} ORDER BY
  {id@u} LIMIT 2) AS l ON TRUE;
SELECT {id@t}, l.e, m.f FROM {t} CROSS JOIN LATERAL (SELECT {int@t} AS e) AS l CROSS JOIN LATERAL (SELECT l.e + 1 AS
  f) AS m WHERE {bool@t};
SELECT {id@t}, l.a, l.c FROM {t} {lateral} (SELECT {agg@u} AS a, count(*) AS c FROM {u} WHERE {k@u} = {k@t} AND
  {bool@u}) AS l ON TRUE WHERE {bool@t};
SELECT {id@t}, l.k, l.c FROM {t} {lateral} (SELECT {k@u} AS k, count(*) AS c FROM {u} WHERE {k@u} >= {k@t} GROUP BY
  {k@u} HAVING count(*) > 1) AS l ON {one@t} IS NOT NULL;
SELECT {id@t}, l.x FROM {t} {lateral} (SELECT {one@t} AS x UNION SELECT {one@u} FROM {u} WHERE {k@u} = {k@t}) AS l
  ON TRUE;
!SELECT {id@t}, l.n FROM {t:a}, LATERAL (SELECT max(q.x) AS n FROM UNNEST({list@t}) AS q(x) WHERE q.x <> {k@t}) AS l;
SELECT {id@t}, l.r FROM {t} {lateral} (SELECT row_number() OVER (ORDER BY {id@u}) AS r FROM {u} WHERE {k@u} = {k@t})
  AS l ON l.r <= 2;

-- # keys: Lists, records, times, zones, spans and bytes: values, and keys
!SELECT {list@t} AS g, count(*) AS c, {agg@t} AS a FROM {t:a} GROUP BY 1;
!SELECT {rec@t} AS g, {words@t} AS h, count(*) AS c FROM {t:a} GROUP BY ALL;
!SELECT DISTINCT {list@t} AS x, {rec@t} AS y, {tz@t} AS z FROM {t:a};
!SELECT {id@t}, {id@u} FROM {t:a} {join} {u:a} ON {list@t} {notdistinct} {list@u};
!SELECT {id@t}, {id@u} FROM {t:a} {join} {u:a} ON {rec@t} = {rec@u} AND {bool@t+u};
!SELECT {list@t} FROM {t:a} {set} SELECT {list@u} FROM {u:ab};
!SELECT {rec@t}, {blob@t} FROM {t:a} {set} SELECT {rec@u}, {blob@u} FROM {u:ab};
!SELECT {k@t} AS g, list({one@t} ORDER BY {id@t}) AS l, first({rec@t} ORDER BY {id@t}) AS f, list({'a': {one@t},
  'b': {two@t}} ORDER BY {id@t} DESC) AS m, max({time@t}), min({tz@t}), max({span@t}) FROM {t:a} GROUP BY 1;
!SELECT {id@t}, lead({list@t}) OVER (ORDER BY {id@t}) AS x, first_value({rec@t}) OVER (PARTITION BY {words@t} ORDER
  BY {id@t}) AS y, count(*) OVER (PARTITION BY {list@t}) AS n FROM {t:a};
!SELECT {id@t}, {rich@t} AS x, {rich@t} AS y, {rich@t} AS z FROM {t:a} WHERE {bool@t};
!SELECT {id@t}, {time@t} AS x, {tz@t} AS y, {blob@t} AS z, {span@t} AS s FROM {t:a} ORDER BY 2 {end}, 3 {end}, 1
  LIMIT 7;

-- # joins: Joins, and IN and EXISTS
SELECT k, {id@t}, {id@u} FROM {t} {join} {u} USING (k);
SELECT k, {id@t}, {id@u}, {one@t+u} AS e FROM {t} {join} {u} USING (k) WHERE {bool@t+u} ORDER BY 1 {end}, 2 {end},
  3 {end} LIMIT {positive};
SELECT k, {id@t}, {id@u}, {id@s} FROM {t:c} {join} {u:c} USING (k) {join} {s} USING (k);
!SELECT {id@t}, {two@t} AS e FROM {t} {semi} {u} ON {one@t} = {one@u};
!SELECT {id@t}, {two@t} AS e FROM {t} {semi} {u} ON {k@t} = {k@u} AND {bool@t+u};
!SELECT {id@t} FROM {t} {semi} {u} ON {int@t} {op} {int@u} WHERE {bool@t};
SELECT {id@t}, {id@u}, {two@t} AS e FROM {t} {join} {u} ON {k@t} = {k@u} AND {one@t} {notdistinct} {one@u};
SELECT {id@t}, {id@u} FROM {t:ab} {leftjoin} {u:c} ON {bool@t+u} ORDER BY 1 {end}, 2 {end} OFFSET 2;
SELECT {id@t} FROM {t} WHERE {exists} (SELECT 1 FROM {u} WHERE {k@t} = {k@u} AND {bool@t+u}) {and} {bool@t};
SELECT {id@t}, {exists} (SELECT {agg@u} FROM {u} WHERE {one@t} = {one@u}) AS b FROM {t};
SELECT {id@t}, {one@t} {in} (SELECT {one@u} FROM {u} WHERE {k@u} {op} {k@t}) AS b FROM {t};
SELECT {id@t} FROM {t} WHERE {one@t} {in} (SELECT {one@u} FROM {u}) {and} {bool@t} ORDER BY 1 {end};
SELECT {id@t} FROM {t} WHERE {one@t} {quantified} (SELECT {one@u} FROM {u} WHERE {bool@u}) {and} {bool@t};
SELECT {id@t}, {one@t} {quantified} (SELECT {one@u} FROM {u}) AS b FROM {t};

-- # ties: Rows that are equal by an order
!SELECT {id@t}, {one@t} AS e, rank() OVER (PARTITION BY {k@t} ORDER BY {two@t} {end}) AS r FROM {t} QUALIFY r <=
  {positive} AND {bool@t};
!SELECT {id@t}, {int@t} AS e FROM {t} QUALIFY row_number() OVER (PARTITION BY {column@t} ORDER BY {one@t} {end},
  {id@t}) = 1 OR {over@t} IS NULL;
!SELECT {k@t}, {agg@t} AS a FROM {t} GROUP BY {k@t} QUALIFY dense_rank() OVER (ORDER BY count(*) {end}) <= 2;
SELECT DISTINCT ON (g) g, count(*) OVER () AS n FROM (SELECT {one@t} AS g FROM {t} WHERE {bool@t}) AS q;
!SELECT DISTINCT ON ({k@t}) {k@t} AS g, {id@t}, {two@t} AS e FROM {t} ORDER BY {k@t} {end}, {id@t} DESC LIMIT 5;
SELECT {id@t}, ntile({positive}) OVER (ORDER BY {one@t} {end}, {id@t}) AS n, cume_dist() OVER (ORDER BY {one@t}
  {end}) AS c FROM {t};
!SELECT DISTINCT ON (g) g, i, e FROM (SELECT {one@t} AS g, {id@t} AS i, {two@t} AS e FROM {t} WHERE {bool@t}) AS q
  ORDER BY g {end}, i {end};
SELECT DISTINCT ON ({k@t}) {k@t} AS g, {id@t}, {two@t} AS e FROM {t} ORDER BY {k@t}, {id@t} {end};
!SELECT {id@t}, {one@t} AS e FROM {t} WHERE {bool@t} QUALIFY {over@t} IS NOT NULL;
SELECT {k@t} AS g, sum(sum({k@t} + 1)) OVER (ORDER BY {k@t} NULLS FIRST) AS s, rank() OVER (ORDER BY count(*) DESC) AS r
  FROM {t:ab} GROUP BY {k@t};

-- # sets: Grouping sets
SELECT {k@t}, {agg@t} AS a, count(*) AS c FROM {t} WHERE {bool@t} GROUP BY ROLLUP ({k@t}) HAVING count(*) > {small}
  OR GROUPING({k@t}) = 1;
-- q: v int
SELECT x, y, GROUPING(x, y) AS g, {agg@q} AS a FROM (SELECT {one@t} AS x, {two@t} AS y, {int@t} AS v FROM {t}) AS q
  GROUP BY GROUPING SETS ((x, y), (y), ()) HAVING {agg@q} IS NOT NULL;
SELECT x, y, z, count(*) AS c FROM (SELECT {one@t} AS x, {two@t} AS y, {k@t} AS z FROM {t}) AS q GROUP BY ROLLUP
  (x), CUBE (y, z) HAVING count(*) > 1;
SELECT x, y, count(DISTINCT v) AS d, sum(v) FILTER (WHERE v > 0) AS s FROM (SELECT {one@t} AS x, {k@t} AS y, {int@t}
  AS v FROM {t}) AS q GROUP BY GROUPING SETS (ROLLUP (x, y), CUBE (y)) HAVING GROUPING(x) = 0;
SELECT x, y, c, rank() OVER (PARTITION BY g ORDER BY c DESC) AS r FROM (SELECT {one@t} AS x, {k@t} AS y,
  GROUPING({k@t}) AS g, count(*) AS c FROM {t:c} GROUP BY ROLLUP (1, 2)) AS q;
SELECT {agg@t} AS a, count(*) AS c FROM {t} WHERE {bool@t} GROUP BY GROUPING SETS ((), ()) HAVING {agg@t} IS NOT
  NULL;
SELECT 1 AS one FROM {t} WHERE {bool@t} HAVING count(*) > {positive};

-- # odd: Sub-queries in odd places
SELECT {id@t} FROM {t} ORDER BY (SELECT count(*) FROM {u} WHERE {k@u} = {k@t}) {end}, {id@t} {end};
SELECT (SELECT count(*) FROM {u} WHERE {k@u} = {k@t}) AS g, count(*) AS c FROM {t} GROUP BY 1;
SELECT {k@t}, count(*) AS c FROM {t} GROUP BY {k@t} HAVING count(*) > (SELECT count(*) FROM {u} WHERE {k@u} = {k@t}
  AND {bool@u});
!SELECT {id@t}, {id@u} FROM {t} JOIN {u:c} ON {k@t} = (SELECT max({k@s}) FROM {s:c} WHERE {k@s} <= {k@u});
SELECT {id@t}, {id@u} FROM {t} LEFT JOIN {u} ON {k@t} = {k@u} AND EXISTS (SELECT 1 FROM {s} WHERE {k@s} = {k@u} AND
  {bool@s});
SELECT sum((SELECT count(*) FROM {u} WHERE {k@u} = {k@t})) AS s, count(*) AS c FROM {t} WHERE {bool@t};
SELECT {id@t}, sum((SELECT max({k@u}) FROM {u} WHERE {k@u} = {k@t})) OVER (PARTITION BY {k@t} ORDER BY {id@t}) AS s
  FROM {t};
SELECT {id@t}, CASE WHEN {bool@t} THEN (SELECT {one@u} FROM {u} WHERE {k@u} = {k@t} AND {bool@u+t} ORDER BY {id@u}
  {end} LIMIT 1) ELSE {one@t} END AS e FROM {t};
SELECT {id@t}, coalesce((SELECT {one@u} FROM {u} WHERE {k@u} = {k@t} AND {bool@u+t} ORDER BY {id@u} {end} LIMIT 1),
  {one@t}) AS e FROM {t} WHERE (SELECT {one@s} FROM {s} WHERE {k@s} = {k@t} AND {bool@s+t} ORDER BY {id@s} {end}
  LIMIT 1) IS NOT NULL;
SELECT {id@t}, (SELECT count(*) FROM {u} WHERE {k@u} = {k@t} AND EXISTS (SELECT 1 FROM {s} WHERE {k@s} = {k@t} AND
  {bool@s+u})) AS n FROM {t};
-- q: x int
SELECT {id@t}, (SELECT {agg@q} FROM (SELECT {int@u} AS x FROM {u} WHERE {k@u} = {k@t} UNION ALL SELECT {int@s} FROM
  {s} WHERE {k@s} = {k@t}) AS q) AS n FROM {t};
-- q: x int
SELECT {id@t}, (WITH q AS (SELECT {int@u} AS x FROM {u} WHERE {k@u} = {k@t}) SELECT {agg@q} FROM q) AS n FROM {t};
!SELECT {id@t}, ARRAY(SELECT {one@u} FROM {u} WHERE {k@u} = {k@t} ORDER BY {id@u}) AS l FROM {t};
SELECT {id@t} FROM {t} WHERE {int@t} {quantified} (SELECT {int@u} FROM {u} WHERE {k@u} = {k@t} AND {bool@u});
SELECT {id@t}, {one@t} NOT IN (SELECT {one@u} FROM {u} WHERE {k@u} = {k@t}) AS b, {two@t} IN (SELECT {two@s} FROM
  {s}) AS c FROM {t};
SELECT {id@t} FROM {t} WHERE NOT ({int@t} IN (SELECT {int@u} FROM {u} WHERE {bool@u}) AND {bool@t}) OR EXISTS
  (SELECT {agg@s} FROM {s} WHERE {k@s} = {k@t});
SELECT {id@t}, (SELECT count(*) FROM {u} LEFT JOIN {s:c} ON {k@s} = {k@u} AND {k@s} = {k@t}) AS n FROM {t:c};
SELECT {id@t}, (SELECT max(x) FROM (SELECT sum({k@u}) OVER (ORDER BY {id@u}) AS x FROM {u} WHERE {k@u} = {k@t}) AS
  q) AS n FROM {t};
SELECT {id@t} FROM {t} WHERE (SELECT count(DISTINCT {one@u}) FROM {u} WHERE {k@u} = {k@t} OR {bool@u}) > {positive};
SELECT (SELECT {agg@u} FROM {u}) AS a, (SELECT count(*) FROM {s} WHERE {bool@s}) AS b;
!SELECT {id@t}, count(*) FILTER (WHERE EXISTS (SELECT 1 FROM {u} WHERE {k@u} = {k@t})) OVER () AS n FROM {t};
!SELECT {id@t} FROM {t} QUALIFY (SELECT count(*) FROM {u} WHERE {k@u} = {k@t}) >= row_number() OVER (ORDER BY
  {id@t});
SELECT {id@t} FROM {t} WHERE ({k@t}, {one@t}) IN (SELECT {k@u}, {one@u} FROM {u} WHERE {bool@u});

-- # nested_sets: Set operations in each other
(SELECT {one@t} AS x, {two@t} AS y FROM {t} {set} SELECT {one@u}, {two@u} FROM {u}) {set} (SELECT {one@s}, {two@s}
  FROM {s} {set} SELECT {one@v}, {two@v} FROM {v});
SELECT x, count(*) AS c FROM ((SELECT {one@t} AS x FROM {t} WHERE {bool@t}) {set} (SELECT {one@u} FROM {u} {set}
  SELECT {one@s} FROM {s})) AS q GROUP BY x;
(SELECT {id@t}, {int@t} AS x FROM {t} ORDER BY {id@t} {end} LIMIT {positive}) {set} (SELECT {id@u}, {int@u} FROM {u}
  ORDER BY {id@u} LIMIT 3);
SELECT {int@t} AS x, {k@t} AS y FROM {t} {set} SELECT {dec@u}, {id@u} FROM {u};
SELECT {date@t} AS x, NULL AS y FROM {t} {set} SELECT {ts@u}, {int@u} FROM {u};
!SELECT {one@t} AS x, {k@t} AS y FROM {t} UNION {all} BY NAME SELECT {id@u} AS y, {two@u} AS z FROM {u};
WITH w AS (SELECT {one@t} AS x FROM {t} {set} SELECT {one@u} FROM {u}) SELECT a.x FROM w AS a WHERE a.x IN (SELECT x
  FROM w WHERE x IS NOT NULL) {set} SELECT x FROM w;
SELECT {id@t} FROM {t} WHERE {one@t} IN (SELECT {one@u} FROM {u} {set} SELECT {one@s} FROM {s});

-- # casts: Casts of every pair of types
!SELECT {id@t}, {cast@t} AS x, {trycast@t} AS y FROM {t:ax} WHERE {id@t} = {row};
!SELECT {id@t}, {cast@t} AS x FROM {t:ax} WHERE {id@t} > 10;
!SELECT {id@t}, {trycast@t} AS x, {trycast@t} AS y, {trycast@t} AS z FROM {t:ax};
!SELECT {id@t}, TRY_CAST({scalarcast@t} AS varchar) AS x FROM {t:ax} WHERE {id@t} > 10 ORDER BY 2 {end}, 1;
!SELECT {trycast@t} AS x, count(*) AS c FROM {t:ax} GROUP BY 1;
!SELECT {id@t}, TRY_CAST({scalarcast@t} AS varchar) AS x FROM {t:ax} WHERE {id@t} = {row};

-- # stars: Names, stars and limits
!SELECT * EXCLUDE (k) REPLACE ({int@t} AS id) FROM {t:bc} WHERE {bool@t};
!SELECT t.*, {one@u} AS e FROM {t:c} {join} {u:c} ON {k@t} = {k@u};
!FROM {t} SELECT {id@t}, {one@t} AS e, e AS f WHERE {bool@t};
!SELECT COLUMNS('^[kms]$'), {id@t} FROM {t:ab};
!SELECT {k@t} AS g, max(COLUMNS(* EXCLUDE (id))) FROM {t:c} GROUP BY ALL;
SELECT {id@t}, sum({int@t}) OVER w AS a, count({one@t}) OVER w AS b, rank() OVER (w) AS c FROM {t} WINDOW w AS
  (PARTITION BY {k@t} ORDER BY {id@t});
SELECT {id@t}, {one@t} AS e FROM {t} ORDER BY {k@t} {end}, {id@t} OFFSET {positive} FETCH FIRST 4 ROWS ONLY;
!SELECT {id@t} FROM {t} ORDER BY {id@t} {end} LIMIT {percent}%;
