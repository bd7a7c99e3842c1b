"""Every Python block in README and docs runs, and every command they name exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = [
    pytest.param(page, number, code, id=f"{page.name}-{number}")
    for page in PAGES
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
]


@pytest.mark.parametrize(("page", "number", "code"), BLOCKS)
def test_python_blocks_run(page, number, code):
    exec(compile(code, f"{page.name}:{number}", "exec"), {"__name__": "block"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page):
    known = {"train", "val", "compare", "layers", "doctor", "methods", "demo", "config"}
    known |= {"export", "predict", "bench", "weights", "check", "explain"}
    named = set(re.findall(r"^\$ tutelage (\w+)", page.read_text(), re.MULTILINE))
    named |= set(re.findall(r"`tutelage (\w+)", page.read_text()))
    assert named <= known


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
