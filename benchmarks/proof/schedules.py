"""How long a method of features should teach: throughout, fading, or early only.

    python benchmarks/proof/schedules.py [--data bccd] [--rows "fgd third"] [--seeds 3]

Each with the ratio of its defaults.
"""

from __future__ import annotations

from kit import SETS, Cell, arguments, fill, main_teacher

from tutelage.config.load import load_config

NAMES = ("fgd", "cwd", "pkd")


def main() -> None:
    """Train what is missing."""
    options = arguments(__doc__)
    cells = []
    for data in options.data:
        epochs = load_config(config_file=SETS[data].settings).config.train.epochs
        schedules = {
            "constant": "",
            "cosine": ":schedule=cosine",
            "third": f":stop_epoch={round(epochs / 3)}",
            "third cosine": f":schedule=cosine,stop_epoch={round(epochs / 3)}",
        }
        cells += [Cell("plain", data, seed) for seed in range(options.seeds)]
        cells += [
            Cell(f"{name} {row}", data, seed, ("--method", name + given), main_teacher(data))
            for seed in range(options.seeds)
            for name in NAMES
            for row, given in schedules.items()
        ]
    fill("schedules", cells, options)


if __name__ == "__main__":
    main()
