"""docs/pitfalls.md names every entry once, and every test that it names exists."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
ENTRIES = 60
ROWS = [
    [cell.strip() for cell in line.strip().strip("|").split("|")]
    for line in (TESTS.parent / "docs" / "pitfalls.md").read_text().splitlines()
    if line.startswith("| KD-")
]


@cache
def names_in(path):
    tree = ast.parse((TESTS / path).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_entry_stands_in_it_once_and_in_order():
    assert [row[0] for row in ROWS] == [f"KD-{n:02}" for n in range(1, ENTRIES + 1)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_entry_says_how_and_names_tests_that_exist(row):
    _, wrong, answer, tests = row
    assert wrong
    assert answer
    named = re.findall(r"`([^`]+)`", tests)
    assert named
    assert " ".join(f"`{name}`" for name in named) == tests
    for name in named:
        path, _, function = name.partition("::")
        assert function in names_in(path), name


def test_every_test_of_an_entry_is_named():
    listed = " ".join(row[3] for row in ROWS)
    for path in Path(__file__).parent.glob("test_*.py"):
        for name in names_in(f"pitfalls/{path.name}"):
            if name.startswith("test_kd"):
                assert f"pitfalls/{path.name}::{name}`" in listed, name
