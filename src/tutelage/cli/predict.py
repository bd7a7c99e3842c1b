"""``tutelage predict``."""

from __future__ import annotations

import json as json_format
import time
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tutelage.cli import options as o
from tutelage.cli.tables import say
from tutelage.cli.yolo_flags import notices_of
from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from tutelage.deploy.predict import PredictedFrame
    from tutelage.deploy.writers import Writer


def predict(
    context: typer.Context,
    model: o.RunnableModel = None,
    source: Annotated[
        list[str] | None,
        typer.Argument(metavar="SOURCE...", help="Images, folders, 'patterns', videos"),
    ] = None,
    weights: o.HiddenWeights = None,
    more_sources: o.HiddenSource = None,
    conf: Annotated[float, o.fraction("--conf --conf-thres", "Least score")] = 0.25,
    iou: Annotated[float, o.fraction("--iou --iou-thres", "Overlap limit of the NMS")] = 0.45,
    classes: Annotated[
        str | None,
        o.value("--classes", "<list>", "Names or numbers, e.g. RBC,WBC [dim]\\[all][/]", o.HOW),
    ] = None,
    max_det: Annotated[int, o.value("--max-det", "<n>", "Per picture", o.HOW, min=1)] = 300,
    agnostic_nms: Annotated[
        bool, o.switch("--agnostic-nms", "Classes suppress each other", o.HOW)
    ] = False,
    augment: o.Augment = False,
    img_size: o.InferenceSize = None,
    batch_size: Annotated[
        int, o.value("--batch-size --batch", "<n>", "Pictures at a time", o.HOW, min=1)
    ] = 8,
    device: o.Device = None,
    half: o.Half = False,
    save: Annotated[
        str | None, o.value("--save", "<folder>", "Annotated pictures", o.WHERE)
    ] = None,
    save_txt: Annotated[
        str | None, o.value("--save-txt", "<folder>", "YOLO label files", o.WHERE)
    ] = None,
    save_conf: Annotated[
        bool, o.switch("--save-conf", "With --save-txt: scores too", o.WHERE)
    ] = False,
    save_json: Annotated[
        str | None, o.value("--save-json", "<file>", "One COCO file", o.WHERE)
    ] = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
    debug: o.Debug = False,  # noqa: ARG001  (read before parsing)
) -> None:
    """Find objects on pictures and videos."""
    from tutelage.config.overrides import natural
    from tutelage.deploy.predict import predict_each

    chosen, sources = _places(model, source, weights, more_sources)
    savers = _savers(save, save_txt, save_json, scores=save_conf)
    seen = predict_each(
        chosen,
        sources,
        conf=conf,
        iou=iou,
        image_size=img_size,
        classes=None if classes is None else [each.strip() for each in classes.split(",")],
        max_detections=max_det,
        agnostic=agnostic_nms,
        augment=augment,
        half=half,
        device=natural("train.device", device or "auto"),
        batch=batch_size,
    )
    total: Counter[str] = Counter()
    pictures, began = 0, time.perf_counter()
    if not (json or quiet):
        say(*notices_of(context))
    with ExitStack() as stack:
        for saver in savers:
            stack.callback(saver.close)
        for each in seen:
            for saver in savers:
                saver.add(each)
            pictures += 1
            found = Counter(each.detections.names[i] for i in each.detections.label.tolist())
            total += found
            if json:
                print(json_format.dumps(object_of(each)), flush=True)
            elif not quiet:
                say(f"{title(each)}  {counts(found)}")
    if not (json or quiet):
        places = [place for place in (save, save_txt, save_json) if place]
        where = f" · saved in {', '.join(places)}" if places else ""
        took = f"{time.perf_counter() - began:.1f} s"
        say(f"{pictures} picture{'s' * (pictures != 1)} in {took}: {counts(total)}{where}")
        if not places:
            say(" next  add  --save out/  for annotated pictures, --save-txt or --save-json")


def _places(
    model: str | None, source: list[str] | None, weights: str | None, more_sources: list[str] | None
) -> tuple[str, list[str]]:
    """Return the model and the sources, named by place or by the flags of YOLOv7's detect.py."""
    free = [*([] if model is None else [model]), *(source or ())]
    chosen = weights or (free.pop(0) if free else None)
    sources = [*free, *(more_sources or ())]
    if chosen is None or not sources:
        missing = "model" if chosen is None else "picture"
        raise ConfigError(
            f"No {missing} is given.",
            fix="For example  tutelage predict runs/distilled photos/",
            code="C26",
        )
    return chosen, sources


def title(seen: PredictedFrame) -> str:
    """Return the name of a picture, and its size."""
    frame = seen.frame
    height, width = frame.image.shape[:2]
    number = "" if frame.number is None else f" frame {frame.number}"
    return f"{frame.path}{number}  {width}x{height}"


def counts(found: Counter[str]) -> str:
    """Return ``3 RBC, 1 WBC``, the most frequent class first."""
    return ", ".join(f"{count} {name}" for name, count in found.most_common()) or "nothing"


def object_of(seen: PredictedFrame) -> dict[str, Any]:
    """Return what was seen as plain values."""
    frame, found = seen
    height, width = frame.image.shape[:2]
    rows = zip(found.xyxy.tolist(), found.score.tolist(), found.label.tolist(), strict=True)
    detections = [
        {"xyxy": xyxy, "score": score, "label": label, "name": found.names[label]}
        for xyxy, score, label in rows
    ]
    place = {"path": str(frame.path), "frame": frame.number, "width": width, "height": height}
    return {**place, "detections": detections}


def _savers(
    save: str | None, save_txt: str | None, save_json: str | None, *, scores: bool
) -> list[Writer]:
    from tutelage.deploy.writers import CocoWriter, LabelWriter, PictureWriter

    savers: list[Writer] = [PictureWriter(save)] if save else []
    savers += [LabelWriter(save_txt, scores=scores)] if save_txt else []
    return savers + ([CocoWriter(save_json)] if save_json else [])
