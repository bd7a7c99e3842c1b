"""The default method at several learning rates: a strong ratio makes the steps longer, too.

    python benchmarks/proof/rates.py [--data raccoon] [--rows "bckd-5 0.02"] [--seeds 3]

A row is a method with its ratio, and ``optim.lr``.
"""

from __future__ import annotations

from kit import SETS, Cell, arguments, fill, main_teacher

RATES = ("0.01", "0.02", "0.05", "0.1")


def main() -> None:
    """Train what is missing."""
    options = arguments(__doc__)
    cells = []
    for seed in range(options.seeds):
        for data in SETS:
            for rate in RATES:
                lr = ("--set", f"optim.lr={rate}")
                cells.append(Cell(f"plain {rate}", data, seed, lr))
                cells += [
                    Cell(
                        f"bckd-{ratio} {rate}",
                        data,
                        seed,
                        ("--method", "bckd", "--ratio", ratio, *lr),
                        teacher=main_teacher(data),
                    )
                    for ratio in ("2", "5")
                ]
    fill("rates", cells, options)


if __name__ == "__main__":
    main()
