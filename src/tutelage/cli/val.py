"""``tutelage val``."""

from __future__ import annotations

import json as json_format
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tutelage.cli import options as o
from tutelage.cli.formatting import score
from tutelage.cli.tables import columns, say
from tutelage.cli.yolo_flags import TranslatedCommand
from tutelage.errors import ConfigError

if TYPE_CHECKING:
    from tutelage.evaluation import Scores


class Split(StrEnum):
    """A split of a data set."""

    train = "train"
    val = "val"
    test = "test"


def val(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="Run folder, weight file, .onnx or .xml"),
    ] = None,
    weights: Annotated[str | None, typer.Option("--weights", hidden=True)] = None,
    data: o.Data = None,
    split: Annotated[
        Split, typer.Option("--split", "--task", help="Which images", rich_help_panel=o.WHAT)
    ] = Split.val,
    single_cls: o.SingleClass = False,
    img_size: o.Size = None,
    batch_size: Annotated[
        int,
        typer.Option(
            "--batch-size",
            "--batch",
            metavar="<n>",
            min=1,
            help="Images at a time",
            rich_help_panel=o.HOW,
        ),
    ] = 16,
    conf_thres: Annotated[
        float,
        typer.Option(
            "--conf-thres", metavar="<x>", min=0, max=1, help="Least score", rich_help_panel=o.HOW
        ),
    ] = 0.001,
    iou_thres: Annotated[
        float | None,
        typer.Option(
            "--iou-thres",
            metavar="<x>",
            min=0,
            max=1,
            help="Overlap limit of the NMS",
            rich_help_panel=o.HOW,
            show_default="as while training",
        ),
    ] = None,
    device: o.Device = None,
    half: o.Half = False,
    augment: o.Augment = False,
    rect: Annotated[
        bool,
        typer.Option(
            "--rect",
            help="Rectangular batches, as YOLOv7 evaluates",
            rich_help_panel=o.HOW,
            show_default=False,
        ),
    ] = False,
    json: o.Json = False,
    debug: o.Debug = False,  # noqa: ARG001  (read before parsing)
) -> None:
    """Evaluate a model: COCO's AP on the val or test images."""
    from tutelage.config.overrides import natural

    chosen = model or weights
    if chosen is None:
        raise ConfigError(
            "No model is given.", fix="For example  tutelage val runs/distilled", code="C26"
        )
    data = data or stored_data(chosen)
    legacy = context.find_object(TranslatedCommand)
    from tutelage.deploy.runtime import open_model
    from tutelage.evaluation.nms import EVALUATION_IOU
    from tutelage.evaluation.validate import validate

    where = natural("train.device", device or "auto")
    scores = validate(
        open_model(chosen, where, augment=augment, half=half) if is_exported(chosen) else chosen,
        data=data,
        split=split.value,
        image_size=img_size,
        batch=batch_size,
        device=where,
        conf=conf_thres,
        iou=EVALUATION_IOU if iou_thres is None else iou_thres,
        augment=augment,
        half=half,
        single_cls=single_cls,
        rect=rect,
    )
    if json:
        print(json_format.dumps(scores.to_dict()))
        return
    for notice in legacy.notices if legacy else ():
        say(notice)
    say(f"{chosen} on {split.value} of {data}: {scores.images} images, {scores.instances} objects")
    say(*score_table(scores))


def stored_data(model: str) -> str:
    """Return the data set that a run was trained on.

    Raises:
        WeightsError: There is no such model.
        ConfigError: The model is not a run folder, or its settings name no data set.
    """
    from tutelage.evaluation.predictor import training_data

    data = training_data(model)
    if data is not None:
        return data
    from tutelage.models.weight_file import weight_file
    from tutelage.weights.file_type import existing_file

    existing_file(weight_file(model))
    raise ConfigError(
        "No data set is given.", fix=f"tutelage val {model} --data data.yaml", code="C26"
    )


def is_exported(model: str) -> bool:
    """Tell by its suffix whether a model is the file of another runtime."""
    return Path(model).suffix.lower() in (".onnx", ".xml", ".pt2")


def score_table(scores: Scores) -> list[str]:
    """Return the scores as lines: all classes, then each."""
    rows = [["class", "objects", "AP", "AP50", "AP75", "APs", "APm", "APl"]]
    whole = [scores.AP, scores.AP50, scores.AP75, scores.APs, scores.APm, scores.APl]
    rows.append(["all", str(scores.instances), *map(score, whole)])
    for name, each in scores.per_class.items():
        rows.append([name, str(each.instances), score(each.AP), score(each.AP50)])
    return columns(rows, left=1)
