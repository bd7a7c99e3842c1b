"""The options that commands share. Values of settings stay text: the schema checks them together.

Rarely used options are hidden, so that ``--help`` fits on one screen; its last lines name them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Annotated, Any

import typer

from tutelage.cli.completion import complete_methods, complete_models, complete_settings
from tutelage.errors import ConfigError

WHAT, KD, HOW, WHERE = "What", "Distillation", "How", "Where"
OPTIONS = "Options"  # typer's name of the panel without a name


def value(flags: str, metavar: str, help: str, panel: str = "", **more: Any) -> Any:
    """Declare an option with a value.

    Args:
        flags: Its flags, e.g. ``--img-size --img``.
        metavar: Stands for the value in ``--help``.
        help: What it means.
        panel: Panel of ``--help``; an option without one is hidden.
        more: Other arguments of ``typer.Option``.
    """
    return typer.Option(
        *flags.split(),
        metavar=metavar,
        help=help,
        rich_help_panel=panel or None,
        hidden=not panel,
        **more,
    )


def switch(flag: str, help: str, panel: str = "") -> Any:
    """Declare an option without a value; arguments as of :func:`value`."""
    return value(flag, "", help, panel, show_default=False)


def fraction(flags: str, help: str) -> Any:
    """Declare an option with a value in 0..1; arguments as of :func:`value`."""
    return value(flags, "<x>", help, HOW, min=0, max=1)


Text = str | None
Texts = list[str] | None

# The models and images of a command; the hidden flags are those of YOLOv7's and YOLOv5's scripts.
HiddenWeights = Annotated[Text, typer.Option("--weights", hidden=True)]
HiddenSource = Annotated[Texts, typer.Option("--source", hidden=True)]
RunnableModel = Annotated[
    Text, typer.Argument(metavar="MODEL", help="Run folder, weight file or export")
]
Data = Annotated[
    Text, value("--data", "<path>", "Data yaml, COCO json or folder, VOC, digits", WHAT)
]
Cfg = Annotated[
    Text,
    value(
        "--cfg",
        "<model>",
        "Architecture or its yaml [dim]\\[yolov7-tiny][/]",
        WHAT,
        autocompletion=complete_models,
    ),
]
Weights = Annotated[Text, value("--weights", "<model>", "Start from these weights", WHAT)]
RunFile = Annotated[Text, value("--config", "<yaml>", "A run file; flags override it", WHAT)]
Hyp = Annotated[Text, value("--hyp", "<yaml>", "YOLOv7 or YOLOv5 hyper-parameter file", WHAT)]
Preset = Annotated[Text, value("--preset", "<name>", "v7-p5|p6|tiny|custom, v5-low|…, small", WHAT)]
SingleClass = Annotated[bool, switch("--single-cls", "Treat all classes as one")]

TeacherWeights = Annotated[
    Texts, value("--teacher-weights", "<model>", "Distil from this model (repeatable)", KD)
]
Methods = Annotated[
    Texts,
    value(
        "--method",
        "<spec>",
        "e.g. fgd:weight=2 (repeatable) [dim]\\[auto][/]",
        KD,
        autocompletion=complete_methods,
    ),
]
Ratio = Annotated[
    Text, value("--ratio", "<x>", "KD gradient / detection's [dim]\\[of method][/]", KD)
]
StudentLayers = Annotated[
    Text, value("--student-kd-layers", "<list>", "e.g. 57,65,73 [dim]\\[p3,p4,p5][/]", KD)
]
TeacherLayers = Annotated[
    Text, value("--teacher-kd-layers", "<list>", "e.g. 75,88,101 [dim]\\[p3,p4,p5][/]", KD)
]

Epochs = Annotated[Text, value("--epochs", "<n>", "Passes over the images [dim]\\[100][/]", HOW)]
BatchSize = Annotated[
    Text, value("--batch-size --batch", "<n>", "Images per step, or auto [dim]\\[16][/]", HOW)
]
ImagesAtATime = Annotated[int, value("--batch-size --batch", "<n>", "Images at a time", HOW, min=1)]
ImageSize = Annotated[
    Text, value("--img-size --img --imgsz", "<px>", "Training and evaluation [dim]\\[640][/]", HOW)
]
InferenceSize = Annotated[
    int | None, value("--img-size --img --imgsz", "<px>", "[dim]\\[as trained][/]", HOW)
]
Device = Annotated[Text, value("--device", "<name>", "auto | cpu | cuda:0 | 0 | mps", HOW)]
Workers = Annotated[Text, value("--workers", "<n>", "Loader processes [dim]\\[auto][/]", HOW)]
Devices = Annotated[Text, value("--devices", "<n>", "Processes, one per GPU [dim]\\[1][/]", HOW)]
Seed = Annotated[Text, value("--seed", "<n>", "Of everything random [dim]\\[0][/]", HOW)]
Precision = Annotated[Text, value("--precision", "<name>", "auto | fp32 | fp16 | bf16", HOW)]
Optimizer = Annotated[Text, value("--optimizer", "<name>", "sgd | adam | adamw")]
Freeze = Annotated[Text, value("--freeze", "<rows>", "10: rows 0 to 9; 0,1,2: these rows")]
Patience = Annotated[Text, value("--patience", "<n>", "Epochs without a better AP [dim]\\[100][/]")]
MultiScale = Annotated[bool, switch("--multi-scale", "Vary the image size by half")]
Rect = Annotated[bool, switch("--rect", "Batches of similar shape, no mosaic")]
CacheImages = Annotated[bool, switch("--cache-images", "Keep images in RAM", HOW)]
AllowCode = Annotated[
    Texts, value("--allow-code", "<code>", "Import my_kd:Mine though a file names it (repeatable)")
]
Resume = Annotated[Text, value("--resume", "<run>", "Continue an interrupted run", HOW)]
DryRun = Annotated[bool, switch("--dry-run", "Build, run one step, print the plan", HOW)]
Sets = Annotated[
    Texts,
    value(
        "--set",
        "KEY=VAL",
        "Any other setting (repeatable)",
        HOW,
        autocompletion=complete_settings,
    ),
]
Augment = Annotated[bool, switch("--augment", "Three views of each image", HOW)]
Half = Annotated[bool, switch("--half", "Half precision, on a GPU", HOW)]

Project = Annotated[
    Text, value("--project", "<folder>", "Parent of the run folders [dim]\\[runs][/]", WHERE)
]
Name = Annotated[
    Text, value("--name", "<name>", "Run folder [dim]\\[<data>-<cfg>-<method>][/]", WHERE)
]
ExistOk = Annotated[bool, switch("--exist-ok", "Use the folder if it exists")]
Track = Annotated[
    Texts, value("--track", "<name>", "tensorboard | mlflow | wandb | trackio", WHERE)
]
Json = Annotated[bool, switch("--json", "Machine-readable output", WHERE)]
Quiet = Annotated[bool, switch("--quiet", "Errors only", WHERE)]
Debug = Annotated[bool, switch("--debug", "Show the traceback of an error", WHERE)]


def options_of(
    command: Callable[..., None], *, without: Collection[str]
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that gives a function of keyword arguments the options of a command.

    Args:
        command: The command.
        without: Names of options that the other one does not have.
    """
    parameters = [
        each
        for each in inspect.signature(command, eval_str=True).parameters.values()
        if each.name not in without
    ]

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        function.__annotations__ = {each.name: each.annotation for each in parameters}
        function.__signature__ = inspect.Signature(parameters)
        return function

    return decorate


def required_model(model: str | None, weights: str | None, command: str) -> str:
    """Return the model of a command: its argument, else YOLOv7's ``--weights``.

    Raises:
        ConfigError: Neither is given.
    """
    if model or weights:
        return model or weights or ""
    raise ConfigError(
        "No model is given.", fix=f"For example  tutelage {command} runs/distilled", code="C26"
    )
