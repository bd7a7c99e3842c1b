"""Codes of a run that is under way: exit status 1, and of stopping and resuming it."""

from collections.abc import Mapping

from tutelage.cli.codes.entry import ErrorCode

RUNS: Mapping[str, ErrorCode] = {
    "R00": ErrorCode(
        "run that had to stop",
        1,
        "The run found something with which it must not go on. Its last good files are kept.",
        "The message says what it found.",
        ("Go on from the last save when it is mended:", "$ tutelage train --resume runs/distilled"),
    ),
    "R13": ErrorCode(
        "out of memory",
        1,
        "The device, or the machine, has no memory left for this batch. The run folder is intact.",
        "A large batch, image or model; a teacher beside the student; another program on the same "
        "device; on the CPU also many loader workers or cached images.",
        (
            "Let the largest batch that fits be found; gradients still add up to the same number:",
            "$ tutelage train --batch-size auto",
            "Or need less per image:",
            "$ tutelage train --img-size 512 --precision bf16",
            "On the CPU:",
            "$ tutelage train --workers 2",
        ),
    ),
    "R14": ErrorCode(
        "loss that is not finite",
        1,
        "A term of the loss, or the weights, became NaN or infinite. The run stopped before "
        "anything was saved with it: the files are from before.",
        "A learning rate too high, float16 that overflows, a weight of a method far too large, or "
        "images with broken labels. The message names the term, the step and the images.",
        (
            "Lower the learning rate, or the part of the teacher, or use another precision:",
            "$ tutelage train --set optim.lr=0.002",
            "$ tutelage train --set distill.ratio=0.5",
            "$ tutelage train --precision bf16",
            "Look at the images that were named:",
            "$ tutelage check data.yaml --html atlas.html",
        ),
    ),
    "R15": ErrorCode(
        "stopped by Ctrl-C or SIGTERM",
        130,
        "You, or the cluster, stopped the command. A run saves first, then stops; a second Ctrl-C "
        "stops at once, and the save before it stays.",
        "Ctrl-C in the terminal, or a SIGTERM.",
        (
            "Continue exactly where it was:",
            "$ tutelage train --resume runs/distilled",
            "$ tutelage train --resume",
        ),
    ),
    "R16": ErrorCode(
        "resume with other settings",
        2,
        "A run is resumed as it was: a flag contradicts its settings, or nothing is left to do.",
        "A flag beside --resume that would change what is computed, or a run that is finished.",
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
        "A typing error, another --project, or a folder that is no run.",
        (
            "Without a name the newest run in runs/ is taken:",
            "$ tutelage train --resume",
        ),
    ),
    "R23": ErrorCode(
        "run folder that cannot be written",
        1,
        "A file of the run could not be written. The last.pt and best.safetensors from before are "
        "whole.",
        "A full disk, a folder that became read-only, or one that was removed.",
        (
            "Make room, then go on from the last save:",
            "$ tutelage train --resume runs/distilled",
        ),
    ),
    "R24": ErrorCode(
        "another process of the run has ended",
        1,
        "A run on several devices cannot go on when one of its processes is gone.",
        "That process failed; its own message says why. Or its machine or the network did.",
        (
            "Start all of them again, from the last save:",
            "$ tutelage train --resume runs/distilled --devices 4",
        ),
    ),
    "R25": ErrorCode(
        "many steps skipped in float16",
        None,
        "Gradients overflow in float16; such a step is left out and nothing is learnt from it.",
        "A loss too large for float16. A few skipped steps at the beginning are usual.",
        ("$ tutelage train --precision bf16", "$ tutelage train --precision fp32"),
    ),
    "R26": ErrorCode(
        "some runs of a comparison failed",
        1,
        "Runs of a comparison ended with an error; the others are whole.",
        "The message of each was shown where it ended.",
        ("Give the same command again: what is finished stays, the failed ones are tried again.",),
    ),
    "R27": ErrorCode(
        "processes that hold different methods",
        1,
        "The parameters of the methods differ between the processes of a run.",
        "A method of your own that changes its parameters other than by their gradients, or draws "
        "them differently on each process.",
        ("Let gradients alone change parameters; keep statistics in buffers.",),
    ),
    "R28": ErrorCode(
        "the system refused",
        1,
        "The operating system refused to read, write or start something.",
        "Permissions, a file that is a folder, too many open files, a program that was killed.",
        ("See what led to it:", "$ tutelage train --debug"),
    ),
    "R29": ErrorCode(
        "run folder in use",
        2,
        "Another process is training in the run folder, and two would spoil each other's files.",
        "A run that was resumed twice, or one that has not ended yet.",
        ("Wait for the other one, or stop it; it saves first. Then:", "$ tutelage train --resume"),
    ),
    "R34": ErrorCode(
        "loader process without memory",
        1,
        "A process that reads and augments images had no memory left, or the system ended it. What "
        "was saved before is whole.",
        "Each loader process holds several batches. The machine, or the container, had no memory "
        "for all of them, and Linux kills a process then; or /dev/shm, through which batches are "
        "passed, is small: 64 MiB in a Docker container that nobody gave more.",
        (
            "Use fewer of them, without images kept in memory, or none:",
            "$ tutelage train --workers 2",
            "$ tutelage train --workers 0",
            "Or give the container more shared memory:",
            "$ docker run --shm-size=8g",
            "A run can go on from its last save with other numbers:",
            "$ tutelage train --resume runs/distilled --workers 2",
        ),
    ),
    "F00": ErrorCode(
        "unforeseen",
        1,
        "Something happened that no message was written for: a fault of tutelage.",
        "The traceback is in crash.txt in the run folder, or in tutelage-crash.txt.",
        (
            "Please report it with that file. See the traceback at once:",
            "$ tutelage train --debug",
        ),
    ),
}
