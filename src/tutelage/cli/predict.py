"""``tutelage predict``."""

from __future__ import annotations

import json as json_format
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tutelage.cli import options as o
from tutelage.cli.error_messages import Interrupted
from tutelage.cli.sigterm import sender, sigterm_as_interrupt
from tutelage.cli.yolo_flags import notices_of
from tutelage.display.tables import print_lines
from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from tutelage.deploy.predict import PredictedFrame
    from tutelage.deploy.prediction_writers import Writer


def predict(
    context: typer.Context,
    model: o.RunnableModel = None,
    source: Annotated[
        list[str] | None,
        typer.Argument(metavar="SOURCE...", help="Images, folders, 'patterns', videos, a stream"),
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
    """Find objects on pictures, videos, a camera or a stream."""
    from tutelage.config.overrides import normalise_value
    from tutelage.deploy.predict import predict_each

    chosen, sources = _model_and_sources(model, source, weights, more_sources)
    json_source = Path(sources[0]) if len(sources) == 1 and sources[0].endswith(".json") else None
    writers = _writers(save, save_txt, save_json, scores=save_conf, json_source=json_source)
    predictions = predict_each(
        chosen,
        sources,
        conf=conf,
        iou=iou,
        img_size=img_size,
        classes=None if classes is None else [name.strip() for name in classes.split(",")],
        max_det=max_det,
        agnostic_nms=agnostic_nms,
        augment=augment,
        half=half,
        device=normalise_value("train.device", device or "auto"),
        batch_size=batch_size,
    )
    total: Counter[str] = Counter()
    pictures, unreadable, began = 0, 0, time.perf_counter()
    stopped = ""
    if not (json or quiet):
        print_lines(*notices_of(context))
    try:
        with sigterm_as_interrupt(), ExitStack() as stack:
            for closed in (predictions, *writers):
                stack.callback(closed.close)
            for prediction in predictions:
                frame, detections = prediction
                if frame.error is None:
                    for writer in writers:
                        writer.add(prediction)
                classes_seen = Counter(box.name for box in detections)
                total += classes_seen
                pictures += frame.error is None
                unreadable += frame.error is not None
                if json:
                    print(json_format.dumps(values(prediction)), flush=True)
                elif not quiet and frame.error is None:
                    print_lines(f"{title(prediction)}  {counts(classes_seen)}")
    except KeyboardInterrupt as stop:
        if not pictures:
            raise
        stopped = sender(stop)
    if not (json or quiet):
        paths = [path for path in (save, save_txt, save_json) if path]
        saved = f" · saved in {', '.join(paths)}" if paths else ""
        left = f" · {unreadable} could not be read" if unreadable else ""
        took = f"{time.perf_counter() - began:.1f} s"
        summary = f"{pictures} picture{'s' * (pictures != 1)} in {took}: {counts(total)}"
        print_lines(f"{summary}{saved}{left}")
        if not paths:
            print_lines(
                " next  add  --save out/  for annotated pictures, --save-txt or --save-json"
            )
    if stopped:
        raise Interrupted(f"Stopped by {stopped}.")


def _model_and_sources(
    model: str | None, source: list[str] | None, weights: str | None, more: list[str] | None
) -> tuple[str, list[str]]:
    """Return the model and the sources, given as arguments or by the flags of YOLOv7's detect.py.

    With ``--weights`` all arguments are sources.
    """
    arguments = [*([] if model is None else [model]), *(source or ())]
    chosen = weights or (arguments.pop(0) if arguments else None)
    sources = [*arguments, *(more or ())]
    if chosen is None or not sources:
        missing = "model" if chosen is None else "picture"
        raise ConfigError(
            f"No {missing} is given.",
            fix="For example  tutelage predict runs/distilled photos/",
            code="C26",
        )
    return chosen, sources


def title(prediction: PredictedFrame) -> str:
    """Return the name of a picture, and its size."""
    frame = prediction.frame
    height, width = frame.image.shape[:2]
    number = "" if frame.number is None else f" frame {frame.number}"
    return f"{frame.title}{number}  {width}x{height}"


def counts(classes: Counter[str]) -> str:
    """Return ``3 RBC, 1 WBC``, the most frequent class first."""
    return ", ".join(f"{count} {name}" for name, count in classes.most_common()) or "nothing"


def values(prediction: PredictedFrame) -> dict[str, Any]:
    """Return a picture's detections as plain values."""
    frame, detections = prediction
    height, width = frame.image.shape[:2]
    content: dict[str, Any] = {"path": frame.title, "frame": frame.number}
    if frame.error is not None:
        return content | {"width": None, "height": None, "detections": [], "error": frame.error}
    boxes = [box._asdict() for box in detections]
    return content | {"width": width, "height": height, "detections": boxes}


def _writers(
    save: str | None,
    save_txt: str | None,
    save_json: str | None,
    *,
    scores: bool,
    json_source: Path | None,
) -> list[Writer]:
    from tutelage.deploy.prediction_writers import CocoWriter, LabelWriter, PictureWriter

    writers: list[Writer] = [PictureWriter(save)] if save else []
    writers += [LabelWriter(save_txt, scores=scores)] if save_txt else []
    return writers + ([CocoWriter(save_json, json_source)] if save_json else [])
