"""Writes the tables of ``results/`` into ``docs/benchmarks.md``, between the marks of each.

python benchmarks/proof/tables.py
"""

from __future__ import annotations

from collections import defaultdict
from statistics import mean, stdev
from typing import Any

from kit import RESULTS, ROOT, SETS, read

PAGE = ROOT / "docs" / "benchmarks.md"


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
    """Return a table: a line per row, a column per data set, test AP × 100 over the seeds."""
    found = {data: _by_row(read(name, data)) for data in SETS if read(name, data)}
    rows = list(dict.fromkeys(row for cells in found.values() for row in cells))
    lines = [f"| | {' | '.join(found)} |", f"|---|{'---|' * len(found)}"]
    for row in rows:
        cells = [_cell(found[data].get(row, [])) for data in found]
        lines.append(f"| `{row}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _by_row(entries: list[dict[str, Any]]) -> dict[str, list[float]]:
    rows: dict[str, list[float]] = defaultdict(list)
    for entry in entries:
        rows[entry["row"]].append(100 * entry["test"])
    return rows


def _cell(values: list[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:.1f}" if values else "not run"
    return f"{mean(values):.1f} ± {stdev(values):.1f} ({', '.join(f'{v:.1f}' for v in values)})"


if __name__ == "__main__":
    main()
