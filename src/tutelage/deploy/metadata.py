"""The metadata of an exported file."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, ValidationError

from tutelage.errors import WeightsError

MARK = "tutelage"
RANDOM = "random"  # instead of the name of a weight file


class Suppression(BaseModel):
    """Settings of the suppression inside the file.

    Attributes:
        conf: Candidates must score more than this.
        iou: Overlap limit.
        max_detections: Limit per image; the best are kept.
    """

    model_config = ConfigDict(frozen=True)

    conf: float
    iou: float
    max_detections: int


class Metadata(BaseModel):
    """The metadata of an exported file.

    Attributes:
        description: Inputs and outputs, for people.
        tutelage: Version that wrote it.
        arch: Name of the architecture.
        names: Class names.
        grey: Whether the network turns its images grey.
        stride: Both sides of the images must be multiples of it.
        strides: Pixels per cell of each level.
        image_size: The size it was made for, in pixels.
        image_range: The values of 0 and 1 in pictures of more than 8 bits, or None.
        parameters: Number of parameters.
        gflops: Operations in 1e9 for one square image of that size.
        precision: ``float32``, ``float16`` or ``int8``, of the weights; inputs and outputs are
            always float32.
        nms: The suppression inside, or None.
        weights: Name of the weight file; ``random`` for an untrained architecture.
        sha256: Of the weight file.
        data: Name of the data set of the training, if known.
        scores: Validation scores of the training.
        training: Its epochs and seed.
        teachers: Names of its teachers.
    """

    model_config = ConfigDict(frozen=True)

    description: str = ""
    tutelage: str
    arch: str
    names: tuple[str, ...]
    grey: bool = False
    stride: int
    strides: tuple[int, ...] = ()
    image_size: int
    image_range: tuple[float, float] | None = None
    parameters: int
    gflops: float
    precision: str = "float32"
    nms: Suppression | None = None
    weights: str = ""
    sha256: str = ""
    data: str = ""
    scores: dict[str, float] = {}
    training: dict[str, int] = {}
    teachers: tuple[str, ...] = ()

    def described(self) -> Metadata:
        """Return the metadata with a description made from it."""
        out = (
            "boxes (b, n, 4), corners x1 y1 x2 y2 in pixels of the canvas, and scores (b, n, "
            f"{len(self.names)}) in 0..1, before suppression"
            if self.nms is None
            else "detections (m, 7): number of the image in the batch, x1, y1, x2, y2 in pixels of "
            "the canvas, class, score; best score first"
        )
        text = (
            f"{self.arch}, {len(self.names)} classes, {self.precision}. In: images (b, 3, h, w) "
            f"float32, RGB in 0..1{', turned grey inside' * self.grey}, sides multiples of "
            f"{self.stride}, made for {self.image_size}; fit the picture and pad it with 114/255. "
            f"Out: {out}."
        )
        return self.model_copy(update={"description": text})

    def strings(self) -> dict[str, str]:
        """Return every entry as JSON text."""
        return {key: json.dumps(value) for key, value in self.model_dump(mode="json").items()}

    @classmethod
    def read(cls, strings: Mapping[str, str], source: str) -> Metadata:
        """Read what :meth:`strings` wrote.

        Raises:
            WeightsError: The file was not exported by tutelage.
        """
        try:
            return cls.model_validate(
                {key: json.loads(strings[key]) for key in cls.model_fields if key in strings}
            )
        except (ValidationError, ValueError) as error:
            raise WeightsError(
                f"{source} has no metadata of classes and stride: not exported by tutelage.",
                fix="Export the checkpoint:  tutelage export RUN --to onnx",
                code="W26",
            ) from error
