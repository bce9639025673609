"""Globs mean the same on every store, and what the shell and Python mean by them."""

from __future__ import annotations

import glob
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuquery.api.spec import InputFormat
from gpuquery.runner.inputs.listing import walk
from gpuquery.runner.inputs.listing.pattern import MAX_ALTERNATIVES, PatternError, patterns, shared_prefix
from gpuquery.runner.stores.posix import Posix
from tests.support.memory_backend import Memory


def matches(pattern: str, key: str) -> bool:
    return any(one.matches(key) for one in patterns(pattern.rstrip("/"), folder=pattern.endswith("/")))


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        pytest.param("t/*.parquet", ["t/a.parquet", "t/a b.parquet"], ["t/x/a.parquet", "t/a.csv"], id="one name"),
        pytest.param("t/a?c", ["t/abc", "t/aéc", "t/a😀c"], ["t/ac", "t/a/c", "t/abbc"], id="one character"),
        pytest.param("t/[a-c]1", ["t/a1", "t/c1"], ["t/d1", "t/A1"], id="a range"),
        pytest.param("t/x[!a-c]", ["t/xd", "t/x-"], ["t/xa", "t/x/"], id="not in a range"),
        pytest.param("t/x[^ab]", ["t/xc", "t/x^"], ["t/xa"], id="not one of some"),
        pytest.param("t/x[a-]", ["t/xa", "t/x-"], ["t/xb"], id="a hyphen at the end"),
        pytest.param("t/x[]a]", ["t/x]", "t/xa"], ["t/x["], id="a closing bracket comes first"),
        pytest.param("t/x[!]a]", ["t/xb"], ["t/x]", "t/xa"], id="and first in a negation"),
        pytest.param("t/a[[]1].b", ["t/a[1].b"], ["t/a1.b"], id="brackets are themselves in brackets"),
        pytest.param("t/a[*]b[?]", ["t/a*b?"], ["t/axbx"], id="so are stars"),
        pytest.param("t/[{]a}", ["t/{a}"], ["t/a"], id="and braces"),
        pytest.param("t/{a,b}.x", ["t/a.x", "t/b.x"], ["t/c.x", "t/{a,b}.x"], id="one of several texts"),
        pytest.param("t/{a,b{1,2}}", ["t/a", "t/b1", "t/b2"], ["t/b"], id="texts in texts"),
        pytest.param("{t/a,u}/*.x", ["t/a/1.x", "u/1.x"], ["t/1.x"], id="texts with folders"),
        pytest.param("t/{,x}a", ["t/a", "t/xa"], ["t/ya"], id="or nothing"),
        pytest.param("t/**/*.x", ["t/1.x", "t/a/1.x", "t/a/b/1.x"], ["u/1.x", "t/1.y"], id="any number of folders"),
        pytest.param("t/**", ["t/1.x", "t/a/b/1.y"], ["t", "tt/1"], id="everything below"),
        pytest.param("t/", ["t/1.x", "t/a/b/1.y"], ["tt/1"], id="a folder is everything below"),
        pytest.param("t/k=*/", ["t/k=1/a", "t/k=/b/c"], ["t/j=1/a", "t/k=1"], id="folders that match, all below them"),
        pytest.param("t/a.b+c(d)$", ["t/a.b+c(d)$"], ["t/aXb+c(d)$"], id="signs of regular expressions are letters"),
        pytest.param("t/*\n*", ["t/a\nb"], ["t/ab"], id="a line end is a character"),
    ],
)
def test_a_pattern_matches(pattern: str, yes: list[str], no: list[str]) -> None:
    assert [key for key in yes if not matches(pattern, key)] == []
    assert [key for key in no if matches(pattern, key)] == []


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        pytest.param("t/*", ["t/a", "t/a_", "t/a.b"], ["t/_a", "t/.a", "t/_SUCCESS"], id="no star begins such a name"),
        pytest.param("t/?x", ["t/ax"], ["t/_x", "t/.x"], id="nor a question mark"),
        pytest.param("t/[!a]x", ["t/bx"], ["t/_x", "t/.x"], id="nor a class"),
        pytest.param("t/**/a", ["t/b/a"], ["t/_temporary/0/a", "t/.x/a"], id="nor any folder"),
        pytest.param(
            "t/", ["t/b/a"], ["t/b/_temporary/a", "t/.ipynb_checkpoints/a", "t/_a"], id="nor a folder's files"
        ),
        pytest.param("t/_*/a", ["t/_x/a"], ["t/.x/a"], id="a pattern that begins with it means it"),
        pytest.param("_raw/t/*", ["_raw/t/a"], ["_raw/t/_a"], id="what is named is read"),
        pytest.param("t/{_a,b}", ["t/_a", "t/b"], [], id="by braces too"),
        pytest.param(
            "t/", ["t/_day=1/a", "t/_day=/a"], ["t/_day/a", "t/.day=1/a"], id="partitions are none, as in Spark"
        ),
    ],
)
def test_names_of_bookkeeping_match_only_where_they_are_named(pattern: str, yes: list[str], no: list[str]) -> None:
    test_a_pattern_matches(pattern, yes, no)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        pytest.param("t/**.parquet", "write `**/*.parquet`", id="two stars in a name"),
        pytest.param("t/[a", "write `[[]`", id="a bracket that is not closed"),
        pytest.param("t/[]", "write `[[]`", id="brackets around nothing"),
        pytest.param("t/{a,b", "write `[{]`", id="braces that are not closed"),
        pytest.param("t/[b-a]", "from `b` to `a`", id="a range of nothing"),
        pytest.param("t/[a/b]", "a slash", id="a slash in brackets"),
        pytest.param("{0,1,2,3,4,5,6,7,8,9}" * 4, f"{MAX_ALTERNATIVES:,}", id="ten thousand texts"),
    ],
)
def test_a_pattern_that_means_nothing_is_refused_with_what_to_write(pattern: str, words: str) -> None:
    with pytest.raises(PatternError) as caught:
        patterns(pattern, folder=False)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "prefix", "deep"),
    [
        pytest.param("t/part-*.x", "t/part-", False, id="the beginning of a name"),
        pytest.param("t/a[[]b*", "t/a[b", False, id="with what is in brackets"),
        pytest.param("t/a/*/b", "t/a/", True, id="a folder"),
        pytest.param("t/y=2[0-9]/b", "t/y=2", True, id="the beginning of a folder"),
        pytest.param("t/a", "t/a", False, id="a file"),
        pytest.param("*.x", "", False, id="a bucket"),
    ],
)
def test_only_what_begins_as_the_pattern_is_listed(pattern: str, prefix: str, deep: bool) -> None:
    (one,) = patterns(pattern, folder=False)
    assert (one.prefix, one.deep) == (prefix, deep)


