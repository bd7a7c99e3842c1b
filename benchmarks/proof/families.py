"""Anchor-free students: alone, taught by a larger model of their own family, and by a YOLOv7.

    python benchmarks/proof/families.py [--data digits] [--rows yolov9-t@0.5] [--seeds 3]

The method is the default; a row with ``+ld`` has LD beside it.
"""

from __future__ import annotations

from kit import YOLO, Cell, arguments, fill

LARGER = {"yolox-nano": "yolox-tiny", "yolov9-t@0.5": "yolov9-t"}
LONGER = {("yolox-nano", "digits"): ("--epochs", "40")}  # after 16 it has learnt little
PYRAMID = "p3,p4,p5"  # in place of a YOLOv7's layers, which the settings for digits name
LD = ("--method", "bckd", "--method", "ld")


def main() -> None:
    """Train what is missing."""
    options = arguments(__doc__)
    cells = []
    for data in options.data:
        for student, larger in LARGER.items():
            given: tuple[str, ...] = ("--cfg", student, *LONGER.get((student, data), ()))
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
            cells += [
                Cell(row, data, seed, options_of_row, teacher)
                for seed in range(options.seeds)
                for row, (options_of_row, teacher) in rows.items()
            ]
    fill("families", cells, options)


if __name__ == "__main__":
    main()
