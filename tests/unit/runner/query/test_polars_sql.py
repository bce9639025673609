"""SQL is judged by its tree, parameters stay literals, and what runs is the author's own text."""

import datetime as dt
import warnings
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gpuquery.api.reasons import Failure
from gpuquery.api.spec import Parameter
from gpuquery.runner.failures.errors import JobError
from gpuquery.runner.query import params
from gpuquery.runner.query.polars_sql import plan as sql_plan
from gpuquery.runner.query.polars_sql import tree as sql
from tests.support.examples import examples

DAY = dt.date(1994, 1, 1)
SALES = pl.DataFrame(
    {
        "id": [1, 2, 3, 4],
        "shop": [1, 1, 2, None],
        "day": [DAY, dt.date(1994, 7, 1), dt.date(1995, 1, 1), None],
        "at": [dt.datetime(1994, 1, 1, 12), None, dt.datetime(2001, 1, 1), dt.datetime(2001, 1, 2)],
        "name": ["x", "y'z", None, "x y"],
        "weight": [1.5, 2.5, 3.5, None],
        "price": pl.Series([Decimal("1.25"), Decimal("2.50"), None, Decimal("9.99")], dtype=pl.Decimal(15, 2)),
        "tags": [["a"], [], ["b", "c"], None],
    }
)
SHOPS = pl.DataFrame({"shop": [1, 2, 5], "town": ["Bern", "Oslo", "Rome"]})
FRAMES = {"sales": SALES.lazy(), "shops": SHOPS.lazy()}


def bound(text, **parameters):
    values = params.values({name: Parameter.model_validate(p) for name, p in parameters.items()})
    return sql.bind(sql.read(text, inputs=FRAMES), values)


def rows(text, **parameters):
    return sql_plan.plan(bound(text, **parameters), FRAMES).collect().rows()


def refusal(text, **parameters):
    with pytest.raises(JobError) as caught:
        rows(text, **parameters)
    assert caught.value.failure is Failure.INVALID_QUERY
    return caught.value.message


CORPUS = """
select * from sales
select * exclude (tags, at) from sales
select * replace (id + 1 as id) from sales
select distinct shop from sales order by shop nulls last
select distinct on (shop) shop, id from sales order by shop, id
select id, sum(weight) over (partition by shop order by id) as w from sales order by id
select id, row_number() over w as n from sales window w as (partition by shop order by id) order by id
select id, lag(id) over (order by id) as l, rank() over (order by shop) as r from sales order by id
select id, shop from sales qualify row_number() over (partition by shop order by id) = 1 order by id
with q as (select shop, sum(weight) as w from sales group by shop) select * from q order by shop
with q(s) as (select shop from sales), r as (select s from q) select count(*) as n from r join q on r.s = q.s
select extract(year from day) as y, count(*) as n from sales group by all order by y
select extract(month from at) as m, date_part('day', at) as d from sales order by id
select shop, count(*) from sales group by 1 order by 2 desc, 1
select shop, sum(weight) as w from sales group by shop having sum(weight) > 1 order by shop
select id, case when weight > 2 then 'heavy' when weight is null then '?' else 'light' end as c from sales order by id
select case shop when 1 then 'one' else 'other' end as c from sales order by id
select id from sales where shop in (1, 2) and id not in (3) order by id
select id from sales where name in ('x', 'y''z') order by id
select id from sales where name like 'x%' or name not like 'y%' or name ilike 'X Y' order by id
select id from sales where id between 2 and 3 and day between '1994-01-01' and '1995-12-31' order by id
select id from sales where day >= '1994-06-01' and day < '1994-06-01'::date + interval '1 year' order by id
select id from sales where day >= date '1994-06-01' order by id
select day + interval '1 month 2 days' as d, at - interval '36 hours' as t from sales order by id
select at > timestamp '1999-01-01 00:00:00' as late from sales order by id
select s.id, t.town from sales s join shops t on s.shop = t.shop order by s.id
select sales.id, town from sales, shops where sales.shop = shops.shop order by sales.id
select s.id, t.town from sales as s left join shops as t using (shop) order by s.id
select town, id from sales full outer join shops on sales.shop = shops.shop order by town, id
select id from sales semi join shops on sales.shop = shops.shop order by id
select id from sales left anti join shops on sales.shop = shops.shop order by id
select count(*) as n from sales cross join shops
select count(distinct shop) as n, count(shop), count(*), min(day), max(at), avg(weight) from sales
select count(*) filter (where weight > 2) as n from sales
select sum(case when shop = 1 then weight else 0 end) as w from sales
select id from sales where exists (select 1 from shops where shops.shop = sales.shop) order by id
select id from sales where weight > (select avg(weight) from sales) order by id
select id from sales where shop in (select shop from shops where town <> 'Oslo') order by id
select shop from sales union select shop from shops order by shop
select shop from sales union all select shop from shops order by shop
select shop from sales intersect select shop from shops order by shop
select shop from shops except select shop from sales
select id, town from (select id, shop from sales where id < 4) x join shops using (shop) order by id
select price * 2 as p, price + 1 as q, -price as r, cast(price as decimal(38, 4)) * price as s from sales order by id
select weight::bigint as w, cast(weight as varchar) as s, try_cast(name as int) as i from sales order by id
select round(weight, 0), floor(weight), abs(-weight), id % 2, id / 2, id // 2, pow(id, 2) from sales order by id
select upper(name), length(name), name || '!' as n, substr(name, 1, 1), coalesce(name, '-') from sales order by id
select nullif(shop, 1) as n, greatest(id, shop) as g, ifnull(shop, 0) as i from sales order by id
select id from sales where name ~ '^x' or starts_with(name, 'y') or name ^@ 'z' order by id
select id from sales where shop is distinct from 1 and name is not null order by id
select id from sales order by weight desc nulls last limit 2 offset 1
select id as "Group", "name" from "sales" order by "Group"
select sales.* from sales order by id
select columns('^(id|shop)$') from sales order by id
select string_agg(name, ',') as s, array_agg(id order by id desc) as a from sales
select id, unnest(tags) as tag from sales order by id, tag
select tags[1] as first from sales order by id
select * from (values (1, 'a'), (2, 'b')) t(n, s) order by n
select * from unnest([1, 2, 3]) as t(n)
select id xor shop from sales where false
select '--x' as a, '/* y */' as b, 'a\\' as c, '\\n' as d, ':id' as e, '' as f, '?' as g, '`' as h
select x'ff' as b, true and not false as t, null as n, 1.50 as d, 'é😀' as u
(select id from sales where id = 1) union all (select id from sales where id = 2) order by id
""".strip().splitlines()


