"""Codes of a run that is under way: exit status 1, and of stopping and resuming it."""

from collections.abc import Mapping

from tutelage.cli.codes.entry import ErrorCode

RUNS: Mapping[str, ErrorCode] = {
    "R00": ErrorCode(
        "run that stopped",
        1,
        "The run found a problem with which it must not continue. Its last good files are kept.",
        "The message gives the reason.",
        ("Fix it, then continue from the last save:", "$ tutelage train --resume runs/distilled"),
    ),
    "R13": ErrorCode(
        "out of memory",
        1,
        "The device or the machine has no memory left for this batch. The run folder is intact.",
        "A large batch, image or model; a teacher beside the student; another program on the same "
        "device; on the CPU also many loader workers or cached images.",
        (
            "Find the largest batch that fits; gradients are accumulated to the same nominal "
            "batch:",
            "$ tutelage train --batch-size auto",
            "Or use less memory per image:",
            "$ tutelage train --img-size 512 --precision bf16",
            "On the CPU:",
            "$ tutelage train --workers 2",
        ),
    ),
    "R14": ErrorCode(
        "loss that is not finite",
        1,
        "A loss term or a weight became NaN or infinite. The run stopped before saving it: the "
        "files are from before.",
        "Too high a learning rate, an overflow in float16, far too large a weight of a method, or "
        "images with broken labels. The message names the term, the step and the images.",
        (
            "Lower the learning rate or the distillation loss, or use another precision:",
            "$ tutelage train --set optim.lr=0.002",
            "$ tutelage train --set distill.ratio=0.5",
            "$ tutelage train --precision bf16",
            "Inspect the images that the message names:",
            "$ tutelage check data.yaml --html atlas.html",
        ),
    ),
    "R15": ErrorCode(
        "stopped by Ctrl-C or SIGTERM",
        130,
        "You or the cluster stopped the command. A run saves first, then stops; a second Ctrl-C "
        "stops at once and keeps the previous save.",
        "Ctrl-C in the terminal, or a SIGTERM.",
        (
            "Continue exactly where it stopped:",
            "$ tutelage train --resume runs/distilled",
            "$ tutelage train --resume",
        ),
    ),
    "R16": ErrorCode(
        "resume with other settings",
        2,
        "A run is resumed with its own settings: a flag contradicts them, or the run is finished.",
        "A flag given with --resume that would change the results, or a finished run.",
        (
            "Leave the flag out:",
            "$ tutelage train --resume runs/distilled",
            "Or start a new run from its weights:",
            "$ tutelage train --weights runs/distilled/best.safetensors --epochs 50",
        ),
    ),
    "R22": ErrorCode(
        "nothing to resume",
        2,
        "There is no such run folder, or it was stopped before its first save.",
        "A typing error, another --project, or a folder that is not a run folder.",
        ("Without a name the newest run in runs/ is taken:", "$ tutelage train --resume"),
    ),
    "R23": ErrorCode(
        "run folder that cannot be written",
        1,
        "A file of the run could not be written. The previous last.pt and best.safetensors are "
        "intact.",
        "A full disk, or a folder that became read-only or was removed.",
        (
            "Free disk space, then continue from the last save:",
            "$ tutelage train --resume runs/distilled",
        ),
    ),
    "R24": ErrorCode(
        "another process of the run has ended",
        1,
        "A run on several devices cannot continue when one of its processes has ended.",
        "That process failed (see its own message), or its machine or the network did.",
        (
            "Restart all of them from the last save:",
            "$ tutelage train --resume runs/distilled --devices 4",
        ),
    ),
    "R25": ErrorCode(
        "many steps skipped in float16",
        None,
        "Gradients overflow in float16; such a step is skipped.",
        "A loss too large for float16. A few skipped steps at the beginning are usual.",
        ("$ tutelage train --precision bf16", "$ tutelage train --precision fp32"),
    ),
    "R26": ErrorCode(
        "some runs of a comparison failed",
        1,
        "Runs of a comparison ended with an error; the others are complete.",
        "The message of each was shown when it ended.",
        ("Run the same command again: finished runs are kept, failed ones are repeated.",),
    ),
    "R27": ErrorCode(
        "method parameters that differ between processes",
        1,
        "The parameters of a distillation method differ between the processes of a run.",
        "A custom method that changes its parameters other than by gradients, or initialises them "
        "differently on each process.",
        ("Change parameters by gradients only; keep statistics in buffers.",),
    ),
    "R28": ErrorCode(
        "system error",
        1,
        "The operating system refused to read, write or start something.",
        "Permissions, a file that is a folder, too many open files, a program that was killed.",
        ("Show the traceback:", "$ tutelage train --debug"),
    ),
    "R29": ErrorCode(
        "run folder in use",
        2,
        "Another process is training in the run folder; two would overwrite each other's files.",
        "A run that was resumed twice, or that has not ended yet.",
        (
            "Wait for the other process, or stop it (it saves first). Then:",
            "$ tutelage train --resume",
        ),
    ),
    "R34": ErrorCode(
        "loader process out of memory",
        1,
        "A process that reads and augments images ran out of memory, or the system ended it. "
        "Files saved before are intact.",
        "Each loader process holds several batches. If the machine or container runs out of "
        "memory, Linux kills a process; or /dev/shm, through which batches are passed, is too "
        "small: 64 MiB by default in Docker.",
        (
            "Use fewer loader processes, no --cache-images, or none:",
            "$ tutelage train --workers 2",
            "$ tutelage train --workers 0",
            "Or give the container more shared memory:",
            "$ docker run --shm-size=8g",
            "A run can continue from its last save with other numbers:",
            "$ tutelage train --resume runs/distilled --workers 2",
        ),
    ),
    "R38": ErrorCode(
        "name of an earlier run",
        None,
        "There is a run folder of that --name already. It stays as it is, and this run is written "
        "beside it, with a number: runs/teacher-02.",
        "The same --name a second time.",
        (
            "Name the folder with its number in the commands that follow:",
            "$ tutelage val runs/teacher-02",
            "Or write over the earlier run, or choose another name:",
            "$ tutelage train --name teacher --exist-ok",
        ),
    ),
    "R39": ErrorCode(
        "run without a report",
        None,
        "The run is complete, but its page report.html could not be written.",
        "The data or weights were moved while it ran, or the disk is full.",
        (
            "Mend what the message names, then write it:",
            "$ tutelage report runs/distilled",
        ),
    ),
    "R41": ErrorCode(
        "tracker that does not get all of a run",
        None,
        "A tracker has raised an error. The run goes on as it would without it, and its own files "
        "are complete; the tracker gets what it takes again.",
        "Its server is gone or refuses, or its disk is full.",
        (
            "Mend what the message names; values that come later are tracked again. Without it:",
            "$ tutelage train --resume runs/distilled --set run.track=[]",
        ),
    ),
    "F00": ErrorCode(
        "unexpected error",
        1,
        "An error without a message of its own: a bug in tutelage.",
        "The traceback is in crash.txt in the run folder, or in tutelage-crash.txt.",
        (
            "Please report it with that file. Show the traceback on the screen:",
            "$ tutelage train --debug",
        ),
    ),
}
