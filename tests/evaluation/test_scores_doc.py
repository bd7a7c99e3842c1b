"""docs/running.md names every key of scores.json."""

from __future__ import annotations

import re
from pathlib import Path

from tests.evaluation.synthetic_coco import detect, make_index
from tutelage.evaluation import score

DOC = Path(__file__).parents[2] / "docs/running.md"


def test_every_key_is_documented_and_no_other() -> None:
    section = DOC.read_text().partition("## scores.json\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.+?`) \| (.+) \|$", section, re.M)
    keys = {key for cell, _ in rows for key in re.findall(r"`(\w+)`", cell)}
    index = make_index(8, seed=1)
    found = score(index, detect(index, seed=2, noise=0.1)).to_dict()
    assert keys == found.keys()
    text = dict(rows)
    for name in ("per_class", "curves", "confidence", "tide", "confusion"):
        inner = found[name] if name != "per_class" else next(iter(found[name].values()))
        assert set(re.findall(r"`(\w+)`", text[f"`{name}`"])) >= set(inner)