@pytest.mark.parametrize("text", CORPUS)
def test_what_runs_is_what_was_written(text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        want = pl.SQLContext(frames=FRAMES, eager=True).execute(text)
        got = sql_plan.plan(bound(text), FRAMES).collect()
    assert got.schema == want.schema
    assert got.equals(want)


def test_comments_are_blanked_out_and_lines_stay_where_they_are():
    text = bound("select id -- :nope '\n/* ; drop\n:neither */ from sales").text
    assert text.split() == ["select", "id", "from", "sales"]
    assert text.count("\n") == 2


REFUSED = [
    pytest.param("selec id from sales", ["line 1, column 1"], id="a misspelt SELECT"),
    pytest.param("select id,\nfrom sales where", ["line 2", "where"], id="a WHERE without a condition"),
    pytest.param("select 'abc from sales", ["line 1", "closed"], id="a string that never ends"),
    pytest.param("", ["empty"], id="no text"),
    pytest.param("-- nothing", ["empty"], id="a comment only"),
    pytest.param("select 1;\nselect 2", ["line 2, column 1", "one statement"], id="two statements"),
    pytest.param("drop table sales", ["line 1, column 1", "DROP", "SELECT"], id="DROP"),
    pytest.param("create table x as select 1", ["CREATE"], id="CREATE"),
    pytest.param("insert into sales values (1)", ["INSERT"], id="INSERT"),
    pytest.param("copy sales to '/tmp/x'", ["COPY"], id="COPY"),
    pytest.param("truncate table sales", ["TRUNCATE"], id="TRUNCATE"),
    pytest.param("explain select 1", ["SELECT"], id="EXPLAIN"),
    pytest.param("show tables", ["SELECT"], id="SHOW"),
    pytest.param("set x = 1", ["SET"], id="SET"),
    pytest.param("select id into t from sales", ["INTO"], id="SELECT INTO"),
    pytest.param("with x as (delete from sales returning *) select * from x", ["DELETE"], id="DELETE in a CTE"),
    pytest.param("select * from read_parquet('/etc/x')", ["line 1, column 15", "read_parquet"], id="read_parquet"),
    pytest.param("select *\nfrom READ_CSV ('/etc/x')", ["line 2, column 6", "READ_CSV"], id="READ_CSV, a blank"),
    pytest.param("select * from \"read_csv\"('/etc/x')", ["read_csv"], id="a quoted read_csv"),
    pytest.param("select * from sales, lateral read_json('/x')", ["read_json"], id="a lateral read_json"),
    pytest.param("select * from (select * from read_ipc('/x'))", ["read_ipc"], id="read_ipc in a sub-query"),
    pytest.param("select * from sales where id in (select id from read_csv('x'))", ["read_csv"], id="in a condition"),
    pytest.param("with q as (select * from read_csv('x')) select 1", ["read_csv"], id="in a CTE that nobody reads"),
    pytest.param("select * from /* hm */ read_csv/**/('x')", ["read_csv"], id="with comments between"),
    pytest.param("select * from scan_parquet('x')", ["scan_parquet"], id="scan_parquet"),
    pytest.param("select * from glob('x')", ["glob"], id="another table function"),
    pytest.param("select * from 's3://x/y.parquet'", ["s3://x/y.parquet", "sales, shops"], id="a path as a table"),
    pytest.param('select * from "x.parquet"', ["x.parquet", "sales, shops"], id="a quoted path"),
    pytest.param("select * from db.sales", ["line 1, column 15", "db.sales"], id="a qualified name"),
    pytest.param(
        "select *\nfrom\n  saels",
        ["line 3, column 3", '"saels"', "sales, shops", 'mean "sales"'],
        id="an unknown table",
    ),
    pytest.param("select * from Sales", ['"Sales"', 'mean "sales"'], id="names have a case"),
    pytest.param(
        "select\n  idd from sales", ["line 2, column 3", '"idd"', "id, shop, day", 'mean "id"'], id="an unknown column"
    ),
    pytest.param(
        "select s.town from sales s join shops t on s.shop = t.shop",
        ["line 1, column 8", '"town" of "s"', "id, shop"],
        id="a column of the other table",
    ),
    pytest.param("select year(day) from sales", ["column 8", '"year"', "EXTRACT(YEAR"], id="a function Polars lacks"),
    pytest.param("select sum(name) from sales", ["sum", "str"], id="the sum of texts"),
    pytest.param("select id + name from sales", ["i64 and str"], id="a number plus a text"),
    pytest.param("select id from sales where a = $1", ["$", ":name"], id="a numbered parameter"),
    pytest.param("select id from sales where a = ?", ["?", ":name"], id="a question mark"),
    pytest.param("select $$x$$ from sales", ["$$x$$"], id="a dollar quote"),
    pytest.param("select e'x' from sales", ["e'x'", "'text'"], id="a string with escapes"),
    pytest.param("select n'x' from sales", ["'text'"], id="a national string"),
    pytest.param("select q'[x]' from sales", ["blank"], id="a q-quoted string"),
    pytest.param("select `id` from sales", ["`", '"name"'], id="back ticks"),
    pytest.param("select " + "(" * 5000 + "1" + ")" * 5000, ["nested too deeply"], id="brackets without end"),
]


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_what_is_not_one_select_over_the_inputs_is_refused(text, words):
    message = refusal(text)
    for word in words:
        assert word in message
    assert len(message) < 1000


WRONG_PARAMETERS = [
    pytest.param("select id from sales where id = :n", {}, [":n", "line 1, column 33", "none"], id="unbound"),
    pytest.param("select id from sales where id = :n", {"m": {"integer": 1}}, [":n", "m"], id="misnamed"),
    pytest.param("select id from sales", {"n": {"integer": 1}}, ['"n"', "not used"], id="unused"),
    pytest.param("select id from sales -- :n", {"n": {"integer": 1}}, ['"n"', "not used"], id="in a comment only"),
    pytest.param("select ':n' from sales", {"n": {"integer": 1}}, ['"n"', "not used"], id="in a string only"),
    pytest.param("select id from :n", {"n": {"string": "sales"}}, [":n"], id="for a table"),
    pytest.param("select id :n from sales", {"n": {"string": "x"}}, [":n", "name"], id="for an alias"),
    pytest.param("select id as :n from sales", {"n": {"string": "x"}}, [":n"], id="for an alias with AS"),
    pytest.param("select id from sales order by :n", {"n": {"integer": 1}}, [":n", "name"], id="for an ORDER BY"),
    pytest.param("select id from sales group by :n", {"n": {"string": "id"}}, [":n", "name"], id="for a GROUP BY"),
    pytest.param("select sales.:n from sales", {"n": {"string": "id"}}, [":n"], id="for a column"),
    pytest.param("select id from sales where id in :n", {"n": {"integer": 1}}, [":n", "list"], id="no list after IN"),
    pytest.param("select id from sales where id = :n", {"n": {"integers": [1]}}, [":n", "list"], id="a list after ="),
    pytest.param(
        "select id from sales where at > :n",
        {"n": {"timestamp": "1994-01-01T00:00:00Z"}},
        [":n", "offset"],
        id="offset",
    ),
    pytest.param(
        "select id from sales where day > :n", {"n": {"date": "1994-02-31"}}, ["1994-02-31"], id="no such day"
    ),
]


@pytest.mark.parametrize(("text", "parameters", "words"), WRONG_PARAMETERS)
def test_a_parameter_that_does_not_fit_is_named(text, parameters, words):
    message = refusal(text, **parameters)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("text", "parameters", "want"),
    [
        pytest.param("select id from sales where day > :d", {"d": {"date": "1994-01-01"}}, [(2,), (3,)], id="date"),
        pytest.param("select id from sales where :d=day", {"d": {"date": "1995-01-01"}}, [(3,)], id="no blanks"),
        pytest.param("select id from sales where day>:d::date", {"d": {"date": "1994-07-01"}}, [(3,)], id="a cast"),
        pytest.param("select id from sales where id in :l", {"l": {"integers": [-1, 2, 3]}}, [(2,), (3,)], id="list"),
        pytest.param("select id from sales where id in (4, :l)", {"l": {"integers": [1]}}, [(1,), (4,)], id="in list"),
        pytest.param("select id from sales where name in :l", {"l": {"strings": ["y'z"]}}, [(2,)], id="texts"),
        pytest.param("select id from sales where name like :s", {"s": {"string": "x%"}}, [(1,), (4,)], id="pattern"),
        pytest.param("select id from sales where price = :p", {"p": {"decimal": "9.99"}}, [(4,)], id="decimal"),
        pytest.param("select id from sales where weight > -:n", {"n": {"number": -3.0}}, [(3,)], id="minus a minus"),
        pytest.param("select id from sales where id = 5-:n", {"n": {"integer": 4}}, [(1,)], id="a minus before"),
        pytest.param("select id from sales where id = 1--:n\n", {}, [(1,)], id="a comment takes it away"),
        pytest.param(
            "select id from sales limit :n offset :m", {"n": {"integer": 1}, "m": {"integer": 2}}, [(3,)], id="limit"
        ),
        pytest.param("select id from sales where :b and id = 1", {"b": {"boolean": True}}, [(1,)], id="boolean"),
        pytest.param(
            "select id from sales where at > :t", {"t": {"timestamp": "2001-01-01T00:00:00"}}, [(4,)], id="timestamp"
        ),
        pytest.param("select id from sales where id = :date", {"date": {"integer": 2}}, [(2,)], id="named date"),
        pytest.param("select id from sales where id = :select", {"select": {"integer": 2}}, [(2,)], id="named select"),
    ],
)
def test_a_parameter_is_its_value(text, parameters, want):
    assert sorted(rows(text, **parameters)) == want


