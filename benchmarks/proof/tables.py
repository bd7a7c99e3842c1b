"""Writes the tables of ``results/`` into ``docs/benchmarks.md``, between the marks of each.

python benchmarks/proof/tables.py
"""

from __future__ import annotations

from statistics import mean
from typing import Any

import numpy as np
from kit import RESULTS, ROOT, SETS, read

from tutelage.evaluation import gap_closed, paired_difference

PAGE = ROOT / "docs" / "benchmarks.md"
BASE = {"scaling": "reference", "labels": "all"}  # else plain, or the row without its teacher
FOUND = "+teacher"


def main() -> None:
    """Write the tables."""
    page = PAGE.read_text(encoding="utf-8")
    for name in sorted({path.stem.rpartition("-")[0] for path in RESULTS.glob("*.json")}):
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, _, rest = page.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise SystemExit(f"{PAGE} has no place for the table {name}: {begin} … {end}")
        page = f"{before}{begin}\n\n{table(name)}\n{end}{after}"
    PAGE.write_text(page, encoding="utf-8")


def table(name: str) -> str:
    """Return a table: a line per row, a column per data set, AP × 100 on test over the seeds."""
    found = {data: _by_row(read(name, data)) for data in SETS if read(name, data)}
    rows = list(dict.fromkeys(row for cells in found.values() for row in cells))
    rows.sort(key=lambda row: row not in ("plain", "reference", "all", "scratch"))
    lines = [f"| | {' | '.join(found)} |", f"|---|{'---|' * len(found)}"]
    for row in rows:
        cells = [_cell(name, row, data, found[data]) for data in found]
        lines.append(f"| `{row}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _by_row(entries: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        rows.setdefault(entry["row"], []).append(entry)
    return rows


def _cell(name: str, row: str, data: str, found: dict[str, list[dict[str, Any]]]) -> str:
    """Return AP, its seeds, the difference from the base and the share of the gap it closes."""
    runs = found.get(row, [])
    if not runs:
        return "not run"
    scores = [100 * run["test"] for run in runs]
    text = f"{mean(scores):.1f}"
    if len(runs) > 1:
        text += f" ({', '.join(f'{each:.1f}' for each in scores)})"
    base = row.removesuffix(FOUND) if row.endswith(FOUND) else BASE.get(name, "plain")
    others = {run["seed"]: run for run in found.get(base, []) if row != base}
    pairs = [(others[run["seed"]], run) for run in runs if run["seed"] in others]
    if not pairs:
        return text
    a, b = ([_draws(pair[side]) for pair in pairs] for side in (0, 1))
    difference = paired_difference(a, b, images=0)
    low, high = 100 * difference.low, 100 * difference.high
    text += f" **{100 * difference.delta:+.1f}** [{low:+.1f}, {high:+.1f}]"
    teacher = [entry for entry in read("judged", data) if entry["row"] == runs[0]["teacher"]]
    if teacher and (closed := gap_closed(a, b, _draws(teacher[0]))):
        text += f" {100 * closed[0]:.0f} %"
    if runs[0]["cost"]:
        text += f" · {100 * mean(run['cost'] for run in runs):.0f} %"
    return text


def _draws(run: dict[str, Any]) -> Any:
    """Return AP on the test images and on their draws."""
    return np.concatenate([[run["test"]], np.asarray(run["draws"]) / 1e4])


if __name__ == "__main__":
    main()
