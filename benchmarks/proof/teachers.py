"""The default method with teachers of three families.

    python benchmarks/proof/teachers.py [--data raccoon] [--rows fcos fcos-5] [--seeds 3]

A row with ``-5`` has that gradient ratio in place of the default. ``plain`` has no teacher.
``fcos`` and ``yolov8s`` need packages of their own, see ``fcos.py`` and
``../ultralytics_teacher.py``.
"""

from __future__ import annotations

from kit import SETS, YOLO, Cell, arguments, fill

TEACHERS = (YOLO, "fcos", "yolov8s")
RATIOS = {"": (), "-5": ("--ratio", "5")}


def main() -> None:
    """Train what is missing."""
    options = arguments(__doc__)
    plain = [Cell("plain", data, seed) for seed in range(options.seeds) for data in SETS]
    taught = [
        Cell(f"{teacher}{suffix}", data, seed, ("--method", "bckd", *ratio), teacher)
        for seed in range(options.seeds)
        for data in SETS
        for teacher in TEACHERS
        for suffix, ratio in RATIOS.items()
        if not (data == "digits" and teacher == "fcos")  # no photographs: nothing to start from
    ]
    fill("teachers", [*plain, *taught], options)


if __name__ == "__main__":
    main()