def test_many_patterns_share_the_beginning_of_all() -> None:
    assert shared_prefix(patterns("t/y=202{1,2,3}/*.x", folder=False)) == "t/y=202"


NAMES = st.text(alphabet="ab1.-é ", min_size=1, max_size=3).filter(lambda name: name.strip(".") == name)
KEYS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
PIECES = st.sampled_from(["*", "?", "[ab]", "[!a]", "[a-z1]", "a", "b", "1", ".", "-", "é", " "])
PARTS = st.one_of(st.just("**"), st.lists(PIECES, min_size=1, max_size=3).map("".join).filter(lambda p: "**" not in p))
GLOBS = st.lists(PARTS, min_size=1, max_size=3).map("/".join).filter(lambda p: not p.endswith("**"))


@given(keys=st.sets(KEYS, max_size=12), pattern=GLOBS)
def test_stores_find_what_python_finds(keys: set[str], pattern: str) -> None:
    """The reference is the glob module of Python, on a folder of the same files."""
    with tempfile.TemporaryDirectory() as folder:
        memory = Memory()
        for key in sorted(keys):
            path = Path(folder, key)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("x")
            except OSError:  # there is a file where this key needs a folder, or the other way round
                continue
            memory.put(f"in/{key}", b"x")
        found = {path for path in glob.glob(f"{folder}/{pattern}", recursive=True) if os.path.isfile(path)}
        want = {os.path.relpath(path, folder) for path in found}
        for files, root in ((Posix(), f"{folder}/"), (memory, "in/")):
            read = patterns(root + pattern, folder=False)
            if any(not one.exact for one in read):
                got = walk.search(read, files, InputFormat.AUTO, remote=files is memory).files
                assert {key.removeprefix(root) for key in got} == want
