"""``loss.scaling`` and the gain of classes: plain students, by data set and seed.

    python benchmarks/proof/scaling.py [--data bccd] [--rows auto reference] [--seeds 3]

The runs take minutes each; those that are in ``results/`` are not repeated.
"""

from __future__ import annotations

from kit import SETS, Cell, arguments, fill

ROWS = {
    "auto": (),  # the default
    "reference": ("--set", "loss.scaling=reference"),
}


def main() -> None:
    """Train what is missing."""
    options = arguments(__doc__)
    cells = [
        Cell(row, data, seed, values)
        for seed in range(options.seeds)
        for data in SETS
        for row, values in ROWS.items()
    ]
    fill("scaling", cells, options)


if __name__ == "__main__":
    main()
