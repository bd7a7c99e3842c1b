"""The command lines of YOLOv7 and YOLOv5: one table per command of what becomes of each flag.

A flag is our own (``same``), sets one of our settings (``sets``), has nothing left to do
(``idle``, told in a notice) or is refused with what to do instead (``refused``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from tutelage.errors import ConfigError

NUMBER = re.compile(r"-?\d+")


class Flag(NamedTuple):
    """What becomes of a flag.

    Attributes:
        fate: See the module.
        takes: How many values follow it; ``maybe`` is none or one, ``numbers`` any number of them.
        word: For ``idle`` and ``refused``: why, and what to do instead.
        setting: For ``sets``: the dotted setting.
        value: For ``sets``: the value, or None: the value that follows the flag.
        harmless: Values with which a refused flag means nothing, e.g. YOLOv7's defaults.
    """

    fate: Literal["same", "sets", "idle", "refused"]
    takes: Literal["none", "one", "maybe", "numbers"] = "one"
    word: str = ""
    setting: str = ""
    value: Any = None
    harmless: tuple[str, ...] = ()


class Translation(NamedTuple):
    """A command line in our terms: what typer parses, ``{setting: (value, origin)}``, notices."""

    argv: list[str]
    settings: dict[str, tuple[Any, str]]
    notices: list[str]


SAME = Flag("same")
SWITCH = Flag("same", "none")
TRACKERS = "nothing is sent to a service; see metrics.jsonl in the run folder"

TRAIN: Mapping[str, Flag] = {
    "--weights": SAME,
    "--cfg": SAME,
    "--data": SAME,
    "--hyp": SAME,
    "--epochs": SAME,
    "--batch-size": SAME,
    "--batch": SAME,
    "--img-size": Flag("same", "numbers"),
    "--img": Flag("same", "numbers"),
    "--imgsz": Flag("same", "numbers"),
    "--rect": SWITCH,
    "--resume": Flag("same", "maybe"),
    "--device": SAME,
    "--workers": SAME,
    "--project": SAME,
    "--name": SAME,
    "--exist-ok": SWITCH,
    "--multi-scale": SWITCH,
    "--single-cls": SWITCH,
    "--optimizer": SAME,
    "--freeze": Flag("same", "numbers"),
    "--patience": SAME,
    "--seed": SAME,
    "--cache-images": SWITCH,
    "--cache": Flag("sets", "maybe", setting="train.cache_images"),
    "--adam": Flag("sets", "none", setting="optim.name", value="adam"),
    "--linear-lr": Flag("sets", "none", setting="optim.schedule", value="linear"),
    "--cos-lr": Flag("sets", "none", setting="optim.schedule", value="cosine"),
    "--label-smoothing": Flag("sets", setting="loss.label_smoothing"),
    "--notest": Flag("sets", "none", setting="train.validate_runs", value=False),
    "--noval": Flag("sets", "none", setting="train.validate_runs", value=False),
    "--nosave": Flag(
        "idle", "none", "best.safetensors and last.pt are always written, nothing else"
    ),
    "--noplots": Flag("idle", "none", "no plots are drawn during training"),
    "--noautoanchor": Flag("sets", "none", setting="model.autoanchor", value=False),
    "--save_period": Flag("idle", "one", "the best and the last epoch are kept"),
    "--save-period": Flag("idle", "one", "the best and the last epoch are kept"),
    "--v5-metric": Flag("idle", "none", "AP is COCO's, always"),
    "--sync-bn": Flag("sets", "none", setting="train.sync_bn", value=True),
    "--entity": Flag("idle", "one", TRACKERS),
    "--bbox_interval": Flag("idle", "one", TRACKERS),
    "--artifact_alias": Flag("idle", "one", TRACKERS),
    "--upload_dataset": Flag("idle", "maybe", TRACKERS),
    "--local_rank": Flag(
        "refused", "one", "processes are started by torchrun, which needs no flag", harmless=("-1",)
    ),
    "--local-rank": Flag(
        "refused", "one", "processes are started by torchrun, which needs no flag", harmless=("-1",)
    ),
    "--bucket": Flag("refused", "one", "nothing is uploaded; copy the run folder", harmless=("",)),
    "--evolve": Flag(
        "refused", "maybe", "no search for hyper-parameters; try values with --set optim.lr=0.005"
    ),
    "--evolve_population": Flag(
        "refused", "one", "no search for hyper-parameters; give one file with --hyp"
    ),
    "--resume_evolve": Flag(
        "refused", "one", "no search for hyper-parameters; give one file with --hyp"
    ),
    "--image-weights": Flag(
        "refused", "none", "images are drawn evenly; add copies of images with rare classes"
    ),
    "--quad": Flag("refused", "none", "batches are not folded; use a larger --img-size"),
}

VAL: Mapping[str, Flag] = {
    "--weights": SAME,
    "--data": SAME,
    "--batch-size": SAME,
    "--batch": SAME,
    "--img-size": Flag("same", "numbers"),
    "--img": Flag("same", "numbers"),
    "--imgsz": Flag("same", "numbers"),
    "--conf-thres": SAME,
    "--iou-thres": SAME,
    "--task": SAME,
    "--device": SAME,
    "--single-cls": SWITCH,
    "--augment": SWITCH,
    "--verbose": Flag("idle", "none", "scores per class are always shown"),
    "--save-json": Flag("idle", "none", "no files are written; --json prints the scores"),
    "--save-txt": Flag("idle", "none", "no files are written; --json prints the scores"),
    "--save-conf": Flag("idle", "none", "no files are written; --json prints the scores"),
    "--exist-ok": Flag("idle", "none", "no files are written; --json prints the scores"),
    "--project": Flag("idle", "one", "no files are written; --json prints the scores"),
    "--name": Flag("idle", "one", "no files are written; --json prints the scores"),
    "--workers": Flag("idle", "one", "chosen by the machine's cores"),
    "--no-trace": Flag("idle", "none", "models are never traced"),
    "--half": SWITCH,
    "--v5-metric": Flag("idle", "none", "AP is COCO's, always"),
    "--max-det": Flag("refused", "one", "300 detections per image, always", harmless=("300",)),
    "--save-hybrid": Flag("refused", "none", "labels are never mixed into predictions"),
    "--dnn": Flag("refused", "none", "a PyTorch model is evaluated by PyTorch"),
}

DRAWN = "boxes and captions are drawn to fit the picture"
PLACES = "--save, --save-txt and --save-json name the places"

PREDICT: Mapping[str, Flag] = {
    "--weights": SAME,
    "--source": SAME,
    "--img-size": Flag("same", "numbers"),
    "--img": Flag("same", "numbers"),
    "--imgsz": Flag("same", "numbers"),
    "--classes": Flag("same", "numbers"),
    "--data": Flag("idle", "one", "the model knows its class names"),
    "--nosave": Flag("idle", "none", "nothing is saved unless --save is given"),
    "--exist-ok": Flag("idle", "none", PLACES),
    "--no-trace": Flag("idle", "none", "models are never traced"),
    "--update": Flag("refused", "none", "weight files are never changed"),
    "--project": Flag("refused", "one", PLACES),
    "--name": Flag("refused", "one", PLACES),
    "--view-img": Flag("refused", "none", "no window is opened; look at what --save writes"),
    "--save-csv": Flag("refused", "none", "--save-json writes one file, --json prints lines"),
    "--save-crop": Flag("refused", "none", "cut them out by the boxes of --save-json"),
    "--save-format": Flag("refused", "one", "--save-txt writes YOLO lines", harmless=("0",)),
    "--line-thickness": Flag("idle", "one", DRAWN),
    "--hide-labels": Flag("refused", "none", DRAWN),
    "--hide-conf": Flag("refused", "none", DRAWN),
    "--visualize": Flag("refused", "none", "no features are drawn"),
    "--vid-stride": Flag("refused", "one", "every frame is looked at", harmless=("1",)),
    "--dnn": Flag("refused", "none", "an .onnx is run by ONNX Runtime"),
}

ALWAYS = "batch and size are free in every export"

EXPORT: Mapping[str, Flag] = {
    "--weights": SAME,
    "--img-size": Flag("same", "numbers"),
    "--img": Flag("same", "numbers"),
    "--imgsz": Flag("same", "numbers"),
    "--include": Flag("refused", "one", "--to names one: onnx, openvino or pt2"),
    "--fp16": Flag("refused", "none", "it is called --half"),
    "--include-nms": Flag("refused", "none", "--nms puts the suppression into the file"),
    "--end2end": Flag("refused", "none", "--nms puts the suppression into the file"),
    "--topk-all": Flag("refused", "one", "it is called --max-det"),
    "--topk-per-class": Flag("idle", "one", "--max-det limits the detections of an image"),
    "--max-wh": Flag("idle", "one", "with --nms classes never suppress each other"),
    "--agnostic-nms": Flag("refused", "none", "with --nms classes never suppress each other"),
    "--grid": Flag("idle", "none", "boxes are decoded in every export"),
    "--dynamic": Flag("idle", "none", ALWAYS),
    "--dynamic-batch": Flag("idle", "none", ALWAYS),
    "--batch-size": Flag("idle", "one", ALWAYS),
    "--batch": Flag("idle", "one", ALWAYS),
    "--simplify": Flag("idle", "none", "every export is simplified"),
    "--device": Flag("idle", "one", "exports are made on the CPU, and run anywhere"),
    "--opset": Flag("refused", "one", "the exporter chooses it"),
    "--inplace": Flag("idle", "none", "the graph is folded"),
    "--verbose": Flag("idle", "none", "what was verified is always told"),
    "--per-tensor": Flag("refused", "none", "integers have a range per channel"),
}

COMPARE: Mapping[str, Flag] = {
    **TRAIN,
    "--resume": Flag("refused", "maybe", "the same command again continues a comparison"),
    "--seed": Flag(
        "refused", "one", "give their number with --seeds or name them: --seed-list 0,1"
    ),
    "--exist-ok": Flag("idle", "none", "a comparison continues in its folder, always"),
}

COMMANDS: Mapping[str, Mapping[str, Flag]] = {
    "train": TRAIN,
    "val": VAL,
    "compare": COMPARE,
    "predict": PREDICT,
    "export": EXPORT,
}


def translate(argv: Sequence[str]) -> Translation:
    """Translate a command line.

    Args:
        argv: The command and what follows it. Commands without a table pass as they are.

    Raises:
        ConfigError: It has flags that are refused; all of them are told.
    """
    result = Translation([], {}, [])
    table = COMMANDS.get(argv[0] if argv else "", {})
    refused: list[str] = []
    for flag, values in _split(argv, table):
        known = table.get(flag)
        if known is None:
            result.argv.extend(values)
        elif known.fate == "same":
            result.argv.extend(_same(flag, known, values, result.notices))
        elif known.fate == "sets":
            value = values[0] if known.value is None and values else known.value
            if known.setting == "train.cache_images":
                value = _cache(flag, value, refused)
            elif value is None:
                refused.append(f"{flag} needs a value.")
            result.settings[known.setting] = (value, f"flag {flag}")
        elif known.fate == "refused" and not (values and values[0] in known.harmless):
            refused.append(f"{flag} is not taken here: {known.word}.")
        elif known.fate == "idle":
            result.notices.append(f"{flag} has no effect here: {known.word}.")
    if refused:
        head = [] if len(refused) == 1 else [f"{len(refused)} flags cannot be used:"]
        raise ConfigError("\n  ".join([*head, *refused]), code="C23")
    return result


def _split(argv: Sequence[str], table: Mapping[str, Flag]) -> Iterator[tuple[str, list[str]]]:
    """Yield each flag of the table with its values; anything else alone, under an empty name."""
    position = 0
    while position < len(argv):
        flag, equals, value = argv[position].partition("=")
        position += 1
        known = table.get(flag)
        if known is None:
            yield "", [argv[position - 1]]
            continue
        values = [value] if equals else []
        while not equals and position < len(argv) and _takes(known, values, argv[position]):
            values.append(argv[position])
            position += 1
        yield flag, values


def _takes(flag: Flag, values: Sequence[str], candidate: str) -> bool:
    if flag.takes == "numbers":
        return not candidate.startswith("--") and (not values or bool(NUMBER.fullmatch(candidate)))
    if values or flag.takes == "none":
        return False
    return flag.takes == "one" or not candidate.startswith("-")


def _same(flag: str, known: Flag, values: list[str], notices: list[str]) -> list[str]:
    if flag == "--resume":
        return [flag, values[0] if values else ""]  # empty: the newest run
    if flag in ("--batch-size", "--batch") and values == ["-1"]:  # YOLOv5's word for it
        return [flag, "auto"]
    if known.takes == "none" and values:
        return [f"{flag}={values[0]}"]  # for typer to complain about
    if known.takes != "numbers" or len(values) < 2:
        return [flag, *values]
    if flag in ("--freeze", "--classes"):
        return [flag, ",".join(values)]
    if len(set(values)) > 1:
        notices.append(
            f"{flag} {' '.join(values)}: training and evaluation have one size here: {values[0]}."
        )
    return [flag, values[0]]


def _cache(flag: str, value: str | None, refused: list[str]) -> str:
    if value not in (None, "ram"):
        refused.append(f"{flag} {value}: images are cached in RAM only: --cache-images.")
    return "ram"
