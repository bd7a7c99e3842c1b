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


class YoloFlag(NamedTuple):
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


class TranslatedCommand(NamedTuple):
    """A command line in our terms: what typer parses, ``{setting: (value, origin)}``, notices."""

    argv: list[str]
    settings: dict[str, tuple[Any, str]]
    notices: list[str]


def notices_of(context: Any) -> list[str]:
    """Return the notices about the translated flags of a command, by its typer context."""
    command = context.find_object(TranslatedCommand)
    return command.notices if command else []


SAME = YoloFlag("same")
SWITCH = YoloFlag("same", "none")
TRACKERS = "nothing is sent to a service; see metrics.jsonl in the run folder"

TRAIN: Mapping[str, YoloFlag] = {
    "--weights": SAME,
    "--cfg": SAME,
    "--data": SAME,
    "--hyp": SAME,
    "--epochs": SAME,
    "--batch-size": SAME,
    "--batch": SAME,
    "--img-size": YoloFlag("same", "numbers"),
    "--img": YoloFlag("same", "numbers"),
    "--imgsz": YoloFlag("same", "numbers"),
    "--rect": SWITCH,
    "--resume": YoloFlag("same", "maybe"),
    "--device": SAME,
    "--workers": SAME,
    "--project": SAME,
    "--name": SAME,
    "--exist-ok": SWITCH,
    "--multi-scale": SWITCH,
    "--single-cls": SWITCH,
    "--optimizer": SAME,
    "--freeze": YoloFlag("same", "numbers"),
    "--patience": SAME,
    "--seed": SAME,
    "--cache-images": SWITCH,
    "--cache": YoloFlag("sets", "maybe", setting="train.cache_images"),
    "--adam": YoloFlag("sets", "none", setting="optim.name", value="adam"),
    "--linear-lr": YoloFlag("sets", "none", setting="optim.schedule", value="linear"),
    "--cos-lr": YoloFlag("sets", "none", setting="optim.schedule", value="cosine"),
    "--label-smoothing": YoloFlag("sets", setting="loss.label_smoothing"),
    "--notest": YoloFlag("sets", "none", setting="train.validate_runs", value=False),
    "--noval": YoloFlag("sets", "none", setting="train.validate_runs", value=False),
    "--nosave": YoloFlag(
        "idle", "none", "best.safetensors and last.pt are always written, nothing else"
    ),
    "--noplots": YoloFlag("idle", "none", "no plots are drawn during training"),
    "--noautoanchor": YoloFlag("sets", "none", setting="model.autoanchor", value=False),
    "--save_period": YoloFlag("idle", "one", "the best and the last epoch are kept"),
    "--save-period": YoloFlag("idle", "one", "the best and the last epoch are kept"),
    "--v5-metric": YoloFlag("idle", "none", "AP is COCO's, always"),
    "--sync-bn": YoloFlag("sets", "none", setting="train.sync_bn", value=True),
    "--entity": YoloFlag("idle", "one", TRACKERS),
    "--bbox_interval": YoloFlag("idle", "one", TRACKERS),
    "--artifact_alias": YoloFlag("idle", "one", TRACKERS),
    "--upload_dataset": YoloFlag("idle", "maybe", TRACKERS),
    "--local_rank": YoloFlag(
        "refused", "one", "processes are started by torchrun, which needs no flag", harmless=("-1",)
    ),
    "--local-rank": YoloFlag(
        "refused", "one", "processes are started by torchrun, which needs no flag", harmless=("-1",)
    ),
    "--bucket": YoloFlag(
        "refused", "one", "nothing is uploaded; copy the run folder", harmless=("",)
    ),
    "--evolve": YoloFlag(
        "refused", "maybe", "no search for hyper-parameters; try values with --set optim.lr=0.005"
    ),
    "--evolve_population": YoloFlag(
        "refused", "one", "no search for hyper-parameters; give one file with --hyp"
    ),
    "--resume_evolve": YoloFlag(
        "refused", "one", "no search for hyper-parameters; give one file with --hyp"
    ),
    "--image-weights": YoloFlag(
        "refused", "none", "images are drawn evenly; add copies of images with rare classes"
    ),
    "--quad": YoloFlag("refused", "none", "batches are not folded; use a larger --img-size"),
}

VAL: Mapping[str, YoloFlag] = {
    "--weights": SAME,
    "--data": SAME,
    "--batch-size": SAME,
    "--batch": SAME,
    "--img-size": YoloFlag("same", "numbers"),
    "--img": YoloFlag("same", "numbers"),
    "--imgsz": YoloFlag("same", "numbers"),
    "--conf-thres": SAME,
    "--iou-thres": SAME,
    "--task": SAME,
    "--device": SAME,
    "--single-cls": SWITCH,
    "--augment": SWITCH,
    "--verbose": YoloFlag("idle", "none", "scores per class are always shown"),
    "--save-json": YoloFlag("idle", "none", "no files are written; --json prints the scores"),
    "--save-txt": YoloFlag("idle", "none", "no files are written; --json prints the scores"),
    "--save-conf": YoloFlag("idle", "none", "no files are written; --json prints the scores"),
    "--exist-ok": YoloFlag("idle", "none", "no files are written; --json prints the scores"),
    "--project": YoloFlag("idle", "one", "no files are written; --json prints the scores"),
    "--name": YoloFlag("idle", "one", "no files are written; --json prints the scores"),
    "--workers": YoloFlag("idle", "one", "chosen by the machine's cores"),
    "--no-trace": YoloFlag("idle", "none", "models are never traced"),
    "--half": SWITCH,
    "--v5-metric": YoloFlag("idle", "none", "AP is COCO's, always"),
    "--max-det": YoloFlag("refused", "one", "300 detections per image, always", harmless=("300",)),
    "--save-hybrid": YoloFlag("refused", "none", "labels are never mixed into predictions"),
    "--dnn": YoloFlag("refused", "none", "a PyTorch model is evaluated by PyTorch"),
}

