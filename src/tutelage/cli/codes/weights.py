"""Codes of weights and models (exit status 4), of exports and optional packages (5)."""

from collections.abc import Mapping

from tutelage.cli.codes.entry import ErrorCode

WEIGHTS: Mapping[str, ErrorCode] = {
    "W00": ErrorCode(
        "weights that cannot be used",
        4,
        "The file cannot be used as it is.",
        "The message describes the problem.",
        ("Inspect the file without running any code in it:", "$ tutelage weights FILE"),
    ),
    "W10": ErrorCode(
        "weights missing or damaged",
        4,
        "The file does not exist, cannot be read, is truncated, or is not a checkpoint.",
        "A wrong path; a failed download (an HTML page, an empty or short file); a Git LFS "
        "pointer in place of the file.",
        ("Download it again; in a git repository:", "$ git lfs pull", "$ tutelage weights FILE"),
    ),
    "W11": ErrorCode(
        "file that would run code",
        4,
        "Unpickling the file would call a function that no checkpoint needs. Nothing was "
        "executed. There is no flag to allow it.",
        "A malicious or unusual pickle: .pt files can run any code on the machine that loads "
        "them. tutelage reads them as data only.",
        (
            "Ask its author for a .safetensors file. If it is yours, save the state dict only:",
            "$ python -c \"import torch; ...; torch.save(model.state_dict(), 'w.pt')\"",
        ),
    ),
    "W12": ErrorCode(
        "weights of another architecture",
        4,
        "Fewer than half of the model's tensors are in the file with the same name and shape.",
        "Weights of another model or width than that of --cfg.",
        (
            "Show the architecture of the file, then give it:",
            "$ tutelage weights FILE",
            "$ tutelage train --cfg yolov7 --weights yolov7.pt",
        ),
    ),
    "W22": ErrorCode(
        "file without a usable detector",
        4,
        "The file can be read, but contains no detector of a known family with weights.",
        "A classifier or segmentation model, a training state, a fused deploy file, a bare state "
        "dict of an unknown model, or a run that was never evaluated.",
        (
            "$ tutelage weights FILE",
            "A state dict needs the yaml of its model:",
            "$ tutelage train --cfg model.yaml --weights FILE",
        ),
    ),
    "W23": ErrorCode(
        "weights that are not finite",
        4,
        "Tensors in the file contain NaN or infinity.",
        "Its training diverged, or half precision overflowed when it was saved.",
        ("Use an earlier checkpoint, or the file before its conversion to half precision.",),
    ),
    "W24": ErrorCode(
        "classes of model and data differ",
        4,
        "The classes of the model and of the data differ in number, name or order.",
        "Another data set than the one of the training, or another order of classes.",
        (
            "Use its own data set, or ignore the classes:",
            "$ tutelage val runs/distilled --data data.yaml --single-cls",
        ),
    ),
    "W25": ErrorCode(
        "training state that cannot be continued",
        4,
        "last.pt is damaged, of another version, or of another run than config.yaml.",
        "An incomplete copy, or two runs that wrote to one folder.",
        (
            "Start a new run from its best weights:",
            "$ tutelage train --weights runs/distilled/best.safetensors",
        ),
    ),
    "W26": ErrorCode(
        "exported file that cannot be run",
        4,
        "The exported file has no metadata of classes and stride, or its runtime cannot read it.",
        "It was written by another program, or it is damaged.",
        ("Export the checkpoint again:", "$ tutelage export runs/distilled --to onnx"),
    ),
    "E00": ErrorCode(
        "export that failed",
        5,
        "The exported network differs from the model.",
        "A bug in the exporter.",
        ("Please report it, with the command line and environment.txt of the run.",),
    ),
    "E19": ErrorCode(
        "optional package missing",
        5,
        "The command needs a package that is not installed.",
        "Export, runtimes, trackers and teachers of other libraries are optional extras.",
        (
            "Install the packages that the message names, e.g.",
            "$ pip install 'tutelage[export,openvino]'",
        ),
    ),
    "E20": ErrorCode(
        "export that differs from the checkpoint",
        5,
        "On real images the outputs of the exported model and of the checkpoint differ by more "
        "than the limit. The file was kept with the suffix .rejected.",
        "A bug in the exporter or the runtime, in an operation of this model.",
        (
            "Please report it. Another format may work:",
            "$ tutelage export runs/distilled --to openvino",
        ),
    ),
    "E21": ErrorCode(
        "model that cannot be converted",
        5,
        "The package that converts models to this format refused the model.",
        "A block of a model yaml that the format does not have, or a version of the package that "
        "does not fit torch.",
        (
            "Install the versions of constraints.txt, or take another format:",
            "$ tutelage export runs/distilled --to onnx",
        ),
    ),
    "E22": ErrorCode(
        "no images to verify an export",
        5,
        "An export is verified on real images, and none were found.",
        "The data set of the run is not on this machine.",
        ("$ tutelage export runs/distilled --to onnx --images photos/",),
    ),
}
