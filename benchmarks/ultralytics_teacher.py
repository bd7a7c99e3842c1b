"""Train a teacher of another family, through its own public API.

    pip install ultralytics
    python benchmarks/ultralytics_teacher.py [--model yolov8n.yaml] [--epochs 60] [--data bccd.yaml]
    tutelage compare --config benchmarks/digits.yaml --seeds 3 \
      --teacher-weights ultralytics:runs/ultralytics/weights/best.pt --teacher-kd-layers p3,p4,p5

The teacher is trained from scratch on the very images of the students. Ultralytics is AGPL-3.0 and
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
    parser.add_argument("--data", default="digits", help="digits, which are not flipped, or a yaml")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--folder", default="runs/ultralytics")
    args = parser.parse_args()
    from ultralytics import YOLO  # pyright: ignore[reportMissingImports]

    images = open_dataset(args.data, "train")
    folder = Path(args.folder).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "data.yaml"
    splits = {split: f"images/{split}" for split in ("train", "val", "test")}
    names = dict(enumerate(images.names))
    data.write_text(yaml.safe_dump({"path": str(images.root), **splits, "names": names}))
    YOLO(args.model).train(
        data=str(data),
        epochs=args.epochs,
        imgsz=args.image_size,
        batch=16,
        device="cpu",
        workers=0,
        pretrained=False,
        fliplr=0.0 if args.data == "digits" else 0.5,
        mosaic=0.0,
        project=str(folder.parent),
        name=folder.name,
        exist_ok=True,
        plots=False,
    )
    print(f"--teacher-weights ultralytics:{folder / 'weights' / 'best.pt'}")


if __name__ == "__main__":
    main()
