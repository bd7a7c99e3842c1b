"""Codes of stored teaching: exit status 4."""

from collections.abc import Mapping

from tutelage.cli.codes.entry import ErrorCode

STORED: Mapping[str, ErrorCode] = {
    "T40": ErrorCode(
        "no such store",
        4,
        "There is no folder of that name.",
        "A typing error, a path as seen from another folder, or a store that was removed.",
        ("List those that there are:", "$ tutelage store list", "$ tutelage store list elsewhere"),
    ),
    "T41": ErrorCode(
        "folder that is not a store",
        4,
        "The folder has no store.json, which says what the records of a store are.",
        "The folder of all stores, or another folder, in place of that of one store.",
        ("List the stores in it:", "$ tutelage store list runs/store"),
    ),
    "T42": ErrorCode(
        "store of a later version",
        4,
        "What a teacher said was stored in a format that this version of tutelage does not know.",
        "Another machine, or another environment, has a later version.",
        (
            "Update this one:",
            "$ pip install -U tutelage",
            "Or let this version make a store of its own elsewhere, with distill.store.",
        ),
    ),
    "T43": ErrorCode(
        "store whose description is damaged",
        4,
        "store.json is not valid, or its description was changed: what the records depend on is "
        "not known, so they are not used.",
        "A disk error, or a file that was edited.",
        (
            "Remove it; the next run asks the teacher again:",
            "$ tutelage store remove runs/store/NAME",
        ),
    ),
    "T44": ErrorCode(
        "store in use",
        4,
        "Another process writes to the store, or is removing it.",
        "A run, or tutelage teach, that has not ended yet.",
        ("Wait for it, or stop it. Then:", "$ tutelage store remove runs/store/NAME"),
    ),
    "T45": ErrorCode(
        "answer that is not stored",
        4,
        "A store was named as the teacher, it lacks an answer that this run needs, and a store "
        "cannot be asked.",
        "It was filled for other settings, data, views or methods, it is not full, or a record is "
        "damaged.",
        (
            "See what it was filled for, and whether it is intact:",
            "$ tutelage store list --json",
            "$ tutelage store verify runs/store/NAME",
            "Fill it with the teacher, or train with the teacher itself:",
            "$ tutelage teach --data data.yaml --teacher-weights teacher.pt",
            "$ tutelage train --data data.yaml --teacher-weights teacher.pt",
        ),
    ),
    "T48": ErrorCode(
        "nothing more is stored",
        None,
        "What the teacher says cannot be stored any more; it is asked in every epoch instead. The "
        "run ends with the same result and takes longer.",
        "A full disk, distill.store_gib used up, or a folder that may not be written.",
        (
            "Remove other stores, then continue the run:",
            "$ tutelage store list",
            "$ tutelage train --resume runs/NAME",
        ),
    ),
    "T49": ErrorCode(
        "store that cannot be filled",
        4,
        "tutelage teach cannot write to a store any more. What was answered before is stored.",
        "The disk is full, the folder cannot be written, or distill.store_gib is used up.",
        (
            "See how large the stores are, and remove those that nobody needs:",
            "$ tutelage store list",
            "$ tutelage store remove --older-than 30",
            "Or use another disk, in the run too, with distill.store=FOLDER.",
            "Then give the same command: it goes on.",
        ),
    ),
    "T50": ErrorCode(
        "teacher that is asked in every step all the same",
        None,
        "Several teachers were given, and what the methods read of one of them cannot be stored: a "
        "run needs it, and runs it in every step.",
        "crosskd runs layers of the teacher on the student's maps; distill.store_features=off "
        "keeps maps out of the store.",
        (
            "Choose methods that read predictions or maps alone:",
            "$ tutelage methods",
        ),
    ),
}
