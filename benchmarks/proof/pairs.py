"""Features beside responses, against the responses alone.

    python benchmarks/proof/pairs.py [--data digits] [--rows bckd-2 bckd+fgd] [--seeds 3]

``bckd`` has a ratio of 2, as beside FGD for ``auto``, and a method of features its default, unless
the row says otherwise. ``early`` methods of features stop after a third of the epochs.
"""

from __future__ import annotations

from kit import SETS, Cell, arguments, fill, main_teacher

from tutelage.config.load import load_config

RESPONSES = ("--method", "bckd:ratio=2")
STRONG = ("--method", "bckd:ratio=5")


def main() -> None:
    """Train what is missing."""
    options = arguments(__doc__)
    cells = []
    for data in options.data:
        epochs = load_config(config_file=SETS[data].settings).config.train.epochs
        early = f"stop_epoch={round(epochs / 3)}"
        pairs = {
            "bckd-2": RESPONSES,
            "bckd+fgd": (*RESPONSES, "--method", "fgd:ratio=1"),
            "bckd+pkd": (*RESPONSES, "--method", "pkd:ratio=1"),
            "bckd-5": STRONG,
            "bckd-5+fgd-0.5": (*STRONG, "--method", "fgd:ratio=0.5"),
            "bckd-5+pkd-0.5": (*STRONG, "--method", "pkd:ratio=0.5"),
            "bckd+fgd early": (*RESPONSES, "--method", f"fgd:ratio=1,{early}"),
            "bckd+pkd early": (*RESPONSES, "--method", f"pkd:ratio=1,{early}"),
        }
        cells += [
            Cell(row, data, seed, given, main_teacher(data))
            for seed in range(options.seeds)
            for row, given in pairs.items()
        ]
    fill("pairs", cells, options)


if __name__ == "__main__":
    main()
