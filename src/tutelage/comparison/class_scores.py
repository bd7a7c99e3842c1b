"""What a comparison says of single classes: a mean that rises may hide one that is lost."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tutelage.sanitise import score_text

if TYPE_CHECKING:
    from tutelage.comparison.table import ArmRow, RunResult

SHOWN = 4  # classes that lost most and gained most, on a line
LISTED = 5  # classes in a warning


def class_means(runs: Sequence[RunResult]) -> dict[str, float]:
    """Return the mean AP of each class over runs; classes without an object are left out."""
    names = dict.fromkeys(name for run in runs for name in run.per_class)
    means = {
        name: statistics.fmean(run.per_class[name] for run in runs if name in run.per_class)
        for name in names
    }
    return {name: mean for name, mean in means.items() if math.isfinite(mean)}


def class_lines(rows: Sequence[ArmRow]) -> Iterator[str]:
    """Yield a line per arm with its ΔAP by class, and a warning per arm with dead classes."""
    for row in rows:
        if len(row.class_deltas) > 1:
            ordered = sorted(row.class_deltas.items(), key=lambda item: item[1])
            texts = [f"{name} {100 * delta:+.1f}" for name, delta in ordered]
            if len(texts) > 2 * SHOWN:
                texts = [*texts[:SHOWN], "…", *texts[-SHOWN:]]
            yield f"{row.arm}, ΔAP by class: {' · '.join(texts)}"
    baseline = next((row.per_class for row in rows if not row.methods), {})
    for row in rows:
        if row.dead:
            yield f"warning: {row.arm} does not find {_dead_classes(row, baseline)}"


def _dead_classes(row: ArmRow, baseline: Mapping[str, float]) -> str:
    texts = []
    for name in row.dead[:LISTED]:
        before = baseline.get(name, 0.0)
        text = f" (the baseline has {score_text(before)})" if row.methods and before else ""
        texts.append(f"{name}{text}")
    more = len(row.dead) - LISTED
    return f"{', '.join(texts)}{f' and {more} more' if more > 0 else ''}: AP 0."


def class_table(rows: Sequence[ArmRow]) -> list[list[str]]:
    """Return the AP of the baseline by class, and the ΔAP of each arm, as cells; the header first.

    AP as a fraction, ΔAP in points; the header alone if nothing is known of classes.
    """
    baseline = next((row.per_class for row in rows if not row.methods), {})
    arms = [row for row in rows if row.class_deltas]
    cells = [["class", "AP of the baseline", *(f"ΔAP {row.arm}" for row in arms)]]
    for name, ap in baseline.items():
        deltas = (row.class_deltas.get(name) for row in arms)
        each = ("" if delta is None else f"{100 * delta:+.1f}" for delta in deltas)
        cells.append([name, score_text(ap), *each])
    return cells
