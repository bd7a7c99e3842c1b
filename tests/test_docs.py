"""Every Python block in README and docs runs; commands, flags and links exist."""

import re
from collections import defaultdict
from pathlib import Path

import pytest
from typer.main import get_command

from tutelage.cli.app import app
from tutelage.cli.yolo_flags import COMMANDS as YOLO_FLAGS

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("README*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
APP = get_command(app)
COMMANDS = APP.commands
BLOCKS = [
    pytest.param(page, number, code, id=f"{page.name}-{number}")
    for page in PAGES
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
]
COMMAND_LINES = [
    pytest.param(line.split(), id=f"{page.name}: {' '.join(line.split())}"[:90])
    for page in PAGES
    for line in re.findall(
        r"(?:^\$ |`|-m )tutelage ((?:[^`\n#|]|\\\n|(?<=\w)\n(?=--))+)", page.read_text(), re.M
    )
]


@pytest.fixture(scope="module")
def desks(tmp_path_factory):
    """A folder and the names so far of each page: its blocks are executed in their order."""
    return defaultdict(lambda: (tmp_path_factory.mktemp("page"), {"__name__": "block"}))


@pytest.mark.parametrize(("page", "number", "code"), BLOCKS)
def test_python_blocks_run(page, number, code, desks, monkeypatch):
    folder, names = desks[page.name]
    monkeypatch.chdir(folder)
    exec(compile(code, f"{page.name}:{number}", "exec"), names)


@pytest.mark.parametrize("words", COMMAND_LINES)
def test_commands_and_flags_exist(words):
    command = APP if words[0].startswith("-") else COMMANDS[words[0]]
    if words[0] == "store" and len(words) > 1:
        command = command.commands[words[1]]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    flags = {word.partition("=")[0] for word in words if re.match(r"--\w", word)}
    assert flags <= known | set(YOLO_FLAGS.get(words[0], ()))


def test_every_command_is_documented():
    named = {line.values[0][0] for line in COMMAND_LINES}
    assert {word for word in named if not word.startswith("-")} == set(COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
