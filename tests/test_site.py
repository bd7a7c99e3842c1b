"""The site of the documentation: whole, strict, and readable offline."""

import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

import tutelage

ROOT = Path(__file__).parent.parent
SETTINGS = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video)\b[^>]*\bsrc=["']?((?:https?:)?//[^"' >]+)"""
    r"""|<link\b(?![^>]*rel=["']?canonical)[^>]*\bhref=["']?((?:https?:)?//[^"' >]+)"""
    r"""|(?:@import|url\()\s*["']?((?:https?:)?//[^"') ]+)"""
)


def pages(nav):
    for entry in nav:
        target = next(iter(entry.values())) if isinstance(entry, dict) else entry
        yield from pages(target) if isinstance(target, list) else [target]


def test_the_navigation_has_every_page_once():
    files = sorted(path.name for path in (ROOT / "docs").glob("*.md"))
    assert sorted(pages(SETTINGS["nav"])) == files


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site strictly; zensical takes no other folder than that of the settings."""
    if find_spec("zensical") is None or find_spec("mkdocstrings") is None:
        pytest.skip("needs zensical and mkdocstrings")
    folder = tmp_path_factory.mktemp("site")
    for name in ("docs", ".ci"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "mkdocs.yml", folder)
    (folder / "src").symlink_to(ROOT / "src")
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def test_it_loads_nothing_from_elsewhere(site):
    files = [path for path in site.rglob("*") if path.suffix in {".css", ".html"}]
    assert len(files) > len(list(pages(SETTINGS["nav"])))
    for path in files:
        assert not LOADED.findall(path.read_text()), path


def test_the_api_has_every_public_name(site):
    page = (site / "api" / "index.html").read_text()
    for name in set(tutelage.__all__) - {"__version__"}:
        assert f'id="tutelage.{name}"' in page, name
    assert ":func:" not in page


def test_what_counts_as_loaded():
    assert LOADED.search('<link href="https://fonts.example/css" rel="stylesheet">')
    assert LOADED.search("<script src=https://cdn.example/x.js></script>")
    assert LOADED.search("@import url(//cdn.example/x.css)")
    assert not LOADED.search('<a href="https://arxiv.org/abs/1">')
