"""Every method at several gradient ratios: what a default that holds everywhere would be.

    python benchmarks/proof/ratios.py [--data deeppcb] [--rows fgd-2 cwd-0.5] [--seeds 1]

A row is a method and its ratio, ``--method`` and ``--ratio`` of a training run; ``plain`` has no
teacher.
"""

from __future__ import annotations

from kit import SETS, Cell, arguments, fill, main_teacher

from tutelage.distill.methods import METHODS

RATIOS = ("0.1", "0.25", "0.5", "1", "2", "5", "10")
SPECS = {
    **{name: name for name in METHODS},
    "fgd-published": "fgd:standardise=false",
}


def main() -> None:
    """Train what is missing."""
    options = arguments(__doc__)
    cells = [
        Cell(
            f"{name}-{ratio}",
            data,
            seed,
            ("--method", spec, "--ratio", ratio),
            teacher=main_teacher(data),
        )
        for seed in range(options.seeds)
        for data in SETS
        for name, spec in SPECS.items()
        for ratio in RATIOS
    ]
    plain = [Cell("plain", data, seed) for seed in range(options.seeds) for data in SETS]
    fill("ratios", [*plain, *cells], options)


if __name__ == "__main__":
    main()
