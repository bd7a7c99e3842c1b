from __future__ import annotations

import json

from tutelage.cli.methods import method_lines
from tutelage.config.methods import parse_method
from tutelage.distill import METHODS


def test_every_method_with_its_options(cli) -> None:
    rows = json.loads(cli("methods", "--json").out)
    assert [row["name"] for row in rows] == list(METHODS)
    text = cli("methods").out
    for row in rows:
        assert any(line.split()[:1] == [row["name"]] for line in text.splitlines())
        assert row["paper"] in text
        assert row["summary"] in text
        for name, value in row["options"].items():
            assert f"{name}={value}" in text
    assert "overlap=giou (iou, log_iou, ciou)" in text


def test_the_example_can_be_typed(cli) -> None:
    example = cli("methods").out.splitlines()[-1].split("--method ")[1].split()[0]
    assert parse_method(example).name == next(iter(METHODS))
    assert "package.module:Class" in method_lines([])[-1]


OWN = """
from enum import Enum
from typing import Callable, Literal

from tutelage.distill import Method


class Mine(Method):
    \"\"\"What I compare.\"\"\"

    paper = "mine, 2026"

    def __init__(self, channels, *, factor: float = 1.0, form: Literal["a", "b"] = "a",
                 rise: Callable[[int], float] = float, must: int) -> None:
        super().__init__()


class Bare(Method):
    pass
"""


def test_one_of_them_and_one_of_your_own(cli, tmp_path) -> None:
    (tmp_path / "own_kd.py").write_text(OWN)
    answer = cli("methods", "own_kd:Mine", "fgd:alpha=0.002", "own_kd:Bare")
    assert (answer.code, answer.err) == (0, "")
    blocks = [block.splitlines() for block in answer.out.split("\n\n")][:-1]
    assert [block[0].split()[0] for block in blocks] == ["own_kd:Mine", "fgd", "own_kd:Bare"]
    mine = [" ".join(line.split()) for line in blocks[0]]
    assert mine[0] == "own_kd:Mine What I compare."
    assert "paper mine, 2026" in mine
    assert any(
        line.startswith("options factor=1.0 form=a (b) rise=") and line.endswith(" must=required")
        for line in mine
    )
    found = json.loads(cli("methods", "own_kd:Mine", "--json").out)
    assert found[0]["options"]["must"] == "required"


def test_what_is_not_a_method_is_told(cli, tmp_path) -> None:
    (tmp_path / "other_kd.py").write_text("x = 1")
    answer = cli("methods", "fgdd", "other_kd:x", "nowhere:Mine")
    assert answer.code == 2
    assert "there is no method 'fgdd'" in answer.err
    assert "Did you mean 'fgd'?" in answer.err
    assert "'other_kd:x' is not a distillation method" in answer.err
    assert "cannot import 'nowhere'" in answer.err
