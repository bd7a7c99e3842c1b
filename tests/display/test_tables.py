from __future__ import annotations

from tutelage.display.tables import columns, print_lines


def test_columns() -> None:
    rows = [["name", "n", "unit"], ["a", "12", "px"], ["longer"]]
    assert columns(rows, left=1) == ["name     n  unit", "a       12    px", "longer"]
    assert columns(rows, left=(0, 2)) == ["name     n  unit", "a       12  px", "longer"]
    assert columns([]) == []


def test_lines_are_printed_as_they_are(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    print_lines("[red]" + "x" * 60, "b")
    assert capsys.readouterr().out == "[red]" + "x" * 60 + "\nb\n"
