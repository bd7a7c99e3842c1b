"""Every method at its defaults, against the student without a teacher.

    python benchmarks/proof/methods.py [--data deeppcb] [--rows plain bckd] [--seeds 3]

All methods on digits; on real images every method once, and the best five on digits and FGD with
every seed.
``fgd-published`` compares maps as they are, as the paper does.
"""

from __future__ import annotations

from kit import SETS, Cell, arguments, fill, main_teacher

from tutelage.distill.methods import METHODS

SPECS = {**{name: name for name in METHODS}, "fgd-published": "fgd:standardise=false"}
REPEATED = ("bckd", "fgd", "cwd", "pkd", "fitnet", "objectness")  # on real images with every seed


def main() -> None:
    """Train what is missing."""
    options = arguments(__doc__)
    cells = [
        cell
        for seed in range(options.seeds)
        for data in SETS
        for cell in (
            Cell("plain", data, seed),
            *(
                Cell(row, data, seed, ("--method", spec), teacher=main_teacher(data))
                for row, spec in SPECS.items()
                if seed == 0 or data == "digits" or row in REPEATED
            ),
        )
    ]
    fill("methods", cells, options)


if __name__ == "__main__":
    main()
