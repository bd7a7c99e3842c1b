"""A quarter of the labels, with and without a teacher that looks at the other images.

    python benchmarks/proof/labels.py [--data bccd] [--rows all quarter] [--seeds 3]

All rows take the same number of steps on the same number of images: ``quarter`` sees its images
four times as often, ``quarter+teacher``, at ratio 2, in batches of four labelled and four others.
"""

from __future__ import annotations

from pathlib import Path

from kit import RUNS, SETS, Cell, arguments, fill, main_teacher

from tutelage.config.load import load_config
from tutelage.data import open_dataset
from tutelage.files import atomic_write_text

DATA = ("bccd", "deeppcb")


def main() -> None:
    """Train what is missing."""
    options = arguments(__doc__)
    cells = []
    for name in [name for name in DATA if name in options.data]:
        labelled, rest = quarter(name)
        epochs = load_config(config_file=SETS[name].settings).config.train.epochs
        less = ("--data", str(labelled))
        mixed = (*less, "--epochs", str(2 * epochs), "--batch", "4")
        mixed = (*mixed, "--set", f"distill.images={rest}", "--set", "distill.images_ratio=1")
        mixed = (*mixed, "--ratio", "2")
        cells += [
            Cell(row, name, seed, given, teacher)
            for seed in range(options.seeds)
            for row, given, teacher in (
                ("all", (), ""),
                ("all+teacher", ("--method", "bckd"), main_teacher(name)),
                ("quarter", (*less, "--epochs", str(4 * epochs)), ""),
                ("quarter+teacher", mixed, main_teacher(name)),
            )
        ]
    fill("labels", cells, options)


def quarter(name: str) -> tuple[Path, Path]:
    """Return a data yaml with every fourth training image, and the folder of the others."""
    source, folder = Path(SETS[name].data), RUNS / f"{name}-quarter"
    index = open_dataset(str(source), "train")
    files = [index.path(number).resolve() for number in range(len(index))]
    rest = folder / "rest"
    rest.mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(files):
        link = rest / file.name
        if number % 4 and not link.exists():
            link.symlink_to(file)
    atomic_write_text(folder / "train.txt", "".join(f"{file}\n" for file in files[::4]))
    splits = "".join(f"{split}: {source.parent}/images/{split}\n" for split in ("val", "test"))
    text = f"train: {folder}/train.txt\n{splits}names: {list(index.names)}\n"
    atomic_write_text(folder / "data.yaml", text)
    return folder / "data.yaml", rest


if __name__ == "__main__":
    main()
