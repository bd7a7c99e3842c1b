"""The result of a comparison: one row per arm, and the table as text."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from tutelage.comparison.arms import BASELINE, Arm
from tutelage.comparison.class_scores import class_means, class_table
from tutelage.comparison.cost import RunCost
from tutelage.comparison.timing import ArmTiming, run_ratio
from tutelage.evaluation import Difference, describe_difference, gap_closed, paired_difference
from tutelage.evaluation.bootstrap import Values
from tutelage.sanitise import score_text

DEAD = 5e-4  # AP that is written .000
NOTHING_FOUND = (
    "Nothing to compare: neither {} nor the baseline finds an object on these images. Train longer."
)
Verdict = Literal["helped", "hurt", "no demonstrable difference", ""]


class RunResult(NamedTuple):
    """A finished run: scores on the test images, AP on each bootstrap draw, cost, AP by class."""

    AP: float
    AP50: float
    values: Values
    cost: RunCost | None
    per_class: Mapping[str, float] = {}


class ArmRow(NamedTuple):
    """One arm against the baseline.

    Attributes:
        arm: Name of the arm.
        methods: Its methods; empty for the baseline.
        ratio: Its gradient ratio if given by ``--ratio``.
        share: Its share of the epochs; the baseline always has all of them.
        seeds: The seeds that it has finished.
        AP: Mean over these seeds.
        AP_sd: Standard deviation over them; NaN for one.
        AP50: Mean over them.
        per_class: AP of each class, mean over them.
        dead: The classes of which no run found an object: AP 0.
        paired: The seeds that the baseline has finished too; all that follows is of these.
        deltas: AP minus that of the baseline, per seed.
        class_deltas: The same of each class, mean over these seeds.
        delta_sd: Their standard deviation; NaN for one.
        difference: Their mean with its intervals; None for the baseline and without a pair.
        gap_closed: Closed share of the gap to the teacher with its 95 % interval; None without gap.
        time_ratio: Time of a run relative to the baseline's. With stored answers, medians over the
            seeds; or measured by steps in turn, and then with each view asked once.
        later_ratio: Of an epoch with stored answers, if steps were timed.
        memory_ratio: Peak memory relative to the baseline's.
        verdict: Its effect in a word.
        sentence: Its effect in a sentence.
    """

    arm: str
    methods: str = ""
    ratio: float | None = None
    share: float = 1.0
    seeds: tuple[int, ...] = ()
    AP: float = math.nan
    AP_sd: float = math.nan
    AP50: float = math.nan
    per_class: Mapping[str, float] = {}
    dead: tuple[str, ...] = ()
    paired: tuple[int, ...] = ()
    deltas: tuple[float, ...] = ()
    class_deltas: Mapping[str, float] = {}
    delta_sd: float = math.nan
    difference: Difference | None = None
    gap_closed: tuple[float, float, float] | None = None
    time_ratio: float | None = None
    later_ratio: float | None = None
    memory_ratio: float | None = None
    verdict: Verdict = ""
    sentence: str = ""


def compare_arms(
    arms: Sequence[Arm],
    results: Mapping[tuple[str, int], RunResult],
    teacher: Values | None,
    *,
    images: int,
    timings: Mapping[str, ArmTiming] | None = None,
) -> tuple[ArmRow, ...]:
    """Compare each arm with the baseline.

    Args:
        arms: The arms, the baseline among them.
        results: Finished runs by arm and seed.
        teacher: AP of the best teacher on each draw; None without a teacher that has all classes.
        images: Number of test images.
        timings: Ratios of steps by methods; None: the times of the runs count.

    Returns:
        The baseline, then the others by falling mean gain, arms without a pair of runs last.
    """
    runs: dict[str, dict[int, RunResult]] = {arm.name: {} for arm in arms}
    for (name, seed), result in results.items():
        runs[name][seed] = result
    rows = [_row(arm, runs[arm.name], runs[BASELINE], teacher, images) for arm in arms]
    if timings is not None:
        [epochs] = [arm.config.train.epochs for arm in arms if arm.name == BASELINE]
        rows = [
            _with_timing(row, arm, runs, timings[arm.methods], epochs) if row.difference else row
            for arm, row in zip(arms, rows, strict=True)
        ]
    return tuple(sorted(rows, key=_order))


def _with_timing(
    row: ArmRow,
    arm: Arm,
    runs: Mapping[str, Mapping[int, RunResult]],
    timing: ArmTiming,
    epochs: int,
) -> ArmRow:
    """Return a row with the time that was measured by steps in turn, and the checks of the runs."""
    ours, theirs = ([runs[name][seed] for seed in row.paired] for name in (arm.name, BASELINE))
    checks = _ratio(ours, theirs, "checks_seconds", "seconds") or 0.0
    ratio = run_ratio(timing, arm.config, epochs) + checks
    return row._replace(time_ratio=ratio, later_ratio=timing.stored)


def _order(row: ArmRow) -> tuple[bool, float]:
    delta = row.difference.delta if row.difference else math.nan
    return row.arm != BASELINE, -delta if math.isfinite(delta) else math.inf


def _row(
    arm: Arm,
    runs: Mapping[int, RunResult],
    baseline: Mapping[int, RunResult],
    teacher: Values | None,
    images: int,
) -> ArmRow:
    row = ArmRow(arm.title or arm.name, arm.methods, arm.ratio, arm.share, tuple(runs))
    if runs:
        scores = [run.AP for run in runs.values()]
        ap50 = statistics.fmean(run.AP50 for run in runs.values())
        row = row._replace(AP=statistics.fmean(scores), AP_sd=_deviation(scores), AP50=ap50)
        classes = class_means(list(runs.values()))
        dead = tuple(name for name, ap in classes.items() if ap < DEAD)
        row = row._replace(per_class=classes, dead=dead)
    paired = tuple(seed for seed in runs if seed in baseline)
    if arm.name == BASELINE or not paired:
        return row
    ours, theirs = [runs[seed] for seed in paired], [baseline[seed] for seed in paired]
    values = [run.values for run in theirs], [run.values for run in ours]
    difference = paired_difference(*values, images=images)
    deltas = tuple(a.AP - b.AP for a, b in zip(ours, theirs, strict=True))
    none = not any(run.AP50 for run in (*ours, *theirs))
    subject = row.arm if arm.share == 1 else f"{row.arm} ({100 * arm.share:g} % of the epochs)"
    verdict: Verdict = "no demonstrable difference"
    if difference.demonstrable:
        verdict = "helped" if difference.delta > 0 else "hurt"
    return row._replace(
        paired=paired,
        deltas=deltas,
        class_deltas=_class_deltas(class_means(ours), class_means(theirs)),
        delta_sd=_deviation(deltas),
        difference=difference,
        gap_closed=None if teacher is None else gap_closed(*values, teacher),
        time_ratio=_ratio(ours, theirs, "seconds"),
        memory_ratio=_ratio(ours, theirs, "peak_mib"),
        verdict=verdict,
        sentence=NOTHING_FOUND.format(row.arm)
        if none
        else describe_difference(difference, subject=subject),
    )


def _class_deltas(ours: Mapping[str, float], theirs: Mapping[str, float]) -> dict[str, float]:
    return {name: ap - theirs[name] for name, ap in ours.items() if name in theirs}


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else math.nan


def _ratio(
    ours: Sequence[RunResult], theirs: Sequence[RunResult], field: str, over: str = ""
) -> float | None:
    """Return the ratio of the medians of a cost; None if it was not measured in all runs."""
    costs: list[list[Any]] = [
        [getattr(run.cost, name, None) for run in runs]
        for runs, name in ((ours, field), (theirs, over or field))
    ]
    if not all(value for values in costs for value in values):
        return None
    return statistics.median(costs[0]) / statistics.median(costs[1])


# --- as text -------------------------------------------------------------------------------

HEAD = ("", "AP", "ΔAP", "95 % interval", "t over seeds", "gap closed", "time", "memory", "seeds",
        "verdict")  # fmt: skip


def table_cells(rows: Sequence[ArmRow], teachers: Mapping[str, float]) -> list[list[str]]:
    """Return the cells of the table, the header first; AP as ``.412``, gains in points."""
    cells: list[list[str]] = [list(HEAD)]
    for name, ap in teachers.items():
        cells.append([name, score_text(ap), *[""] * (len(HEAD) - 2)])
    for row in rows:
        first, d = [row.arm, _mean(row.AP, row.AP_sd)], row.difference
        if d is None:
            baseline = row.arm == BASELINE
            one = "1.00" if baseline and row.seeds else ""
            verdict = "" if baseline else "nothing to compare"
            cells.append([*first, *[""] * 4, one, one, str(len(row.seeds)), verdict])
            continue
        time, memory = _ratio_text(row.time_ratio), _ratio_text(row.memory_ratio)
        if row.later_ratio is not None:
            time = f"{time} ({row.later_ratio:.2f})"
        cells.append(
            [
                *first,
                _gain(d.delta, row.delta_sd),
                _interval(d.low, d.high),
                _interval(d.seed_low, d.seed_high),
                _percent(row.gap_closed),
                time,
                memory,
                str(len(row.paired)),
                row.verdict,
            ]
        )
    return cells


def markdown(rows: Sequence[ArmRow], teachers: Mapping[str, float], notes: Sequence[str]) -> str:
    """Return the tables (arms, seeds, classes), the sentences and the notes as Markdown."""
    seeds = sorted({seed for row in rows for seed in row.paired})
    per_seed = [["ΔAP per seed", *map(str, seeds)]]
    for row in rows:
        deltas = dict(zip(row.paired, row.deltas, strict=True))
        if deltas:
            texts = [f"{100 * deltas[seed]:+.1f}" if seed in deltas else "" for seed in seeds]
            per_seed.append([row.arm, *texts])
    tables = (table_cells(rows, teachers), per_seed, class_table(rows))
    parts = [_pipes(cells) for cells in tables if len(cells) > 1]
    sentences = [row.sentence for row in rows if row.sentence]
    return "\n\n".join([*parts, *sentences, "\n".join(f"- {note}" for note in notes)]) + "\n"


def _pipes(cells: Sequence[Sequence[str]]) -> str:
    head, *rest = ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join([head, "|" + "---|" * len(cells[0]), *rest])


def _ratio_text(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _mean(mean: float, deviation: float) -> str:
    around = f" ± {score_text(deviation)}" if math.isfinite(deviation) else ""
    return f"{score_text(mean)}{around}"


def _gain(mean: float, deviation: float) -> str:
    if not math.isfinite(mean):
        return "-"
    around = f" ± {100 * deviation:.1f}" if math.isfinite(deviation) else ""
    return f"{100 * mean:+.1f}{around}"


def _interval(low: float, high: float) -> str:
    return f"{100 * low:+.1f}…{100 * high:+.1f}" if math.isfinite(low) else ""


def _percent(share: tuple[float, float, float] | None) -> str:
    if share is None:
        return ""
    value, low, high = share
    around = f" ({100 * low:.0f}…{100 * high:.0f})" if math.isfinite(low) else ""
    return f"{100 * value:.0f} %{around}"
