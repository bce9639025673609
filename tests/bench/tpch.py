"""The 22 queries of TPC-H as Polars plans, with the substitution parameters of the specification's validation run.

They are here for the shape of their plans: what is read, joined, grouped and sorted.
https://www.tpc.org/tpc_documents_current_versions/pdf/tpc-h_v3.0.1.pdf
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path

import polars as pl

Tables = Mapping[str, pl.LazyFrame]
NAMES = ("lineitem", "orders", "customer", "nation", "region", "part", "partsupp", "supplier")
C = pl.col
REVENUE = (C.l_extendedprice * (1 - C.l_discount)).sum().alias("revenue")
YEAR = pl.col("l_shipdate").dt.year().alias("year")


def generate(folder: Path, scale: float) -> None:
    """Make the tables, one parquet file each."""
    tool = shutil.which("tpchgen-cli", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert tool, "tpchgen-cli is not installed"
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([tool, "parquet", "-s", f"{scale:g}"], cwd=folder, check=True, capture_output=True)


def tables(folder: Path) -> Tables:
    """Scan the tables."""
    return {name: pl.scan_parquet(folder / f"{name}.parquet") for name in NAMES}


def q1(t: Tables) -> pl.LazyFrame:
    price = C.l_extendedprice * (1 - C.l_discount)
    return (
        t["lineitem"].filter(C.l_shipdate <= date(1998, 9, 2)).group_by("l_returnflag", "l_linestatus")
        .agg(C.l_quantity.sum(), C.l_extendedprice.sum().alias("base"), price.sum().alias("disc"),
             (price * (1 + C.l_tax)).sum().alias("charge"), C.l_quantity.mean().alias("avg"), pl.len())
        .sort("l_returnflag", "l_linestatus")
    )  # fmt: skip


def _european_offers(t: Tables) -> pl.LazyFrame:
    return (
        t["partsupp"].join(t["supplier"], left_on="ps_suppkey", right_on="s_suppkey")
        .join(t["nation"], left_on="s_nationkey", right_on="n_nationkey")
        .join(t["region"].filter(C.r_name == "EUROPE"), left_on="n_regionkey", right_on="r_regionkey")
    )  # fmt: skip


def q2(t: Tables) -> pl.LazyFrame:
    offers = (
        t["part"].filter((C.p_size == 15) & C.p_type.str.ends_with("BRASS"))
        .join(_european_offers(t), left_on="p_partkey", right_on="ps_partkey")
    )  # fmt: skip
    least = offers.group_by("p_partkey").agg(C.ps_supplycost.min())
    return (
        offers.join(least, on=["p_partkey", "ps_supplycost"])
        .select("s_acctbal", "s_name", "n_name", "p_partkey", "p_mfgr", "s_address", "s_phone", "s_comment")
        .sort("s_acctbal", "n_name", "s_name", "p_partkey", descending=[True, False, False, False]).head(100)
    )  # fmt: skip


def q3(t: Tables) -> pl.LazyFrame:
    return (
        t["customer"].filter(C.c_mktsegment == "BUILDING")
        .join(t["orders"].filter(C.o_orderdate < date(1995, 3, 15)), left_on="c_custkey", right_on="o_custkey")
        .join(t["lineitem"].filter(C.l_shipdate > date(1995, 3, 15)), left_on="o_orderkey", right_on="l_orderkey")
        .group_by("o_orderkey", "o_orderdate", "o_shippriority").agg(REVENUE)
        .sort("revenue", "o_orderdate", descending=[True, False]).head(10)
    )  # fmt: skip


def q4(t: Tables) -> pl.LazyFrame:
    late = t["lineitem"].filter(C.l_commitdate < C.l_receiptdate)
    return (
        t["orders"].filter(C.o_orderdate.is_between(date(1993, 7, 1), date(1993, 10, 1), closed="left"))
        .join(late, left_on="o_orderkey", right_on="l_orderkey", how="semi")
        .group_by("o_orderpriority").len().sort("o_orderpriority")
    )  # fmt: skip


def q5(t: Tables) -> pl.LazyFrame:
    return (
        t["region"].filter(C.r_name == "ASIA").join(t["nation"], left_on="r_regionkey", right_on="n_regionkey")
        .join(t["customer"], left_on="n_nationkey", right_on="c_nationkey")
        .join(t["orders"].filter(C.o_orderdate.is_between(date(1994, 1, 1), date(1995, 1, 1), closed="left")),
              left_on="c_custkey", right_on="o_custkey")
        .join(t["lineitem"], left_on="o_orderkey", right_on="l_orderkey")
        .join(t["supplier"], left_on=["l_suppkey", "n_nationkey"], right_on=["s_suppkey", "s_nationkey"])
        .group_by("n_name").agg(REVENUE).sort("revenue", descending=True)
    )  # fmt: skip


def q6(t: Tables) -> pl.LazyFrame:
    return (
        t["lineitem"].filter(C.l_shipdate.is_between(date(1994, 1, 1), date(1995, 1, 1), closed="left"),
                             C.l_discount.is_between(0.05, 0.07), C.l_quantity < 24)
        .select((C.l_extendedprice * C.l_discount).sum().alias("revenue"))
    )  # fmt: skip


def q7(t: Tables) -> pl.LazyFrame:
    some = t["nation"].filter(C.n_name.is_in(["FRANCE", "GERMANY"])).select("n_nationkey", "n_name")
    return (
        t["lineitem"].filter(C.l_shipdate.is_between(date(1995, 1, 1), date(1996, 12, 31)))
        .join(t["supplier"], left_on="l_suppkey", right_on="s_suppkey")
        .join(some, left_on="s_nationkey", right_on="n_nationkey")
        .join(t["orders"], left_on="l_orderkey", right_on="o_orderkey")
        .join(t["customer"], left_on="o_custkey", right_on="c_custkey")
        .join(some.rename({"n_name": "other"}), left_on="c_nationkey", right_on="n_nationkey")
        .filter(C.n_name != C.other).group_by("n_name", "other", YEAR).agg(REVENUE).sort("n_name", "other", "year")
    )  # fmt: skip


def q8(t: Tables) -> pl.LazyFrame:
    america = t["nation"].join(t["region"].filter(C.r_name == "AMERICA"), left_on="n_regionkey", right_on="r_regionkey")
    volume = C.l_extendedprice * (1 - C.l_discount)
    return (
        t["part"].filter(C.p_type == "ECONOMY ANODIZED STEEL")
        .join(t["lineitem"], left_on="p_partkey", right_on="l_partkey")
        .join(t["supplier"], left_on="l_suppkey", right_on="s_suppkey")
        .join(t["orders"].filter(C.o_orderdate.is_between(date(1995, 1, 1), date(1996, 12, 31))),
              left_on="l_orderkey", right_on="o_orderkey")
        .join(t["customer"], left_on="o_custkey", right_on="c_custkey")
        .join(america.select("n_nationkey"), left_on="c_nationkey", right_on="n_nationkey")
        .join(t["nation"].select("n_nationkey", "n_name"), left_on="s_nationkey", right_on="n_nationkey")
        .group_by(C.o_orderdate.dt.year().alias("year"))
        .agg(volume.filter(C.n_name == "BRAZIL").sum().alias("share"), volume.sum().alias("all")).sort("year")
    )  # fmt: skip


def q9(t: Tables) -> pl.LazyFrame:
    profit = (C.l_extendedprice * (1 - C.l_discount) - C.ps_supplycost * C.l_quantity).sum().alias("profit")
    return (
        t["part"].filter(C.p_name.str.contains("green")).join(t["partsupp"], left_on="p_partkey", right_on="ps_partkey")
        .join(t["supplier"], left_on="ps_suppkey", right_on="s_suppkey")
        .join(t["lineitem"], left_on=["p_partkey", "ps_suppkey"], right_on=["l_partkey", "l_suppkey"])
        .join(t["orders"], left_on="l_orderkey", right_on="o_orderkey")
        .join(t["nation"], left_on="s_nationkey", right_on="n_nationkey")
        .group_by("n_name", C.o_orderdate.dt.year().alias("year")).agg(profit)
        .sort("n_name", "year", descending=[False, True])
    )  # fmt: skip


def q10(t: Tables) -> pl.LazyFrame:
    return (
        t["customer"]
        .join(t["orders"].filter(C.o_orderdate.is_between(date(1993, 10, 1), date(1994, 1, 1), closed="left")),
              left_on="c_custkey", right_on="o_custkey")
        .join(t["lineitem"].filter(C.l_returnflag == "R"), left_on="o_orderkey", right_on="l_orderkey")
        .join(t["nation"], left_on="c_nationkey", right_on="n_nationkey")
        .group_by("c_custkey", "c_name", "c_acctbal", "c_phone", "n_name", "c_address", "c_comment").agg(REVENUE)
        .sort("revenue", descending=True).head(20)
    )  # fmt: skip


def q11(t: Tables) -> pl.LazyFrame:
    german = (
        t["partsupp"].join(t["supplier"], left_on="ps_suppkey", right_on="s_suppkey")
        .join(t["nation"].filter(C.n_name == "GERMANY"), left_on="s_nationkey", right_on="n_nationkey")
        .with_columns((C.ps_supplycost * C.ps_availqty).alias("value"))
    )  # fmt: skip
    least = german.select((C.value.sum() * 0.0001).alias("least"))
    return (
        german.group_by("ps_partkey").agg(C.value.sum()).join(least, how="cross").filter(C.value > C.least)
        .select("ps_partkey", "value").sort("value", descending=True)
    )  # fmt: skip


def q12(t: Tables) -> pl.LazyFrame:
    urgent = C.o_orderpriority.is_in(["1-URGENT", "2-HIGH"])
    return (
        t["lineitem"].filter(
            C.l_shipmode.is_in(["MAIL", "SHIP"]), C.l_commitdate < C.l_receiptdate, C.l_shipdate < C.l_commitdate,
            C.l_receiptdate.is_between(date(1994, 1, 1), date(1995, 1, 1), closed="left"))
        .join(t["orders"], left_on="l_orderkey", right_on="o_orderkey")
        .group_by("l_shipmode").agg(urgent.sum().alias("high"), (~urgent).sum().alias("low")).sort("l_shipmode")
    )  # fmt: skip


def q13(t: Tables) -> pl.LazyFrame:
    plain = t["orders"].filter(~C.o_comment.str.contains("special.*requests"))
    return (
        t["customer"].join(plain, left_on="c_custkey", right_on="o_custkey", how="left")
        .group_by("c_custkey").agg(C.o_orderkey.count().alias("count")).group_by("count").len()
        .sort("len", "count", descending=True)
    )  # fmt: skip


def q14(t: Tables) -> pl.LazyFrame:
    price = C.l_extendedprice * (1 - C.l_discount)
    return (
        t["lineitem"].filter(C.l_shipdate.is_between(date(1995, 9, 1), date(1995, 10, 1), closed="left"))
        .join(t["part"], left_on="l_partkey", right_on="p_partkey")
        .select(price.filter(C.p_type.str.starts_with("PROMO")).sum().alias("promo"), price.sum().alias("all"))
    )  # fmt: skip


def q15(t: Tables) -> pl.LazyFrame:
    revenue = (
        t["lineitem"].filter(C.l_shipdate.is_between(date(1996, 1, 1), date(1996, 4, 1), closed="left"))
        .group_by("l_suppkey").agg(REVENUE)
    )  # fmt: skip
    return (
        t["supplier"].join(revenue, left_on="s_suppkey", right_on="l_suppkey")
        .filter(C.revenue == C.revenue.max()).select("s_suppkey", "s_name", "s_address", "s_phone", "revenue")
    )  # fmt: skip


def q16(t: Tables) -> pl.LazyFrame:
    angry = t["supplier"].filter(C.s_comment.str.contains("Customer.*Complaints"))
    return (
        t["part"].filter(C.p_brand != "Brand#45", ~C.p_type.str.starts_with("MEDIUM POLISHED"),
                         C.p_size.is_in([49, 14, 23, 45, 19, 3, 36, 9]))
        .join(t["partsupp"], left_on="p_partkey", right_on="ps_partkey")
        .join(angry, left_on="ps_suppkey", right_on="s_suppkey", how="anti")
        .group_by("p_brand", "p_type", "p_size").agg(C.ps_suppkey.n_unique().alias("count"))
        .sort("count", "p_brand", "p_type", "p_size", descending=[True, False, False, False])
    )  # fmt: skip


def q17(t: Tables) -> pl.LazyFrame:
    lines = (
        t["part"].filter((C.p_brand == "Brand#23") & (C.p_container == "MED BOX"))
        .join(t["lineitem"], left_on="p_partkey", right_on="l_partkey")
    )  # fmt: skip
    few = lines.group_by("p_partkey").agg((C.l_quantity.mean() * 0.2).alias("few"))
    return lines.join(few, on="p_partkey").filter(C.l_quantity < C.few).select(C.l_extendedprice.sum() / 7)


def q18(t: Tables) -> pl.LazyFrame:
    large = t["lineitem"].group_by("l_orderkey").agg(C.l_quantity.sum().alias("sum")).filter(C.sum > 300)
    return (
        t["orders"].join(large, left_on="o_orderkey", right_on="l_orderkey")
        .join(t["customer"], left_on="o_custkey", right_on="c_custkey")
        .select("c_name", "o_custkey", "o_orderkey", "o_orderdate", "o_totalprice", "sum")
        .sort("o_totalprice", "o_orderdate", descending=[True, False]).head(100)
    )  # fmt: skip


def q19(t: Tables) -> pl.LazyFrame:
    def one(brand: str, boxes: str, least: int, size: int) -> pl.Expr:
        kinds = {"SM": ["CASE", "BOX", "PACK", "PKG"], "MED": ["BAG", "BOX", "PKG", "PACK"],
                 "LG": ["CASE", "BOX", "PACK", "PKG"]}  # fmt: skip
        return (
            (C.p_brand == brand) & C.p_container.is_in([f"{boxes} {kind}" for kind in kinds[boxes]])
            & C.l_quantity.is_between(least, least + 10) & C.p_size.is_between(1, size)
        )  # fmt: skip

    return (
        t["part"].join(t["lineitem"], left_on="p_partkey", right_on="l_partkey")
        .filter(C.l_shipmode.is_in(["AIR", "AIR REG"]), C.l_shipinstruct == "DELIVER IN PERSON",
                one("Brand#12", "SM", 1, 5) | one("Brand#23", "MED", 10, 10) | one("Brand#34", "LG", 20, 15))
        .select(REVENUE)
    )  # fmt: skip


def q20(t: Tables) -> pl.LazyFrame:
    shipped = (
        t["lineitem"].filter(C.l_shipdate.is_between(date(1994, 1, 1), date(1995, 1, 1), closed="left"))
        .group_by("l_partkey", "l_suppkey").agg((C.l_quantity.sum() * 0.5).alias("half"))
    )  # fmt: skip
    left_over = (
        t["partsupp"].join(t["part"].filter(C.p_name.str.starts_with("forest")), left_on="ps_partkey",
                           right_on="p_partkey", how="semi")
        .join(shipped, left_on=["ps_partkey", "ps_suppkey"], right_on=["l_partkey", "l_suppkey"])
        .filter(C.ps_availqty > C.half)
    )  # fmt: skip
    return (
        t["supplier"].join(left_over, left_on="s_suppkey", right_on="ps_suppkey", how="semi")
        .join(t["nation"].filter(C.n_name == "CANADA"), left_on="s_nationkey", right_on="n_nationkey")
        .select("s_name", "s_address").sort("s_name")
    )  # fmt: skip


def q21(t: Tables) -> pl.LazyFrame:
    several = t["lineitem"].group_by("l_orderkey").agg(C.l_suppkey.n_unique().alias("all")).filter(C.all > 1)
    late = t["lineitem"].filter(C.l_receiptdate > C.l_commitdate)
    alone = late.group_by("l_orderkey").agg(C.l_suppkey.n_unique().alias("late")).filter(C.late == 1)
    return (
        late.join(several, on="l_orderkey").join(alone, on="l_orderkey")
        .join(t["supplier"], left_on="l_suppkey", right_on="s_suppkey")
        .join(t["nation"].filter(C.n_name == "SAUDI ARABIA"), left_on="s_nationkey", right_on="n_nationkey")
        .join(t["orders"].filter(C.o_orderstatus == "F"), left_on="l_orderkey", right_on="o_orderkey")
        .group_by("s_name").len().sort("len", "s_name", descending=[True, False]).head(100)
    )  # fmt: skip


def q22(t: Tables) -> pl.LazyFrame:
    chosen = (
        t["customer"].with_columns(C.c_phone.str.slice(0, 2).alias("code"))
        .filter(C.code.is_in(["13", "31", "23", "29", "30", "18", "17"]))
    )  # fmt: skip
    mean = chosen.filter(C.c_acctbal > 0).select(C.c_acctbal.mean().alias("mean"))
    return (
        chosen.join(t["orders"], left_on="c_custkey", right_on="o_custkey", how="anti").join(mean, how="cross")
        .filter(C.c_acctbal > C.mean).group_by("code").agg(pl.len(), C.c_acctbal.sum()).sort("code")
    )  # fmt: skip


QUERIES: Mapping[str, Callable[[Tables], pl.LazyFrame]] = {
    f"Q{number}": globals()[f"q{number}"] for number in range(1, 23)
}
