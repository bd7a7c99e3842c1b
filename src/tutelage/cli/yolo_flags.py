"""The command lines of YOLOv7 and YOLOv5: one table per command of what happens to each flag.

A flag is kept (typer parses it), sets a setting, is ignored (with a notice) or is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from tutelage.errors import ConfigError

NUMBER = re.compile(r"-?\d+")
Takes = Literal["none", "one", "maybe", "numbers"]


class YoloFlag(NamedTuple):
    """What happens to a flag.

    Attributes:
        action: See the module.
        takes: How many values follow it; ``maybe`` is none or one, ``numbers`` any number of them.
        reason: Why it is ignored or refused, and what to do instead.
        setting: The dotted setting that it sets.
        value: The value to set; None: the value that follows the flag.
        harmless: Values with which a refused flag changes nothing, e.g. YOLOv7's defaults.
    """

    action: Literal["keep", "set", "ignore", "refuse"]
    takes: Takes = "one"
    reason: str = ""
    setting: str = ""
    value: Any = None
    harmless: tuple[str, ...] = ()


class TranslatedCommand(NamedTuple):
    """What typer parses, settings as ``{setting: (value, origin)}``, and notices."""

    argv: list[str]
    settings: dict[str, tuple[Any, str]]
    notices: list[str]


def notices_of(context: Any) -> list[str]:
    """Return the notices about the translated flags of a command, by its typer context."""
    command = context.find_object(TranslatedCommand)
    return command.notices if command else []


FlagTable = dict[str, YoloFlag]


def _keep(flags: str, takes: Takes = "one") -> FlagTable:
    return dict.fromkeys(flags.split(), YoloFlag("keep", takes))


def _set(flags: str, setting: str, value: Any = None, takes: Takes = "none") -> FlagTable:
    return dict.fromkeys(flags.split(), YoloFlag("set", takes, setting=setting, value=value))


def _ignore(flags: str, reason: str, takes: Takes = "none") -> FlagTable:
    return dict.fromkeys(flags.split(), YoloFlag("ignore", takes, reason))


def _refuse(
    flags: str, reason: str, takes: Takes = "none", harmless: str | None = None
) -> FlagTable:
    values = () if harmless is None else (harmless,)
    return dict.fromkeys(flags.split(), YoloFlag("refuse", takes, reason, harmless=values))


SIZES = "--img-size --img --imgsz"
NO_FILES = "no files are written; --json prints the scores"
NO_TRACE = "models are never traced"
METRICS = "metrics.jsonl in the run folder has every value"
WANDB = f"nothing is sent to Weights & Biases; {METRICS}"
STORAGE = "Google Cloud Storage"
TORCHRUN = "processes are started by torchrun, which needs no flag"
NO_EVOLUTION = "hyper-parameters are not searched; give one file with --hyp"

TRAIN: FlagTable = {
    **_keep("--weights --cfg --data --hyp --epochs --batch-size --batch --device --workers"),
    **_keep("--project --name --optimizer --patience --seed"),
    **_keep("--rect --exist-ok --multi-scale --single-cls --cache-images", "none"),
    **_keep(f"{SIZES} --freeze", "numbers"),
    **_keep("--resume", "maybe"),
    **_set("--cache", "train.cache_images", takes="maybe"),
    **_set("--adam", "optim.name", "adam"),
    **_set("--linear-lr", "optim.schedule", "linear"),
    **_set("--cos-lr", "optim.schedule", "cosine"),
    **_set("--label-smoothing", "loss.label_smoothing", takes="one"),
    **_set("--notest --noval", "train.validate_runs", value=False),
    **_set("--noautoanchor", "model.autoanchor", value=False),
    **_set("--sync-bn", "train.sync_bn", value=True),
    **_ignore("--nosave", "best.safetensors and last.pt are always written, nothing else"),
    **_ignore("--noplots", "no plots are drawn during training"),
    **_ignore("--save_period --save-period", "the best and the last epoch are kept", "one"),
    **_ignore("--v5-metric", "AP is always that of COCO"),
    **_ignore("--entity --bbox_interval --artifact_alias --log-imgs", WANDB, "one"),
    **_ignore("--upload_dataset", WANDB, "maybe"),
    **_ignore("--log-artifacts", WANDB),
    **_ignore("--ndjson-console --ndjson-file", f"{METRICS}; --json prints it"),
    **_refuse("--local_rank --local-rank", TORCHRUN, "one", harmless="-1"),
    **_refuse("--bucket", f"nothing is sent to {STORAGE}; copy the run folder", "one", harmless=""),
    **_refuse(
        "--evolve",
        "hyper-parameters are not searched; try values with --set optim.lr=0.005",
        "maybe",
    ),
    **_refuse("--evolve_population --resume_evolve", NO_EVOLUTION, "one"),
    **_refuse("--image-weights", "images are drawn evenly; add copies of images with rare classes"),
    **_refuse("--quad", "batches are not folded; use a larger --img-size"),
}

VAL: FlagTable = {
    **_keep("--weights --data --batch-size --batch --conf-thres --iou-thres --task --device"),
    **_keep("--single-cls --augment --half", "none"),
    **_keep(SIZES, "numbers"),
    **_ignore("--verbose", "scores per class are always shown"),
    **_keep("--save-json", "maybe"),
    **_ignore("--save-txt --save-conf --exist-ok", NO_FILES),
    **_ignore("--project --name", NO_FILES, "one"),
    **_ignore("--workers", "chosen by the number of cores", "one"),
    **_ignore("--no-trace", NO_TRACE),
    **_ignore("--v5-metric", "AP is always that of COCO"),
    **_refuse("--max-det", "always 300 detections per image", "one", harmless="300"),
    **_refuse("--save-hybrid", "labels are never mixed into predictions"),
    **_refuse("--dnn", "a PyTorch model is evaluated by PyTorch"),
}

DRAWN = "boxes and captions are scaled to the picture"
PLACES = "--save, --save-txt and --save-json give the paths"

PREDICT: FlagTable = {
    **_keep("--weights --source"),
    **_keep(f"{SIZES} --classes", "numbers"),
    **_ignore("--data", "the model has its class names", "one"),
    **_ignore("--nosave", "nothing is saved unless --save is given"),
    **_ignore("--exist-ok", PLACES),
    **_ignore("--no-trace", NO_TRACE),
    **_ignore("--line-thickness", DRAWN, "one"),
    **_refuse("--update", "weight files are never changed"),
    **_refuse("--project --name", PLACES, "one"),
    **_refuse("--view-img", "no window is opened; --save writes the pictures"),
    **_refuse("--save-csv", "--save-json writes one file, --json prints lines"),
    **_refuse("--save-crop", "crop the boxes of --save-json"),
    **_refuse("--save-format", "--save-txt writes YOLO lines", "one", harmless="0"),
    **_refuse("--hide-labels --hide-conf", DRAWN),
    **_refuse("--visualize", "features are not drawn"),
    **_refuse("--vid-stride", "every frame is processed", "one", harmless="1"),
    **_refuse("--dnn", "an .onnx is run by ONNX Runtime"),
}

FREE = "batch and size are free unless --fixed-batch fixes them"
PER_CLASS = "with --nms classes never suppress each other"

EXPORT: FlagTable = {
    **_keep("--weights"),
    **_keep(SIZES, "numbers"),
    **_ignore("--topk-per-class", "--max-det limits the detections of an image", "one"),
    **_ignore("--max-wh", PER_CLASS, "one"),
    **_ignore("--grid", "boxes are decoded in every export"),
    **_ignore("--dynamic --dynamic-batch", FREE),
    **_ignore("--batch-size --batch", FREE, "one"),
    **_ignore("--simplify", "every export is simplified"),
    **_ignore("--device", "exports are made on the CPU, and run anywhere", "one"),
    **_ignore("--inplace", "the graph is folded"),
    **_ignore("--verbose", "the verification is always shown"),
    **_refuse("--include", "--to takes one format at a time", "one"),
    **_refuse("--fp16", "use --half"),
    **_refuse(
        "--include-nms --end2end",
        "--nms puts the suppression into the file, for TensorRT with --fixed-batch 1",
    ),
    **_refuse("--topk-all", "use --max-det", "one"),
    **_refuse("--agnostic-nms", PER_CLASS),
    **_refuse("--opset", "the exporter chooses it", "one"),
    **_refuse("--per-tensor", "integers have a range per channel"),
}

COMPARE: FlagTable = {
    **TRAIN,
    **_refuse("--resume", "the same command again continues a comparison", "maybe"),
    **_refuse("--seed", "give their number with --seeds or name them: --seed-list 0,1", "one"),
    **_ignore("--exist-ok", "a comparison always continues in its folder"),
}

TEACH: FlagTable = {
    **TRAIN,
    **_refuse("--resume", "the same command again goes on with what is stored", "maybe"),
}

COMMANDS: Mapping[str, Mapping[str, YoloFlag]] = {
    "train": TRAIN,
    "val": VAL,
    "compare": COMPARE,
    "teach": TEACH,
    "predict": PREDICT,
    "export": EXPORT,
}


def translate(argv: Sequence[str]) -> TranslatedCommand:
    """Translate a command line.

    Args:
        argv: The command and its arguments. Commands without a table pass unchanged.

    Raises:
        ConfigError: Some flags are refused; the message lists all of them.
    """
    result = TranslatedCommand([], {}, [])
    table = COMMANDS.get(argv[0] if argv else "", {})
    refused: list[str] = []
    ignored: dict[str, list[str]] = {}  # by reason
    for flag, values in _split(argv, table):
        known = table.get(flag)
        if known is None:
            result.argv.extend(values)
        elif known.action == "keep":
            result.argv.extend(_for_typer(flag, known, values, result.notices))
        elif known.action == "set":
            value = values[0] if known.value is None and values else known.value
            if known.setting == "train.cache_images":
                if value not in (None, "ram"):
                    refused.append(
                        f"{flag} {value}: images are cached in RAM only: --cache-images."
                    )
                value = "ram"
            elif value is None:
                refused.append(f"{flag} needs a value.")
            result.settings[known.setting] = (value, f"flag {flag}")
        elif known.action == "refuse" and not (values and values[0] in known.harmless):
            refused.append(f"{flag} is not supported: {known.reason}.")
        elif known.action == "ignore":
            ignored.setdefault(known.reason, []).append(flag)
    for reason, flags in ignored.items():
        verb = "has" if len(flags) == 1 else "have"
        result.notices.append(f"{' '.join(flags)} {verb} no effect here: {reason}.")
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


def _for_typer(flag: str, known: YoloFlag, values: list[str], notices: list[str]) -> list[str]:
    """Return a flag and its values as typer parses them."""
    if flag == "--resume":
        return [flag, values[0] if values else ""]  # empty: the newest run
    if flag == "--save-json":
        return [flag, values[0] if values else "predictions.json"]
    if flag in ("--batch-size", "--batch") and values == ["-1"]:  # YOLOv5's spelling of auto
        return [flag, "auto"]
    if known.takes == "none" and values:
        return [f"{flag}={values[0]}"]  # typer reports the value
    if known.takes != "numbers" or len(values) < 2:
        return [flag, *values]
    if flag in ("--freeze", "--classes"):
        return [flag, ",".join(values)]
    if len(set(values)) > 1:
        notices.append(
            f"{flag} {' '.join(values)}: training and evaluation have one size here: {values[0]}."
        )
    return [flag, values[0]]
