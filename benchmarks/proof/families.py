"""Anchor-free students: alone, taught by a larger model of their own family, and by a YOLOv7.

    python benchmarks/proof/families.py [--data digits] [--rows yolov9-t@0.5] [--seeds 3]

The method is the default; a row with ``+ld`` has LD beside it. Rows with ``40 epochs`` have these
in place of the 16 of the settings, in which a YOLOX alone learns little at their learning rate.
"""

from __future__ import annotations

from kit import YOLO, Cell, arguments, fill

LARGER = {"yolox-nano": "yolox-tiny", "yolov9-t@0.5": "yolov9-t"}
LONGER = {("yolox-nano", "digits"): "40"}
PYRAMID = "p3,p4,p5"  # in place of a YOLOv7's layers, which the settings for digits name
LD = ("--method", "bckd", "--method", "ld")


def main() -> None:
    """Train what is missing."""
    options = arguments(__doc__)
    cells = []
    for data in options.data:
        for student in LARGER:
            for seed in range(options.seeds):
                cells += cells_of(student, data, seed)
                if epochs := LONGER.get((student, data)):
                    cells += cells_of(student, data, seed, epochs)
    fill("families", cells, options)


def cells_of(student: str, data: str, seed: int, epochs: str = "") -> list[Cell]:
    """Return the runs of a student, with other ``epochs`` than those of the data's settings."""
    larger, given = LARGER[student], ("--cfg", student)
    name = student
    if epochs:
        given, name = (*given, "--epochs", epochs), f"{student} {epochs} epochs"
    same: tuple[str, ...] = ()
    if data == "digits":
        given += ("--student-kd-layers", PYRAMID)
        same = ("--teacher-kd-layers", PYRAMID)
    rows = {
        name: (given, ""),
        f"{name}+{larger}": ((*given, *same), larger),
        f"{name}+yolov7": (given, YOLO),
    }
    if student.startswith("yolov9"):
        rows[f"{name}+{larger}+ld"] = ((*given, *same, *LD), larger)
    return [Cell(row, data, seed, *each) for row, each in rows.items()]


if __name__ == "__main__":
    main()
