"""Writes the tables of ``results/`` into ``docs/benchmarks.md``, between the marks of each.

python benchmarks/proof/tables.py
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from statistics import mean
from typing import Any

import numpy as np
from kit import RESULTS, ROOT, SETS, read

from tutelage.distill.method import Need
from tutelage.distill.methods import METHODS
from tutelage.evaluation import gap_closed, paired_difference

Run = dict[str, Any]

PAGE = ROOT / "docs" / "benchmarks.md"
BASE = {"scaling": "reference", "labels": "all", "pairs": "bckd-2"}


def main() -> None:
    """Write the tables."""
    page = PAGE.read_text(encoding="utf-8")
    names = sorted({path.stem.rpartition("-")[0] for path in RESULTS.glob("*.json")})
    for name, text in {**{name: table(name) for name in names}, "goals": goals()}.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, _, rest = page.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise SystemExit(f"{PAGE} has no place for the table {name}: {begin} … {end}")
        page = f"{before}{begin}\n\n{text}\n{end}{after}"
    PAGE.write_text(page, encoding="utf-8")


def table(name: str) -> str:
    """Return a table: a line per row, a column per data set, AP × 100 on test over the seeds."""
    found = {data: by_row(name, data) for data in SETS if read(name, data)}
    rows = list(dict.fromkeys(row for cells in found.values() for row in cells))
    rows.sort(key=lambda row: row not in ("plain", "reference", "all", "scratch"))
    lines = [f"| | {' | '.join(found)} |", f"|---|{'---|' * len(found)}"]
    for row in rows:
        cells = [_cell(name, row, data, found[data]) for data in found]
        lines.append(f"| `{row}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def goals() -> str:
    """Return a table of what the others say about the goals, a column per data set."""
    lines = [f"| | {' | '.join(SETS)} |", f"|---|{'---|' * len(SETS)}"]
    for title, answer in GOALS.items():
        lines.append(f"| {title} | {' | '.join(answer(data) or 'not run' for data in SETS)} |")
    return "\n".join(lines) + "\n"


def by_row(name: str, data: str) -> dict[str, list[Run]]:
    """Return the runs of a table on a data set by row."""
    rows: dict[str, list[Run]] = {}
    for entry in read(name, data):
        rows.setdefault(entry["row"], []).append(entry)
    return rows


def pairs(runs: Sequence[Run], base: Sequence[Run]) -> tuple[list[Any], list[Any]]:
    """Return test AP and its draws of runs of the same seeds: of the base, and of the runs."""
    others = {run["seed"]: run for run in base}
    both = [(others[run["seed"]], run) for run in runs if run["seed"] in others]
    return [draws(a) for a, _ in both], [draws(b) for _, b in both]


def draws(run: Run) -> Any:
    """Return AP on the test images and on draws of them."""
    return np.concatenate([[run["test"]], np.asarray(run["draws"]) / 1e4])


def _cell(name: str, row: str, data: str, found: dict[str, list[Run]]) -> str:
    """Return AP, its seeds, the difference from the base, the share of the gap, the cost.

    A dagger: weights were measured five times a run.
    """
    runs = found.get(row, [])
    if not runs:
        return "not run"
    scores = [100 * run["test"] for run in runs]
    text = f"{mean(scores):.1f}"
    if len(runs) > 1:
        text += f" ({', '.join(f'{each:.1f}' for each in scores)})"
    base = _base(name, row)
    if base != row and (delta := _delta(runs, found.get(base, []))):
        text += f" **{delta}**"
        if closed := _closed(runs, found[base], data):
            text += f" {closed}"
    if any(run["teacher"] and "weighed" not in run for run in runs):
        text += "†"
    if any(run.get("cost") for run in runs):
        text += f" · {100 * mean(run['cost'] for run in runs):.0f} %"
    return text


def _base(name: str, row: str) -> str:
    """Return the row that another is compared with: what stands before its ``+``, or plain."""
    alone, plus, _ = row.partition("+")
    return alone if plus and name != "pairs" else BASE.get(name, "plain")


def _delta(runs: Sequence[Run], base: Sequence[Run]) -> str:
    a, b = pairs(runs, base)
    if not a:
        return ""
    difference = paired_difference(a, b, images=0)
    low, high = 100 * difference.low, 100 * difference.high
    return f"{100 * difference.delta:+.1f} [{low:+.1f}, {high:+.1f}]"


def _closed(runs: Sequence[Run], base: Sequence[Run], data: str) -> str:
    judged = [entry for entry in read("judged", data) if entry["row"] == runs[0]["teacher"]]
    share = gap_closed(*pairs(runs, base), draws(judged[0])) if judged else None
    return f"{100 * share[0]:.0f} %" if share else ""


def _of_methods(data: str, method: str, answer: Callable[..., str], *more: Any) -> str:
    found = by_row("methods", data)
    return answer(found[method], found["plain"], *more) if {method, "plain"} <= {*found} else ""


def _layers_named(data: str) -> str:
    """Return what ``auto`` adds where layers are named."""
    taught, plain = (
        by_row(table, data).get(row, [])
        for table, row in (("pairs", "bckd+fgd"), ("methods", "plain"))
    )
    return _delta(taught, plain)


def _worst(data: str) -> str:
    found = by_row("methods", data)
    means = {
        name: mean(b[0] - a[0] for a, b in zip(*pairs(found[name], found["plain"]), strict=True))
        for name, method in METHODS.items()
        if method.needs == Need.FEATURES and {name, "plain"} <= {*found}
    }
    if not means:
        return ""
    worst = min(means, key=lambda name: means[name])
    return f"`{worst}` of {len(means)} {_delta(found[worst], found['plain'])}"


def _epochs(runs: Sequence[Run], base: Sequence[Run]) -> str:
    """Return the share of the epochs after which a taught run is as good on val as the base."""
    best = {run["seed"]: run["AP"] for run in base}
    shares = []
    for run in runs:
        last = run["curve"][-1][0] + 1
        reached = [epoch for epoch, ap in run["curve"] if ap >= best.get(run["seed"], inf)]
        shares.append((reached[0] + 1) / last if reached else inf)
    return f"{100 * mean(shares):.0f} %" if max(shares) < inf else "never"


def _spread(data: str) -> str:
    """Return the largest over the smallest weight that seeds have measured for ``bckd``."""
    found = [run["weights"].get("bckd") for run in by_row("methods", data).get("bckd", [])]
    return f"{max(found) / min(found):.2f} ({len(found)} seeds)" if len(found) > 1 else ""


def _labels(data: str) -> str:
    found = by_row("labels", data)
    if not {"all", "quarter+teacher"} <= {*found}:
        return ""
    few, all_labels = (
        mean(run["test"] for run in found[row]) for row in ("quarter+teacher", "all")
    )
    return f"{100 * few / all_labels:.0f} %"


GOALS: dict[str, Callable[[str], str]] = {
    "`bckd`, the default: share of the gap to the teacher": lambda data: _of_methods(
        data, "bckd", _closed, data
    ),
    "the worst method of features, ΔAP": _worst,
    "`fgd`, ΔAP": lambda data: _of_methods(data, "fgd", _delta),
    "`fgd` with `bckd` beside it, the default where layers are named, ΔAP": _layers_named,
    "epochs in which `bckd` is as good as the plain student ever was": lambda data: _of_methods(
        data, "bckd", _epochs
    ),
    "a quarter of the labels and the teacher / all labels, AP": _labels,
    "weight of `bckd`, largest seed / smallest": _spread,
}


if __name__ == "__main__":
    main()
