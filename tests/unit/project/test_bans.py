"""What our code may not call, because it loses or doubles rows without a word."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

CODE = Path(__file__).parents[3] / "operator"
BANNED = {
    # It stores NULL for partition columns that are not in the files, and two racers double the rows.
    "add_files": "make DataFiles: runner/output/tables/iceberg/data_files.py",
}


@pytest.mark.parametrize("name", BANNED)
def test_nothing_calls_what_is_banned(name):
    found = [
        f"{path}:{node.lineno}: {BANNED[name]}"
        for path in CODE.rglob("*.py")
        if name in (text := path.read_text())
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Attribute) and node.attr == name
    ]
    assert not found
