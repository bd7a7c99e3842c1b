"""Train a teacher of another family on the built-in digits, through its own public API.

    pip install ultralytics
    python benchmarks/ultralytics_teacher.py [--model yolov8n.yaml] [--epochs 60]
    tutelage compare --config benchmarks/digits.yaml --seeds 3 \
      --teacher-weights ultralytics:runs/ultralytics/weights/best.pt --teacher-kd-layers p3,p4,p5

The teacher is trained from scratch on the very scenes of the students. Ultralytics is AGPL-3.0 and
no dependency of Tutelage.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from tutelage.data import open_dataset


def main() -> None:
    """Train and say where the weights are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="yolov8n.yaml")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--folder", default="runs/ultralytics")
    args = parser.parse_args()
    from ultralytics import YOLO  # pyright: ignore[reportMissingImports]

    digits = open_dataset("digits", "train")
    folder = Path(args.folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "digits.yaml"
    splits = {split: f"images/{split}" for split in ("train", "val", "test")}
    names = dict(enumerate(digits.names))
    data.write_text(yaml.safe_dump({"path": str(digits.root), **splits, "names": names}))
    YOLO(args.model).train(
        data=str(data),
        epochs=args.epochs,
        imgsz=128,
        batch=16,
        device="cpu",
        workers=0,
        pretrained=False,
        fliplr=0.0,  # digits must not be flipped
        mosaic=0.0,
        project=str(folder.parent),
        name=folder.name,
        exist_ok=True,
        plots=False,
    )
    print(f"--teacher-weights ultralytics:{folder / 'weights' / 'best.pt'}")


if __name__ == "__main__":
    main()
