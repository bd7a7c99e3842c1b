"""What a report says, section by section, in the order of a reader's questions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tutelage.comparison.arms import BASELINE
from tutelage.comparison.table import table_cells
from tutelage.config.diff import compare_configs
from tutelage.errors import UserError
from tutelage.evaluation.speed import Latency
from tutelage.reports import charts
from tutelage.reports.model_size import ModelSize
from tutelage.reports.results import Evaluated, Results, not_imported, on_val
from tutelage.reports.runs import RunFiles
from tutelage.reports.side_by_side import most_different, pictures
from tutelage.reports.svg import series_colour, to_svg
from tutelage.reports.transfer_pictures import transfer_pictures
from tutelage.sanitise import printable, score_text

THRESHOLD = 0.25  # of the pictures, if no score can be suggested
ARMS_IN_PICTURES = 3
SIDES = (0, 4, 8, 16, 32, 64, 128, 256, 512, np.inf)
METRICS = ("AP", "AP50", "AP75", "APs", "APm", "APl")
TRANSFER = (
    "Chosen are those with the largest gain and loss in F1, two in the middle, and those with most "
    "and fewest objects. The maps are computed by the functions of the losses. Attention is that "
    "of the student's own map, before a connector; yellow is the largest value of a row."
)
COMPUTED = (
    "AP is COCO's: the mean over classes and IoU 0.50 to 0.95, at most 100 detections per image.",
    "An interval holds 95 % of the differences on resampled images, the same for both arms, and, "
    "with several seeds, of resampled pairs of runs. A difference is demonstrable if 0 is outside; "
    "with several seeds, also outside Student's interval over them.",
    "The share of the gap is the difference from the baseline over that of the teacher from it.",
    "Errors are those of TIDE (Bolya et al., ECCV 2020): what AP50 would gain if a kind of error "
    "were mended.",
    "Precision, recall and F1 are at IoU 0.5; the suggested score has the largest mean F1 over the "
    "classes.",
    "Confusions count detections that score at least 0.25, at IoU 0.45.",
    "In the pictures a detection is right if it overlaps an object of its class by IoU 0.5 or more "
    "that no better one has.",
)


class Part(NamedTuple):
    """A part of a section.

    Attributes:
        kind: How the template shows it: text, table, plots, pre, list, maps or pictures.
        content: What it shows.
        title: If not empty, it is folded under this title.
        threshold: Of pictures: the score that is chosen at first.
    """

    kind: str
    content: Any
    title: str = ""
    threshold: float = THRESHOLD


class Section(NamedTuple):
    """A section of the page; one without parts is left out."""

    id: str
    title: str
    parts: list[Part]


Named = list[tuple[str, Evaluated]]


def sections_of(results: Results) -> Iterator[Section]:
    """Yield the sections of a report."""
    named = first_runs(results)
    yield Section("result", "Result", list(_result(results, named)))
    yield Section("training", "Training", list(_training(results)))
    yield Section("classes", "Classes", list(_classes(results, named)))
    yield Section("errors", "Errors", list(_errors(results, named)))
    yield Section("cost", "Size and cost", list(_cost(results)))
    yield Section("transfer", "What was transferred", list(_transfer(results)))
    yield Section("pictures", "Side by side", list(_pictures(results, named)))
    yield Section("data", "Data", list(_data(results)))
    yield Section("settings", "Settings", list(_settings(results)))


def first_runs(results: Results) -> Named:
    """Return the name of each arm with its first run that was evaluated."""
    found = [
        (arm.name, [results.runs[run.name] for run in arm.runs if run.name in results.runs])
        for arm in results.arms
    ]
    return [(name, runs[0]) for name, runs in found if runs]


def title_of(results: Results) -> str:
    """Return the names of the first arms and of the data."""
    names = [arm.name for arm in results.arms]
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    data = Path(str(results.arms[0].runs[0].config.data)).stem
    return f"{' · '.join(names[:4])}{more} — {data}"


def verdict_of(results: Results) -> tuple[str, ...]:
    """Return what the report has found in sentences."""
    sentences = [row.sentence for row in results.rows if row.sentence]
    sentences += [
        f"{row.arm} closed {100 * row.gap_closed[0]:.0f} % of the gap to the teacher."
        for row in results.rows
        if row.gap_closed is not None
    ]
    if sentences:
        return tuple(sentences)
    if len(results.arms) > 1:
        return ("These runs cannot be compared; what is known of each is shown.",)
    return (_of_one_arm(results),)


def comparison_cells(results: Results) -> list[list[str]]:
    """Return the comparison as cells, the header first; empty if nothing could be compared."""
    if not any(row.difference for row in results.rows):
        return []
    teachers = {"teacher": results.teacher.scores.AP} if results.teacher is not None else {}
    name = results.arms[0].name
    first = name if name == BASELINE else f"{name} (baseline)"
    cells = table_cells(results.rows, teachers)
    return [[first if cell == BASELINE else cell for cell in row] for row in cells]


def _of_one_arm(results: Results) -> str:
    [arm] = results.arms
    run = arm.runs[0]
    if run.name in results.runs:
        scores = results.runs[run.name].scores
        text = f"AP {score_text(scores.AP)} on the {scores.images} images of {results.split}"
    elif run.evaluated:
        text = f"AP {score_text(max(ap for _, ap in run.evaluated))} on val"
    else:
        return f"{run.name} was never evaluated."
    if run.evaluated:
        best = max(run.evaluated, key=lambda each: each[1])[0]
        text += f", best after epoch {best} of {run.config.train.epochs}"
    if arm.taught:
        text += (
            f". Did its teacher help? With a run without one:  tutelage report BASELINE {run.name}"
        )
    return f"{text}."


def _result(results: Results, named: Named) -> Iterator[Part]:
    cells = comparison_cells(results)
    if cells:
        yield Part("table", cells)
    if not named:
        return
    cells = [["", *METRICS, "score >", "precision", "recall", "F1"]]
    for name, found in [*named, *_teacher(results)]:
        at = found.scores.diagnostics["confidence"]
        threshold = "-" if at["threshold"] is None else f"{at['threshold']:.2f}"
        metrics = [score_text(getattr(found.scores, each)) for each in METRICS]
        counts = [_score(at[each]) for each in ("precision", "recall", "f1")]
        cells.append([name, *metrics, threshold, *counts])
    yield Part("table", cells)
    text = (
        f"On the {named[0][1].scores.images} images of {results.split}. Objects are small below "
        "32² pixels, medium below 96², else large. Precision, recall and F1 are those of "
        "detections above the score with the largest mean F1: the threshold to ship with."
    )
    if any(len(arm.runs) > 1 for arm in results.arms):
        text += " Of an arm with several seeds, this table and all that follows show the first."
    yield Part("text", text)


def _teacher(results: Results) -> Named:
    return [("teacher", results.teacher)] if results.teacher is not None else []


def _score(value: float | None) -> str:
    return score_text(math.nan if value is None else value)


def _training(results: Results) -> Iterator[Part]:
    best = [
        f"{run.name} {score_text(max(ap for _, ap in run.evaluated))}"
        for arm in results.arms
        for run in arm.runs
        if run.evaluated
    ]
    if best:
        curves = charts.ap_curves(results.arms, results.teacher_on_val)
        yield Part("plots", [to_svg(curves, f"AP on val by epoch; the best: {', '.join(best)}")])
    what = "Losses, term by term, and the learning rate"
    for title, log in ((what, False), (f"{what}, on logarithmic scales", True)):
        losses = charts.loss_curves(results.arms, log=log)
        if losses is not None:
            yield Part("plots", [to_svg(losses, f"{title}, by epoch")], title)


def _classes(results: Results, named: Named) -> Iterator[Part]:
    drawn = charts.class_dumbbells(named, results.teacher) if named else None
    if drawn is None:
        return
    figure, left_out = drawn
    yield Part("plots", [to_svg(figure, "AP of each class, ordered by gain")])
    if left_out:
        yield Part("text", f"{left_out} classes that changed less are left out.")
    cells = [["class", "objects", *(name for name, _ in named)]]
    for name, each in named[0][1].scores.per_class.items():
        own = [found.scores.per_class.get(name) for _, found in named]
        texts = [_score(None if one is None else one.AP) for one in own]
        cells.append([name, str(each.instances), *texts])
    yield Part("table", cells, "AP of every class")


def _errors(results: Results, named: Named) -> Iterator[Part]:
    if not named:
        return
    teacher = results.teacher
    yield Part("plots", [to_svg(charts.error_bars(named, teacher), "AP50 lost by kind of error")])
    yield Part(
        "text",
        "What AP50 would gain if all errors of a kind were mended: the class is wrong, the place "
        "is, both are; an object is found twice; nothing is there; an object is not found.",
    )
    plots = [
        to_svg(charts.precision_recall(named, teacher), "precision by recall"),
        to_svg(charts.f1_by_confidence(named, teacher), "F1 by the least score that counts"),
    ]
    yield Part("plots", plots)
    ends = dict([named[0], named[-1]])
    colours = (series_colour(0), series_colour(len(named) - 1))
    yield Part(
        "plots",
        [
            to_svg(charts.confusion(found, name, colour), f"confusions of {name}")
            for (name, found), colour in zip(ends.items(), colours, strict=False)
        ],
    )


def _cost(results: Results) -> Iterator[Part]:
    head = ["parameters", "GFLOPs", "file", "ms/image", "95 % below"]
    cells = [["", *head, "training", "of it the teacher's"]]
    for arm in results.arms:
        run = arm.runs[0]
        teaching = results.teaching.get(run.name)
        seconds = sum(float(row.get("seconds") or 0.0) for row in run.rows)
        spent = _duration(teaching.training if teaching else seconds)
        extra = f"{_duration(teaching.extra)} (+{100 * teaching.share:.0f} %)" if teaching else ""
        cells.append([arm.name, *_size(results.sizes.get(arm.name)), spent, extra])
        for export in results.exports.get(arm.name, ()):
            speed = _speed(export.latency)
            cells.append([f"{arm.name}, {export.name}", "", "", _bytes(export.file_bytes), *speed])
            cells[-1] += ["", ""]
    if results.teacher is not None and results.teacher.size is not None:
        cells.append(["teacher", *_size(results.teacher.size), "", ""])
    yield Part("table", cells)
    text = (
        "Of the folded networks, at the image size of the training; milliseconds for one image at "
        "a time, without NMS, on the machine that wrote this page."
    )
    if any(results.exports.values()):
        text += (
            " Exported files are run by the runtime of their format, on the CPU; the time of one "
            "with NMS inside includes it."
        )
    if results.teaching:
        text += (
            " The teacher's time: asking it, storing and reading its answers, the checks, and the "
            "weighing of the methods; in brackets over the rest of the training."
        )
    yield Part("text", text)


def _size(size: ModelSize | None) -> list[str]:
    if size is None:
        return ["-"] * 5
    return [
        f"{size.parameters / 1e6:.2f} M",
        f"{size.gflops:.2f}",
        _bytes(size.file_bytes) if size.file_bytes else "-",
        *_speed(size.latency),
    ]


def _bytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


def _speed(speed: Latency | None) -> list[str]:
    return ["-", "-"] if speed is None else [f"{speed.p50_ms:.1f}", f"{speed.p95_ms:.1f}"]


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _transfer(results: Results) -> Iterator[Part]:
    taught = [arm.runs[0] for arm in results.arms if arm.taught]
    if not taught or results.images is None:
        return
    run, first = taught[-1], results.arms[0].runs[0]
    if run.code:
        yield Part("text", printable(not_imported(run)))
        return
    try:
        index, table = on_val(run, results)
        baseline = None if first is run else on_val(first, results)
        known = None
        if baseline and baseline[0].evaluation_fingerprint == index.evaluation_fingerprint:
            known = baseline[1]
        images, skipped = transfer_pictures(run, index, table, known)
    except UserError as error:
        yield Part("text", printable(f"There are no pictures of {run.name}: {error}"))
        return
    if images:
        yield Part("text", f"{run.name} on six images of val at most. {TRANSFER}")
        yield Part("maps", images)
    if skipped:
        yield Part("list", [printable(each) for each in skipped])


def _pictures(results: Results, named: Named) -> Iterator[Part]:
    if results.images is None or not named:
        return
    shown = named if len(named) <= ARMS_IN_PICTURES else [named[0], named[-1]]
    suggested = shown[-1][1].scores.diagnostics["confidence"]["threshold"]
    threshold = THRESHOLD if suggested is None else suggested
    students = [found.table for _, found in shown]
    positions = most_different(results.images, students, threshold)
    tables = {name: found.table for name, found in [*shown, *_teacher(results)]}
    images = pictures(results.images, tables, positions)
    if not images:
        yield Part("text", "The images cannot be read: none is shown.")
        return
    last = shown[-1][0] if len(shown) > 1 else "the labels"
    who = f"{shown[0][0]} and {last}"
    yield Part("text", f"The images of {results.split} come first on which {who} disagree most.")
    yield Part("pictures", images, threshold=threshold)


def _data(results: Results) -> Iterator[Part]:
    index = results.images
    if index is None:
        return
    yield Part("text", f"{results.split}: {len(index)} images, {len(index.boxes)} objects.")
    wh = (index.boxes[:, 2:] - index.boxes[:, :2]).astype(np.float64)
    sizes = charts.histogram(np.sqrt(wh.prod(1)), SIDES, "√area of an object in pixels")
    counts = charts.class_counts(index.names, index.class_counts)
    plots = [to_svg(counts, "objects by class"), to_svg(sizes, "objects by size")]
    yield Part("plots", plots)
    if index.findings:
        found = [printable(f"{each.severity}: {each.message}") for each in index.findings]
        yield Part("list", found)


def _settings(results: Results) -> Iterator[Part]:
    runs = [run for arm in results.arms for run in arm.runs]
    differences = list(_differences(runs))
    if differences:
        yield Part("table", [["setting", *(run.name for run in runs)], *differences])
    for arm in results.arms:
        title = f"{arm.name}: all settings, and where each came from"
        yield Part("pre", arm.runs[0].settings, title)
    environment = "\n".join(f"{key}: {value}" for key, value in runs[0].environment.items())
    if environment:
        yield Part("pre", environment, f"Environment of {runs[0].name}")
    yield Part("list", COMPUTED, "How each number is computed")


def _differences(runs: Sequence[RunFiles]) -> Iterator[list[str]]:
    """Yield the settings that are not the same in all runs, with the value in each."""
    first = runs[0].config
    found = [{each.key: each for each in compare_configs(first, run.config)} for run in runs]
    for key in dict.fromkeys(key for each in found for key in each):
        before = next(each[key].before for each in found if key in each)
        yield [key, *(str(each[key].after if key in each else before) for each in found)]
