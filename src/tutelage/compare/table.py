"""What the runs of a comparison say: one row per arm, and the row in words."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from tutelage.compare.arms import BASELINE, Arm
from tutelage.compare.cost import RunCost
from tutelage.evaluation import Difference, describe_difference, gap_closed, paired_difference
from tutelage.evaluation.bootstrap import Values

Verdict = Literal["helped", "hurt", "no demonstrable difference", ""]


class RunResult(NamedTuple):
    """A finished run: its scores on the test images, AP on each bootstrap draw, and its cost."""

    AP: float
    AP50: float
    values: Values
    cost: RunCost | None


class ArmRow(NamedTuple):
    """One arm against the baseline.

    Attributes:
        arm: The name of the arm.
        methods: Its methods; empty for the baseline.
        ratio: The gradient ratio that was asked for.
        share: Its share of the epochs; it is judged against the baseline with all of them.
        seeds: Those that it has finished.
        AP: Mean over these seeds.
        AP_sd: Standard deviation over them; NaN for one.
        AP50: Mean over them.
        paired: The seeds that the baseline has finished too; on these rests all that follows.
        deltas: AP minus that of the baseline, per seed.
        delta_sd: Their standard deviation; NaN for one.
        difference: Their mean with its intervals; None for the baseline and without a pair.
        gap_closed: Share of the gap to the teacher that was closed, and its 95 % interval; None
            without a gap.
        time_ratio: Training time relative to the baseline's: medians over the seeds.
        memory_ratio: Peak memory relative to the baseline's.
        verdict: In a word.
        sentence: In a sentence.
    """

    arm: str
    methods: str = ""
    ratio: float | None = None
    share: float = 1.0
    seeds: tuple[int, ...] = ()
    AP: float = math.nan
    AP_sd: float = math.nan
    AP50: float = math.nan
    paired: tuple[int, ...] = ()
    deltas: tuple[float, ...] = ()
    delta_sd: float = math.nan
    difference: Difference | None = None
    gap_closed: tuple[float, float, float] | None = None
    time_ratio: float | None = None
    memory_ratio: float | None = None
    verdict: Verdict = ""
    sentence: str = ""


def judge(
    arms: Sequence[Arm],
    results: Mapping[tuple[str, int], RunResult],
    teacher: Values | None,
    *,
    images: int,
) -> tuple[ArmRow, ...]:
    """Judge all arms.

    Args:
        arms: The arms, the baseline among them.
        results: Finished runs by arm and seed.
        teacher: AP of the best teacher on each draw; None if none can be scored on this data.
        images: Number of test images.

    Returns:
        The baseline, then the others, the largest mean gain first; arms without a pair of runs
        come last.
    """
    runs: dict[str, dict[int, RunResult]] = {arm.name: {} for arm in arms}
    for (name, seed), result in results.items():
        runs[name][seed] = result
    base = runs[BASELINE]
    rows = [_row(arm, runs[arm.name], base, teacher, images) for arm in arms]
    return tuple(sorted(rows, key=_order))


def _order(row: ArmRow) -> tuple[bool, float]:
    delta = row.difference.delta if row.difference else math.nan
    return row.arm != BASELINE, -delta if math.isfinite(delta) else math.inf


def _row(
    arm: Arm,
    mine: Mapping[int, RunResult],
    base: Mapping[int, RunResult],
    teacher: Values | None,
    images: int,
) -> ArmRow:
    scores = [each.AP for each in mine.values()]
    row = ArmRow(arm.name, arm.methods, arm.ratio, arm.share, tuple(mine))
    if scores:
        ap50 = statistics.fmean(each.AP50 for each in mine.values())
        row = row._replace(AP=statistics.fmean(scores), AP_sd=_deviation(scores), AP50=ap50)
    paired = tuple(seed for seed in mine if seed in base)
    if arm.name == BASELINE or not paired:
        return row
    ours, theirs = [mine[seed] for seed in paired], [base[seed] for seed in paired]
    a, b = [each.values for each in theirs], [each.values for each in ours]
    difference = paired_difference(a, b, images=images)
    deltas = tuple(x.AP - y.AP for x, y in zip(ours, theirs, strict=True))
    subject = arm.name if arm.share == 1 else f"{arm.name} ({100 * arm.share:g} % of the epochs)"
    return row._replace(
        paired=paired,
        deltas=deltas,
        delta_sd=_deviation(deltas),
        difference=difference,
        gap_closed=None if teacher is None else gap_closed(a, b, teacher),
        time_ratio=_ratio(ours, theirs, lambda cost: cost.seconds),
        memory_ratio=_ratio(ours, theirs, lambda cost: cost.peak_mib),
        verdict=_verdict(difference),
        sentence=describe_difference(difference, subject=subject),
    )


def _verdict(difference: Difference) -> Verdict:
    if not difference.demonstrable:
        return "no demonstrable difference"
    return "helped" if difference.delta > 0 else "hurt"


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else math.nan


def _ratio(
    ours: Iterable[RunResult], theirs: Iterable[RunResult], read: Callable[[RunCost], float | None]
) -> float | None:
    """The ratio of the medians; None if one of the runs was not measured."""
    medians: list[float] = []
    for results in (ours, theirs):
        values = [read(each.cost) if each.cost else None for each in results]
        known = [value for value in values if value]
        if len(known) < len(values):
            return None
        medians.append(statistics.median(known))
    return medians[0] / medians[1]


# --- as text -------------------------------------------------------------------------------

HEAD = (
    "",
    "AP",
    "ΔAP",
    "95 % interval",
    "t over seeds",
    "gap closed",
    "time",
    "memory",
    "seeds",
    "verdict",
)


def table_cells(rows: Sequence[ArmRow], teachers: Mapping[str, float]) -> list[list[str]]:
    """Return the table, scores in points (AP × 100), the head first.

    Args:
        rows: What :func:`judge` returned.
        teachers: AP of each teacher by its name.
    """
    cells: list[list[str]] = [list(HEAD)]
    for name, ap in teachers.items():
        cells.append([name, f"{100 * ap:.1f}", *[""] * (len(HEAD) - 2)])
    for row in rows:
        n = str(len(row.paired if row.difference else row.seeds))
        if row.difference is None:
            verdict = "" if row.arm == BASELINE else "nothing to compare"
            one = "1.00" if row.arm == BASELINE and row.seeds else ""
            found = _spread(row.AP, row.AP_sd, "")
            cells.append([row.arm, found, "", "", "", "", one, one, n, verdict])
            continue
        d = row.difference
        cells.append(
            [
                row.arm,
                _spread(row.AP, row.AP_sd, ""),
                _spread(d.delta, row.delta_sd, "+"),
                _interval(d.low, d.high),
                _interval(d.seed_low, d.seed_high),
                _percent(row.gap_closed),
                _times(row.time_ratio),
                _times(row.memory_ratio),
                n,
                row.verdict,
            ]
        )
    return cells


def markdown(rows: Sequence[ArmRow], teachers: Mapping[str, float], notes: Sequence[str]) -> str:
    """Return the table, the AP of every run, the sentences and the notes as Markdown."""
    seeds = sorted({seed for row in rows for seed in row.paired})
    each = [["ΔAP per seed", *map(str, seeds)]]
    for row in rows:
        found = dict(zip(row.paired, row.deltas, strict=True))
        if found:
            texts = [f"{100 * found[seed]:+.1f}" if seed in found else "" for seed in seeds]
            each.append([row.arm, *texts])
    parts = [_pipes(table_cells(rows, teachers)), *([_pipes(each)] if len(each) > 1 else [])]
    told = [row.sentence for row in rows if row.sentence]
    return "\n\n".join([*parts, *told, "\n".join(f"- {note}" for note in notes)]) + "\n"


def _pipes(cells: Sequence[Sequence[str]]) -> str:
    head, *rest = ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join([head, "|" + "---|" * len(cells[0]), *rest])


def _spread(mean: float, deviation: float, sign: str) -> str:
    if not math.isfinite(mean):
        return "-"
    around = f" ± {100 * deviation:.1f}" if math.isfinite(deviation) else ""
    return f"{100 * mean:{sign}.1f}{around}"


def _interval(low: float, high: float) -> str:
    return f"{100 * low:+.1f}…{100 * high:+.1f}" if math.isfinite(low) else ""


def _percent(share: tuple[float, float, float] | None) -> str:
    if share is None:
        return ""
    value, low, high = share
    around = f" ({100 * low:.0f}…{100 * high:.0f})" if math.isfinite(low) else ""
    return f"{100 * value:.0f} %{around}"


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"
