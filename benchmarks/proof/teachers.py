"""The default method with teachers of three families.

    python benchmarks/proof/teachers.py [--data raccoon] [--rows fcos] [--seeds 3]

``fcos`` and ``yolov8s`` need packages of their own, see ``fcos.py`` and
``../ultralytics_teacher.py``. ``plain`` has no teacher.
"""

from __future__ import annotations

from kit import SETS, YOLO, Cell, arguments, fill

TEACHERS = {"plain": "", YOLO: YOLO, "fcos": "fcos", "yolov8s": "yolov8s"}


def main() -> None:
    """Train what is missing."""
    options = arguments(__doc__)
    cells = [
        Cell(row, data, seed, ("--method", "bckd") if teacher else (), teacher)
        for seed in range(options.seeds)
        for data in SETS
        for row, teacher in TEACHERS.items()
        if not (data == "digits" and teacher == "fcos")  # no photographs: nothing to start from
    ]
    fill("teachers", cells, options)


if __name__ == "__main__":
    main()
