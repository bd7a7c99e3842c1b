"""Anchor-free students: alone, taught by a larger model of their own family, and by a YOLOv7.

    python benchmarks/proof/families.py [--data digits] [--rows yolov9-t@0.5] [--seeds 3]

The method is the default; a row with ``+ld`` has LD beside it.
"""

from __future__ import annotations

from kit import YOLO, Cell, arguments, fill

LARGER = {"yolox-nano": "yolox-tiny", "yolov9-t@0.5": "yolov9-t"}
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
    fill("families", cells, options)


def cells_of(student: str, data: str, seed: int) -> list[Cell]:
    """Return the runs of a student."""
    larger = LARGER[student]
    given: tuple[str, ...] = ("--cfg", student)
    same: tuple[str, ...] = ()
    if data == "digits":
        given += ("--student-kd-layers", PYRAMID)
        same = ("--teacher-kd-layers", PYRAMID)
    rows = {
        student: (given, ""),
        f"{student}+{larger}": ((*given, *same), larger),
        f"{student}+yolov7": (given, YOLO),
    }
    if student.startswith("yolov9"):
        rows[f"{student}+{larger}+ld"] = ((*given, *same, *LD), larger)
    return [Cell(row, data, seed, *each) for row, each in rows.items()]


if __name__ == "__main__":
    main()
