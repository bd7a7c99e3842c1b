"""docs/architecture.md names files, packages and classes that exist."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src/tutelage"
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_package_has_a_room_and_every_room_exists():
    listed = re.findall(r"`([\w.]+)/?`", " ".join(row[0] for row in rows("Rooms")))
    packages = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    modules = {path.name for path in SOURCE.glob("*.py") if not path.name.startswith("__")}
    assert set(listed) == packages | modules


@pytest.mark.parametrize("row", rows("Where new things go"), ids=lambda row: row[0])
def test_a_change_touches_at_most_five_files_that_exist(row):
    parts = re.findall(
        r"`([\w./]+/[\w./]*\w+\.(?:py|yaml)|errors\.py|report\.py)`( \(new\))?", row[1]
    )
    assert 1 <= sum(not path.startswith("tests/") for path, _ in parts) <= 5
    for path, new in parts:
        if path.startswith("tests/"):
            assert (ROOT / path).is_file(), path
        elif new:
            assert (SOURCE / path).parent.is_dir(), path
        else:
            assert (SOURCE / path).is_file(), path


def test_twelve_changes_and_more_stand_in_the_table():
    assert len(rows("Where new things go")) >= 12


@pytest.mark.parametrize("row", rows("Glossary"), ids=lambda row: row[0])
def test_a_word_of_the_glossary_is_a_class(row):
    name = re.fullmatch(r"`([\w./]+)`", row[2])
    assert name is not None
    if name[1].endswith("/"):
        assert (SOURCE / name[1]).is_dir()
        return
    owner, _, attribute = name[1].rpartition(".")
    if owner == "Detector":
        assert attribute in import_module("tutelage.models.detector").Detector.__annotations__
        return
    assert isinstance(getattr(import_module(f"tutelage.{owner}"), attribute), type)


def test_the_glossary_is_short():
    assert 10 <= len(rows("Glossary")) <= 20