@examples(300)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=40))
@example("x'); drop table sales; --")
@example("\\")
@example("\\'")
@example("'' or 1=1 --")
@example(":other")
@example("\0")
@example("*/ union select * from read_csv('/etc/passwd') /*")
@example('$$ " ` \r\n\t %s ? {{x}}')
def test_any_text_stays_a_literal_and_comes_back_as_it_is(value):
    assert rows("select :v as v from shops where :v = :v limit 1", v={"string": value}) == [(value,)]


@examples(200)
@given(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False))
@example(-(2**63), 5e-324)
@example(0, -0.0)
def test_any_number_comes_back_as_it_is(whole, number):
    assert rows("select :i as i, :f as f", i={"integer": whole}, f={"number": number}) == [(whole, number)]


@examples(200)
@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-(10**20), max_value=10**20),
    st.dates(),
    st.datetimes(),
)
def test_any_decimal_day_and_moment_comes_back_as_it_is(number, day, moment):
    got = rows(
        "select :n as n, :d as d, :t as t",
        n={"decimal": f"{number:f}"}, d={"date": day.isoformat()}, t={"timestamp": moment.isoformat()},
    )  # fmt: skip
    assert got == [(number, day, moment)]


def test_a_date_parameter_reaches_the_scan(tmp_path):
    SALES.drop("tags").write_parquet(tmp_path / "s.parquet")
    frame = sql_plan.plan(
        bound("select id from sales where day > :d", d={"date": "1994-05-01"}),
        {"sales": pl.scan_parquet(tmp_path / "s.parquet"), "shops": SHOPS.lazy()},
    )
    assert "SELECTION" in frame.explain()
    assert "1994-05-01" in frame.explain()


def test_an_error_of_polars_parser_is_told_at_the_place_in_the_authors_text():
    message = refusal("select id,\n :s as s,\n rollup from sales group by rollup(id)", s={"string": "a\nb"})
    assert "line 3, column 36" in message


def test_a_megabyte_of_sql_is_read():
    first, last = 10**17, 10**17 + 42_999  # long numbers: each one costs what a short one does
    text = "select id from sales where id in (" + ", ".join(map(str, range(first, last + 1))) + ") order by id"
    assert len(text) > 850_000
    assert bound(text).text.count(str(last)) == 1
