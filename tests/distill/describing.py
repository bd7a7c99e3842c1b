"""What the docstring of a method must state."""

from __future__ import annotations

import inspect
import re

from tutelage.distill.method import Method


def assert_described(kind: type[Method]) -> None:
    """The docstring cites the paper, states the reduction over images and explains each option."""
    doc = inspect.getdoc(kind) or ""
    text = " ".join(doc.split())
    paper = re.search(r"arXiv:\d{4}\.\d{4,5}", kind.paper)
    assert paper is not None
    assert paper[0] in text
    assert re.search(r"\b(mean|sum)s?(`` )? ?over [^.;:]*\bimages\b", text)
    described = set(re.findall(r"^    (\w+): ", doc.partition("Args:\n")[2], re.MULTILINE))
    assert set(inspect.signature(kind).parameters) <= described
