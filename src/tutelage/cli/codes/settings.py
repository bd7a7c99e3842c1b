"""Codes of the command line and of settings: exit status 2."""

from collections.abc import Mapping

from tutelage.cli.codes.entry import ErrorCode

SETTINGS: Mapping[str, ErrorCode] = {
    "C00": ErrorCode(
        "settings that cannot be used",
        2,
        "One or more settings cannot be used. Nothing was started.",
        "The message names each setting and its origin: a flag, --set, a run file, a hyp file. "
        "Several errors are reported together, each with its own code.",
        (
            "Explain the code in front of each line, e.g.",
            "$ tutelage explain C05",
            "Show the resolved settings with their origins:",
            "$ tutelage config run.yaml --hyp hyp.yaml",
        ),
    ),
    "C05": ErrorCode(
        "unknown setting",
        2,
        "There is no setting or method option of that name.",
        "A typing error, a key of another program, or a setting of another section. Unknown names "
        "are refused because silently ignoring a setting would train a different model.",
        (
            "Use the name that the message suggests, or look it up:",
            "$ tutelage config --all",
            "$ tutelage methods",
        ),
    ),
    "C17": ErrorCode(
        "image size that the model does not take",
        2,
        "The image size must be a multiple of the model's largest stride, and that of the export "
        "if the shapes of an exported file are fixed. A D-FINE needs as many cells as queries.",
        "The largest stride is 32 in most models, 64 in those for large images; files for ncnn and "
        "LiteRT and those of --fixed-batch take one size. A size is never rounded silently.",
        ("Use the nearest size that the message names:", "$ tutelage train --img-size 640"),
    ),
    "C18": ErrorCode(
        "device not available",
        2,
        "The device name is not valid, or this machine does not have the device. As a warning: no "
        "GPU was found, and the run trains on the CPU.",
        "A device number of another machine, a driver that torch does not find, a torch build "
        "without CUDA, or CUDA_VISIBLE_DEVICES hiding the GPU.",
        (
            "Check what torch finds:",
            '$ python -c "import torch; print(torch.cuda.is_available())"',
            "Train on the best device available:",
            "$ tutelage train --device auto",
        ),
    ),
    "C22": ErrorCode(
        "command line not understood",
        2,
        "There is no such command or option, or it has too few or too many values.",
        "A typing error, or an option of another command.",
        ("Show the options of the command:", "$ tutelage train --help"),
    ),
    "C23": ErrorCode(
        "flag of YOLOv7 or YOLOv5 that is not supported",
        2,
        "The flag belongs to the scripts of YOLOv7 or YOLOv5 and would change the result; there "
        "is no equivalent.",
        "Most of their flags work unchanged. Flags that cannot be honoured are refused, and the "
        "message says what to use.",
        ("The table of all their flags is in docs/from-yolov7.md.", "$ tutelage train --help"),
    ),
    "C24": ErrorCode(
        "settings file that cannot be read",
        2,
        "A run file (--config), a hyp file (--hyp) or the settings of a stored run cannot be read "
        "as 'name: value' lines of yaml.",
        "A wrong path, a binary file, a tab instead of spaces, a missing colon, a duplicate key.",
        (
            "Correct the line that the message names, then check the file:",
            "$ tutelage config run.yaml",
        ),
    ),
    "C25": ErrorCode(
        "value that cannot be used",
        2,
        "A setting has a value of the wrong type or out of range.",
        "Text instead of a number, a number out of range, a name that is not one of the choices.",
        (
            "The message says what is expected; all settings and their types:",
            "$ tutelage config --all",
        ),
    ),
    "C26": ErrorCode(
        "required argument missing",
        2,
        "The command needs a data set, a model or a teacher that was not given.",
        "A flag was omitted, or a shell variable was empty.",
        ("Add it:", "$ tutelage train --data data.yaml --teacher-weights runs/teacher"),
    ),
    "C27": ErrorCode(
        "unknown model",
        2,
        "The name is not an architecture, a yaml, a weight file or a run folder.",
        "A typing error, a missing file, or an invalid width after @.",
        (
            "docs/models.md lists the architectures; the layers of one:",
            "$ tutelage layers yolov7-tiny",
            "Weights and architecture are separate flags:",
            "$ tutelage train --cfg yolov7-tiny --weights yolov7-tiny.pt",
        ),
    ),
    "C28": ErrorCode(
        "model yaml that cannot be built",
        2,
        "The yaml of a model is not valid, names unknown blocks, or has rows that do not fit "
        "together.",
        "An edited yaml, or one of a fork with custom blocks.",
        (
            "Correct the row that the message names, then check the result:",
            "$ tutelage layers model.yaml",
            "How to add a block: docs/architecture.md.",
        ),
    ),
    "C29": ErrorCode(
        "output that cannot be written",
        2,
        "An output path cannot be written, or would overwrite a file.",
        "A folder that does not exist or is read-only, an existing file, a wrong suffix, or an "
        "output inside its own input data.",
        (
            "Give another path, or with tutelage weights allow overwriting:",
            "$ tutelage weights FILE --to x.safetensors --force",
        ),
    ),
    "C30": ErrorCode(
        "settings that exclude each other",
        2,
        "Two settings cannot be combined, or one is not possible on this machine.",
        "For example fp16 on the CPU, a batch of one image at a size where BatchNorm sees one "
        "value, --half with --int8 in an export, or --augment with an exported file.",
        ("Omit one of them, as the message says.",),
    ),
    "C31": ErrorCode(
        "comparison that cannot be planned",
        2,
        "tutelage compare cannot plan runs of these arms, seeds or settings, or the folder "
        "contains another comparison.",
        "An arm given twice, seeds or ratios that are not numbers, or settings that differ from "
        "those of the comparison in this folder.",
        (
            "List the runs without training any:",
            "$ tutelage compare --data data.yaml --teacher-weights T --dry-run",
            "Start another comparison beside it:",
            "$ tutelage compare --data data.yaml --teacher-weights T --name other",
        ),
    ),
    "C32": ErrorCode(
        "views that contradict other settings",
        2,
        "Every image has distill.views augmented versions that recur in turn, and another setting "
        "leaves no place for that.",
        "More views than epochs, distill.every beside views, distill.teacher_scale without views, "
        "or a change of the image size beside images without labels.",
        ("Let the number of views be chosen:", "$ tutelage train --set distill.views=auto"),
    ),
    "C33": ErrorCode(
        "no room for what the teacher says",
        2,
        "The answers about so many views need more room than distill.store_gib allows or than the "
        "disk has, or the folder for them cannot be used.",
        "Maps are large: a megabyte per view of an image of 320 pixels. A disk that is nearly "
        "full, or distill.store names a file.",
        (
            "Remove what is not needed any more:",
            "$ tutelage store list",
            "Or store elsewhere, or nothing:",
            "$ tutelage train --set distill.store=/other/disk/store",
            "$ tutelage train --set distill.store=off",
        ),
    ),
    "C34": ErrorCode(
        "settings with which nothing is stored",
        2,
        "tutelage teach stores what a run will ask its teacher, but a run of these settings would "
        "ask it in every step and store nothing.",
        "distill.store or distill.views is off, a method such as crosskd runs layers of the "
        "teacher itself, or distill.store_features is off and all methods compare maps.",
        (
            "Leave these settings out, and choose methods that can be stored:",
            "$ tutelage methods",
            "$ tutelage teach --data data.yaml --teacher-weights T --method bckd",
        ),
    ),
    "C35": ErrorCode(
        "tutelage teach under torchrun",
        2,
        "tutelage teach was started by torchrun or another launcher of several processes.",
        "The processes of a run need to know of each other; those that fill a store do not.",
        (
            "Start it once for each GPU; they share the work:",
            "$ tutelage teach --data data.yaml --teacher-weights T --device cuda:0",
            "$ tutelage teach --data data.yaml --teacher-weights T --device cuda:1",
        ),
    ),
    "C36": ErrorCode(
        "report of something that is no run",
        2,
        "A folder that was given to tutelage report is neither a run nor a comparison.",
        "A run folder has a config.yaml, a comparison a comparison.json. The path may be misspelt, "
        "or be that of a weight file.",
        (
            "Give the folders of the runs, the baseline first:",
            "$ tutelage report runs/baseline runs/distilled",
        ),
    ),
    "C37": ErrorCode(
        "settings file that names code",
        2,
        "A settings file names a method or a teacher that is Python code, as my_kd:Mine. Importing "
        "it would run it. Nothing was imported.",
        "The file is that of a run or of somebody else. Code is imported where the command line "
        "names it, with --method, --teacher-weights or --set, or allows it.",
        (
            "If you trust the code, name it:",
            "$ tutelage train --resume runs/mine --allow-code my_kd:Mine",
        ),
    ),
    "C39": ErrorCode(
        "tracker without credentials",
        2,
        "W&B has no API key and would ask for one in the middle of the run.",
        "wandb login was not run on this machine, or its key is in another environment.",
        (
            "Log in once, or keep all on this machine (wandb sync can send it later):",
            "$ wandb login",
            "$ export WANDB_MODE=offline",
        ),
    ),
}
