"""Named cases of the augmentation. What it makes of them is stored, to be written anew with

python -m tests.data.augment.views > tests/golden/augment/views.json
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np

from tests.data.write_dataset import picture
from tutelage.config.schema import AugmentConfig
from tutelage.data.augment import augment
from tutelage.data.letterbox import Sample

SIZE = 96
SHAPES = ((96, 72), (60, 96), (96, 96), (96, 41))
STILL = {"hsv_h": 0, "hsv_s": 0, "hsv_v": 0, "translate": 0, "scale": 0, "scale_up": 0, "fliplr": 0}
FOUR, NINE = {"mosaic": 1, "mosaic9": 0}, {"mosaic": 1, "mosaic9": 1}
FREE = {"degrees": 20, "shear": 5, "perspective": 0.001}


class Case(NamedTuple):
    """Settings of the augmentation, whether images are joined, and the canvas."""

    settings: Mapping[str, float]
    partners: bool = True
    canvas_hw: tuple[int, int] = (SIZE, SIZE)


CASES: dict[str, Case] = {
    "letterbox": Case({**STILL, "mosaic": 0}),
    "single": Case({"mosaic": 0}),
    "closed": Case({"mosaic": 1, "mixup": 1}, partners=False),
    "rect": Case({**STILL}, partners=False, canvas_hw=(64, SIZE)),
    "rect, moved": Case({"scale": 0.4}, partners=False, canvas_hw=(64, SIZE)),
    "four": Case(FOUR),
    "four, still": Case({**STILL, **FOUR}),
    "four, mixup": Case({**FOUR, "mixup": 1}),
    "nine": Case(NINE),
    "nine, mixup": Case({**NINE, "mixup": 1}),
    "either": Case({"mosaic": 0.5, "mosaic9": 0.5, "mixup": 0.5}),
    "turned": Case({**FOUR, "degrees": 20}),
    "sheared": Case({**FOUR, "shear": 5}),
    "perspective": Case({**FOUR, "perspective": 0.001}),
    "all of them": Case({**NINE, **FREE, "mixup": 1}),
    "single, turned": Case({"mosaic": 0, **FREE}),
    "small or huge": Case({**FOUR, "scale": 0.8, "scale_up": 1.0}),
    "flips": Case({**FOUR, "flipud": 0.5, "fliplr": 0.5}),
    "colour": Case({**STILL, **FOUR, "hsv_h": 0.1, "hsv_s": 0.9, "hsv_v": 0.6}),
}
SEEDS = (0, 1, 2)


Source = Callable[[int], Sample]


def source(number: int) -> Sample:
    """An image of 96 pixels with five boxes."""
    width, height = SHAPES[number % len(SHAPES)]
    rng = np.random.default_rng(number)
    corner = rng.uniform(0, [width - 30, height - 30], (5, 2))
    xyxy = np.concatenate([corner, corner + rng.uniform(5, 30, (5, 2))], axis=1)
    return Sample(picture(width, height, number), xyxy.astype(np.float32), rng.integers(0, 3, 5))


def make(
    case: Case, rng: np.random.Generator, *, zoom: float = 1.0, image: Source = source
) -> Sample:
    """Augment an image that the generator draws."""
    first = image(int(rng.integers(1000)))
    partner = (lambda rng: image(int(rng.integers(1000)))) if case.partners else None
    config = AugmentConfig(**case.settings)  # type: ignore[arg-type]
    return augment(first, rng, config=config, canvas_hw=case.canvas_hw, partner=partner, zoom=zoom)


def record(case: Case, seed: int) -> dict[str, Any]:
    """What is stored of a view: its pixels and boxes, and what the generator draws afterwards."""
    rng = np.random.default_rng(seed)
    made = make(case, rng)
    parts = (made.image, made.xyxy, made.label)
    return {
        "bits": digest(*parts),
        "boxes": [[round(float(x), 2) for x in box] for box in made.xyxy],
        "next": int(rng.integers(2**31)),
    }


def digest(*arrays: np.ndarray) -> str:
    """A hash of arrays."""
    content = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
    return hashlib.sha256(content).hexdigest()[:16]


def rounding() -> str:
    """A hash of what OpenCV makes of a picture: its builds round differently."""
    image = picture(97, 61, 5)
    turned = np.array([[0.9, 0.2, 3.1], [-0.2, 1.1, 2.7]])
    return digest(
        cv2.resize(image, (130, 77), interpolation=cv2.INTER_LINEAR),
        cv2.resize(image, (67, 50), interpolation=cv2.INTER_LINEAR),
        cv2.warpAffine(image, turned, (90, 90)),
        cv2.warpPerspective(image, np.vstack([turned, [0.001, 0.0005, 1]]), (90, 90)),
        cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2HSV), cv2.COLOR_HSV2RGB),
        cv2.addWeighted(image, 0.3, image[::-1], 0.7, 0),
    )


if __name__ == "__main__":
    views = {name: [record(case, seed) for seed in SEEDS] for name, case in CASES.items()}
    text = json.dumps({"rounding": rounding(), "views": views}, indent=1)
    print(re.sub(r"\[\s+([-\d.,\s]+?)\s+\]", lambda box: f"[{' '.join(box[1].split())}]", text))
