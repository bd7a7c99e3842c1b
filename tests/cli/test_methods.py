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
