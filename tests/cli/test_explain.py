from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import tutelage.errors
from tutelage.cli.app import app
from tutelage.cli.codes import CODES, FAMILIES, FINDINGS
from tutelage.cli.codes.__main__ import markdown
from tutelage.cli.error_messages import Interrupted
from tutelage.cli.explain import page
from tutelage.cli.yolo_flags import COMMANDS
from tutelage.data.findings import Finding, code_of
from tutelage.setup.unlabelled import HELD_OUT

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "tutelage"
CODE = re.compile(r"[CDTWER]\d\d|F00")  # F16, F32 are kinds of floats


def literals() -> Iterator[str]:
    """Yield every literal in the source that is a code, outside of the catalogue."""
    for path in SOURCE.rglob("*.py"):
        if "codes" not in path.parts:
            for node in ast.walk(ast.parse(path.read_text())):
                text = node.value if isinstance(node, ast.Constant) else None
                if isinstance(text, str) and CODE.fullmatch(text):
                    yield text


def raised() -> Iterator[tuple[str, int, str]]:
    """Yield file, exit status and code of every error that is made with a code."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(getattr(node, "func", None), "id", "")
            kind = getattr(tutelage.errors, name, None)
            given = {keyword.arg: keyword.value for keyword in getattr(node, "keywords", ())}
            code = getattr(given.get("code"), "value", None)
            if kind is not None and isinstance(code, str):
                yield f"{path.relative_to(SOURCE)}:{node.lineno}", kind.exit_code, code  # type: ignore[attr-defined]


def test_every_code_that_is_used_is_explained_and_the_reverse() -> None:
    assert set(literals()) == set(CODES)


def test_each_family_has_a_page_for_the_rest() -> None:
    for name in dir(tutelage.errors):
        kind = getattr(tutelage.errors, name)
        if isinstance(kind, type) and issubclass(kind, tutelage.errors.UserError):
            assert CODES[kind.code].exit_code == kind.exit_code, kind
    assert CODES[Interrupted.code].exit_code == Interrupted.exit_code
    assert {code[0] for code in CODES} == set(FAMILIES)


def test_the_exit_status_is_that_of_the_catalogue() -> None:
    """Teachers of other libraries, or of one's own, fail by their name (2) or by their file (4)."""
    either = {"T23": {2, 4}, "T26": {2, 4}, "T27": {1, 2}, "T46": {2, 4}}
    for place, status, code in raised():
        assert status in either.get(code, {CODES[code].exit_code}), (place, code)


def test_the_pages_are_complete_and_fit_a_terminal() -> None:
    for code, entry in CODES.items():
        assert entry.title, code
        assert not entry.title.endswith("."), code
        assert entry.cure, code
        assert all(text.endswith(".") for text in (entry.meaning, entry.cause)), code
        assert max(map(len, page(code))) <= 80, code


def commands() -> list[tuple[str, list[str]]]:
    lines = [(code, line) for code, entry in CODES.items() for line in entry.cure]
    return [(code, line[2:].split()) for code, line in lines if line.startswith("$ tutelage ")]


@pytest.mark.parametrize(("code", "words"), commands(), ids=lambda value: str(value)[:60])
def test_the_commands_of_the_cures_exist(code: str, words: list[str]) -> None:
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    command = known[words[1]]
    if words[1] == "store":
        command = command.commands[words[2]]
    options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    options |= set(COMMANDS.get(words[1], {}))
    assert {word for word in words if word.startswith("--")} <= options


def test_one_is_told_with_its_cure(cli) -> None:
    answer = cli("explain", "d03", "D4", "[T21]")
    assert answer.code == 0
    assert "D03  label lines that cannot be used  (exit status 3)" in answer.out
    assert "  $ tutelage check data.yaml --fix ../cleaned\n" in answer.out
    assert "D04  " in answer.out
    assert "T21  teacher worse than the student  (warning)" in answer.out


def test_a_finding_of_check_is_told(cli) -> None:
    answer = cli("explain", "label-pixels")
    assert (answer.code, "a finding of tutelage check: error" in answer.out) == (0, True)


def test_all_are_listed(cli) -> None:
    answer = cli("explain")
    assert answer.code == 0
    assert all(re.search(rf"^  {code}  ", answer.out, re.M) for code in [*CODES, *FINDINGS])
    assert max(map(len, answer.out.splitlines())) <= 80
    found = json.loads(cli("explain", "--json").out)
    assert set(found) == {*CODES, *FINDINGS}
    assert found["D03"]["exit_code"] == 3


@pytest.mark.parametrize("words", [("class", "names"), ("CLASS names",), ("names", "class")])
def test_words_find_the_codes_that_speak_of_them(cli, words) -> None:
    answer = cli("explain", *words)
    assert (answer.code, answer.err) == (0, "")
    head, first, *rows = answer.out.splitlines()
    assert head == f"Codes that speak of '{' '.join(words)}':"
    assert first.split()[0] == "D04"  # its title holds both
    listed = [row.split()[0] for row in rows if row.startswith("  ")]
    assert "T09" in listed
    assert "D03" not in listed
    assert max(map(len, answer.out.splitlines())) <= 80
    assert set(json.loads(cli("explain", *words, "--json").out)) == {"D04", *listed}


def test_the_only_code_that_a_word_finds_is_told(cli) -> None:
    pages = [code for code in CODES if "driver" in " ".join(page(code))]
    assert len(pages) == 1
    assert cli("explain", "driver").out.splitlines() == page(pages[0])
    assert cli("explain", "D03", "driver").code == 2  # beside codes, a word is a code


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("X03", "Did you mean"),
        ("D99", "There are D00 D01"),
        ("label-pixle", "Did you mean 'label-pixels'?"),
        ("nonsense", "no explanation holds this word"),
        ("nonsense", "All codes:  tutelage explain"),
        ("", "All codes:  tutelage explain"),
    ],
)
def test_an_unknown_code_suggests_the_nearest(cli, given: str, hint: str) -> None:
    answer = cli("explain", given)
    assert answer.code == 2
    assert hint in answer.err


def test_the_page_is_generated() -> None:
    """After a change:  python -m tutelage.cli.codes > docs/errors.md."""
    assert (ROOT / "docs" / "errors.md").read_text() == markdown()


def test_the_generator_prints_the_page() -> None:
    command = [sys.executable, "-m", "tutelage.cli.codes"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == markdown()


def test_the_docs_hold_the_findings() -> None:
    text = (ROOT / "docs" / "data.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (\w+) \| (.*) \|$", text, re.MULTILINE)
    assert {name: (severity, what) for name, severity, what in rows} == dict(FINDINGS)


def test_the_findings_of_unlabelled_images_are_known(cli) -> None:
    for name in HELD_OUT:
        assert cli("explain", name).out.startswith(
            f"{name}  (a finding of tutelage train: warning)"
        )
        assert code_of(Finding(name, "warning", "", (), 1)) == "D34"
