"""The display of a notebook: one block of HTML that is replaced."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from tutelage.display.html_table import html_table
from tutelage.display.notebook import NotebookDisplay, in_notebook
from tutelage.run.events import Evaluated, Notice, Planned, Stage
from tutelage.version import __version__


@pytest.fixture
def shown():
    """All that was shown, and the display; a second passes between two events."""
    pages: list[str] = []
    clock = iter(range(10_000))
    return pages, NotebookDisplay(pages.append, now=lambda: float(next(clock)))


def test_a_run(script, shown) -> None:
    pages, display = shown
    display.show(Stage("opening data"))
    assert f"tutelage {__version__}" in pages[-1]
    assert "opening data …" in pages[-1]
    for event in script[:3]:  # the plan, two steps
        display.show(event)
    assert 'max="4" value="2"' in pages[-1]
    assert "epoch 1/2 · step 2/2" in pages[-1]
    assert "fgd/relation .5000" in pages[-1]
    assert "0:02 left" in pages[-1]  # two of four steps are left, and one took a second
    for event in script[3:]:
        display.show(event)
    last = pages[-1]
    assert last.count("<tr>") == 3  # the header and two evaluations
    assert ">.415</td>" in last
    assert last.count(">best</td>") == 1
    assert "best AP .415" in last
    assert "runs/d-01" in last
    assert "<progress" not in last


def test_steps_are_shown_at_most_four_times_a_second(script) -> None:
    pages: list[str] = []
    display = NotebookDisplay(pages.append, now=lambda: 7.0)
    display.show(script[0])
    for _ in range(100):
        display.show(script[1])
    assert len(pages) == 2


def test_messages_stay_and_are_escaped(script, shown) -> None:
    pages, display = shown
    display.show(Notice("warning", "<b>mark</b> & co", "T33"))
    display.show(Planned((), "runs/<i>", 1, 1))
    display.show(Evaluated(0, {"AP": 0.5}, best=True))
    assert "warning [T33]: &lt;b&gt;mark&lt;/b&gt; &amp; co" in pages[-1]
    assert "runs/&lt;i&gt;" in pages[-1]


def test_another_run_has_a_table_of_its_own(script, shown) -> None:
    pages, display = shown
    for event in (*script, script[0]):
        display.show(event)
    assert "<tr>" not in pages[-1]


def test_a_table_is_escaped() -> None:
    table = html_table([["<a>", "b"], ["c", "\x1b[31m"]])
    assert "&lt;a&gt;" in table
    assert "\x1b" not in table
    assert '<th style="text-align:left">&lt;a&gt;</th><th style="text-align:right">b</th>' in table


def test_only_the_kernel_of_a_notebook_is_one(monkeypatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not in_notebook()
    terminal = SimpleNamespace(get_ipython=lambda: SimpleNamespace())
    monkeypatch.setitem(sys.modules, "IPython", terminal)
    assert not in_notebook()
    kernel = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=1))
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    assert in_notebook()
