"""Which part of a teacher's answers its student lacks: AP with that part taken from the teacher.

    python benchmarks/gap_parts.py STUDENT TEACHER [--data digits] [--image-size 128]

Two models with the same candidates, weight files or run folders. What the teacher's boxes add to
the student's scores is lost in the boxes, what its classes and objectness add to the student's
boxes is lost there; on the val split, without test-time augmentation.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from tutelage.data import evaluation_loader, open_dataset
from tutelage.evaluation import evaluate
from tutelage.structures import Predictions
from tutelage.teachers import load_teacher

PARTS = {
    "student": (),
    "its boxes from the teacher": ("xyxy",),
    "its objectness": ("objectness",),
    "its classes": ("logits",),
    "its objectness and classes": ("objectness", "logits"),
    "teacher": ("xyxy", "objectness", "logits"),
}


def main() -> None:
    """Evaluate and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("student")
    parser.add_argument("teacher")
    parser.add_argument("--data", default="digits")
    parser.add_argument("--image-size", type=int, default=128)
    args = parser.parse_args()
    student, teacher = (
        load_teacher(name, torch.device("cpu")) for name in (args.student, args.teacher)
    )
    index = open_dataset(args.data, "val")

    def mixed(parts: tuple[str, ...]) -> Callable[[Tensor], Predictions]:
        def predict(images: Tensor) -> Predictions:
            ours, theirs = (each(images, predictions=True) for each in (student, teacher))
            taken = {part: getattr(theirs.predictions, part) for part in parts}
            return ours.predictions._replace(**taken)

        return predict

    for title, parts in PARTS.items():
        loader = evaluation_loader(index, image_size=args.image_size, batch=16, workers=0)
        scores = evaluate(mixed(parts), loader, index)
        print(f"{title:28} AP {100 * scores.AP:.1f}  AP75 {100 * scores.AP75:.1f}")


if __name__ == "__main__":
    main()