DRAWN = "boxes and captions are drawn to fit the picture"
PLACES = "--save, --save-txt and --save-json name the places"

PREDICT: Mapping[str, YoloFlag] = {
    "--weights": SAME,
    "--source": SAME,
    "--img-size": YoloFlag("same", "numbers"),
    "--img": YoloFlag("same", "numbers"),
    "--imgsz": YoloFlag("same", "numbers"),
    "--classes": YoloFlag("same", "numbers"),
    "--data": YoloFlag("idle", "one", "the model knows its class names"),
    "--nosave": YoloFlag("idle", "none", "nothing is saved unless --save is given"),
    "--exist-ok": YoloFlag("idle", "none", PLACES),
    "--no-trace": YoloFlag("idle", "none", "models are never traced"),
    "--update": YoloFlag("refused", "none", "weight files are never changed"),
    "--project": YoloFlag("refused", "one", PLACES),
    "--name": YoloFlag("refused", "one", PLACES),
    "--view-img": YoloFlag("refused", "none", "no window is opened; look at what --save writes"),
    "--save-csv": YoloFlag("refused", "none", "--save-json writes one file, --json prints lines"),
    "--save-crop": YoloFlag("refused", "none", "cut them out by the boxes of --save-json"),
    "--save-format": YoloFlag("refused", "one", "--save-txt writes YOLO lines", harmless=("0",)),
    "--line-thickness": YoloFlag("idle", "one", DRAWN),
    "--hide-labels": YoloFlag("refused", "none", DRAWN),
    "--hide-conf": YoloFlag("refused", "none", DRAWN),
    "--visualize": YoloFlag("refused", "none", "no features are drawn"),
    "--vid-stride": YoloFlag("refused", "one", "every frame is looked at", harmless=("1",)),
    "--dnn": YoloFlag("refused", "none", "an .onnx is run by ONNX Runtime"),
}

ALWAYS = "batch and size are free in every export"

EXPORT: Mapping[str, YoloFlag] = {
    "--weights": SAME,
    "--img-size": YoloFlag("same", "numbers"),
    "--img": YoloFlag("same", "numbers"),
    "--imgsz": YoloFlag("same", "numbers"),
    "--include": YoloFlag("refused", "one", "--to names one: onnx, openvino or pt2"),
    "--fp16": YoloFlag("refused", "none", "it is called --half"),
    "--include-nms": YoloFlag("refused", "none", "--nms puts the suppression into the file"),
    "--end2end": YoloFlag("refused", "none", "--nms puts the suppression into the file"),
    "--topk-all": YoloFlag("refused", "one", "it is called --max-det"),
    "--topk-per-class": YoloFlag("idle", "one", "--max-det limits the detections of an image"),
    "--max-wh": YoloFlag("idle", "one", "with --nms classes never suppress each other"),
    "--agnostic-nms": YoloFlag("refused", "none", "with --nms classes never suppress each other"),
    "--grid": YoloFlag("idle", "none", "boxes are decoded in every export"),
    "--dynamic": YoloFlag("idle", "none", ALWAYS),
    "--dynamic-batch": YoloFlag("idle", "none", ALWAYS),
    "--batch-size": YoloFlag("idle", "one", ALWAYS),
    "--batch": YoloFlag("idle", "one", ALWAYS),
    "--simplify": YoloFlag("idle", "none", "every export is simplified"),
    "--device": YoloFlag("idle", "one", "exports are made on the CPU, and run anywhere"),
    "--opset": YoloFlag("refused", "one", "the exporter chooses it"),
    "--inplace": YoloFlag("idle", "none", "the graph is folded"),
    "--verbose": YoloFlag("idle", "none", "what was verified is always told"),
    "--per-tensor": YoloFlag("refused", "none", "integers have a range per channel"),
}

COMPARE: Mapping[str, YoloFlag] = {
    **TRAIN,
    "--resume": YoloFlag("refused", "maybe", "the same command again continues a comparison"),
    "--seed": YoloFlag(
        "refused", "one", "give their number with --seeds or name them: --seed-list 0,1"
    ),
    "--exist-ok": YoloFlag("idle", "none", "a comparison continues in its folder, always"),
}

COMMANDS: Mapping[str, Mapping[str, YoloFlag]] = {
    "train": TRAIN,
    "val": VAL,
    "compare": COMPARE,
    "predict": PREDICT,
    "export": EXPORT,
}


def translate(argv: Sequence[str]) -> TranslatedCommand:
    """Translate a command line.

    Args:
        argv: The command and what follows it. Commands without a table pass as they are.

    Raises:
        ConfigError: It has flags that are refused; all of them are told.
    """
    result = TranslatedCommand([], {}, [])
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


def _split(argv: Sequence[str], table: Mapping[str, YoloFlag]) -> Iterator[tuple[str, list[str]]]:
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


def _takes(flag: YoloFlag, values: Sequence[str], candidate: str) -> bool:
    if flag.takes == "numbers":
        return not candidate.startswith("--") and (not values or bool(NUMBER.fullmatch(candidate)))
    if values or flag.takes == "none":
        return False
    return flag.takes == "one" or not candidate.startswith("-")


def _same(flag: str, known: YoloFlag, values: list[str], notices: list[str]) -> list[str]:
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
