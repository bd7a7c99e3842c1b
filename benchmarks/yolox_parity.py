"""AP of a YOLOX trained here, by our code and by the published code with the same weights.

    python benchmarks/yolox_parity.py FOLDER RUN [--data digits]

FOLDER holds the sources of YOLOX, as for ``yolox_reference.py``, and its
``yolox/data/data_augment.py``; RUN is a run folder or weight file of ``yolox-nano`` to
``yolox-x``. Its weights are put into the published network. Each network is evaluated in both
ways, by one evaluator of COCO's scores:

- ours: as in ``tutelage val``;
- published: images at the top left of the canvas, BGR in 0…255, ``postprocess`` with the
  thresholds of its evaluation. It takes the best class of a candidate only, and does not clip boxes
  to the image.

Equal columns mean that the networks are equal; the rows show what the ways differ in.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.yolox_reference import network, published

import tutelage
from tutelage.data import DatasetIndex, evaluation_loader, open_dataset
from tutelage.evaluation.evaluate import evaluate
from tutelage.evaluation.predictor import from_rows, trained_range, trained_size
from tutelage.evaluation.scores import score
from tutelage.models.catalog import ARCHITECTURES
from tutelage.weights.yolox_keys import yolox_keys

CONF, IOU = 0.01, 0.65  # of the published evaluation
LIMIT = 0.1  # of 100
Decode = Callable[[Tensor], Tensor]
"""From RGB images in 0…1 to rows ``(b, n, 5 + c)``: cx, cy, w, h, objectness, classes."""


def with_our_weights(source: Any, detector: Any) -> nn.Module:
    """Return the published network with the weights of a detector of ours."""
    size = ARCHITECTURES[detector.arch_name]
    depthwise = detector.arch_name == "yolox-nano"
    model = network(source, size.depth, size.width, depthwise, len(detector.names))
    ours = detector.state_dict()
    keys = yolox_keys({key: key for key in model.state_dict()}) or {}
    model.load_state_dict({theirs: ours[key] for key, theirs in keys.items()})
    return model.eval()


def our_way(decode: Decode, index: DatasetIndex, size: int) -> float:
    """Return the AP of ``tutelage val``."""
    loader = evaluation_loader(index, image_size=size, batch=16, workers=0)
    return evaluate(lambda images: from_rows(decode(images)), loader, index).AP


@torch.inference_mode()
def published_way(decode: Decode, index: DatasetIndex, size: int, transform: Any) -> float:
    """Return the AP of images and detections as the published evaluation makes them."""
    postprocess = importlib.import_module("yolox.utils.boxes").postprocess
    tables = [np.zeros((0, 7))]
    for position in range(len(index)):
        picture = cv2.imread(str(index.path(position)))
        canvas, _ = transform(picture, None, (size, size))
        images = torch.from_numpy(canvas)[None].flip(1) / 255
        [found] = postprocess(decode(images).clone(), len(index.names), CONF, IOU)
        if found is None:
            continue
        corners = found[:, :4].numpy() / min(size / picture.shape[0], size / picture.shape[1])
        rows = np.empty((len(found), 7))
        rows[:, 0], rows[:, 1:3] = position, corners[:, :2]
        rows[:, 3:5] = corners[:, 2:] - corners[:, :2]
        rows[:, 5], rows[:, 6] = (found[:, 4] * found[:, 5]).numpy(), found[:, 6].numpy()
        tables.append(rows)
    return score(index, np.concatenate(tables)).AP


def main() -> None:
    """Evaluate and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("run")
    parser.add_argument("--data", default="digits")
    args = parser.parse_args()
    source = published(args.folder)
    data = sys.modules["yolox.data"] = type(sys)("yolox.data")
    data.__path__ = [str(args.folder / "yolox/data")]
    transform = importlib.import_module("yolox.data.data_augment").ValTransform()

    detector = tutelage.load(args.run).eval()
    theirs = with_our_weights(source, detector)
    index = open_dataset(args.data, "val", image_range=trained_range(detector))
    networks: dict[str, Decode] = {
        "ours": lambda images: detector.head.decode_rows(detector(images).raw),
        "published": lambda images: theirs(255 * images.flip(1)),
    }
    size = trained_size(detector)
    ap: dict[tuple[str, str], float] = {}
    for name, decode in networks.items():
        ap[name, "ours"] = 100 * our_way(decode, index, size)
        ap[name, "published"] = 100 * published_way(decode, index, size, transform)
    print(f"AP of {args.run} on {len(index)} val images of {args.data}, {size} px")
    print("way \\ network        ours  published")
    for way in ("ours", "published"):
        print(f"{way:<15}  {ap['ours', way]:8.3f}   {ap['published', way]:8.3f}")
    for way in ("ours", "published"):
        assert abs(ap["ours", way] - ap["published", way]) <= LIMIT, f"{way}: not equal"


if __name__ == "__main__":
    main()
