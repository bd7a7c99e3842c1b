"""The metadata of an exported file."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, ValidationError

from tutelage.errors import WeightsError

MARK = "tutelage"
METADATA_FILE = "tutelage.json"  # in files that are archives
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
        shape: Number, height and width of the images if they are fixed, else None.
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
    shape: tuple[int, int, int] | None = None
    nms: Suppression | None = None
    weights: str = ""
    sha256: str = ""
    data: str = ""
    scores: dict[str, float] = {}
    training: dict[str, int] = {}
    teachers: tuple[str, ...] = ()

    def described(self, images: str = "", more: str = "") -> Metadata:
        """Return the metadata with a description made from it.

        Args:
            images: The shape of the input if it is not ``(b, 3, h, w)``.
            more: What else is to be known.
        """
        sides = f", sides multiples of {self.stride}, made for {self.image_size}"
        batch = "b"
        if self.shape is not None:
            batch, height, width = map(str, self.shape)
            images, sides = images or f"({batch}, 3, {height}, {width})", ""
        text = (
            f"{self.arch}, {len(self.names)} classes, {self.precision}. In: images "
            f"{images or '(b, 3, h, w)'} float32, RGB in 0..1{', turned grey inside' * self.grey}"
            f"{sides}; fit the picture and pad it with 114/255. Out: {self._outputs(batch)}.{more}"
        )
        return self.model_copy(update={"description": text})

    def _outputs(self, batch: str) -> str:
        if self.nms is None:
            return (
                f"boxes ({batch}, n, 4), corners x1 y1 x2 y2 in pixels of the canvas, and scores "
                f"({batch}, n, {len(self.names)}) in 0..1, before suppression"
            )
        if self.shape is None:
            return (
                "detections (m, 7): number of the image in the batch, x1, y1, x2, y2 in pixels of "
                "the canvas, class, score; best score first"
            )
        return (
            f"detections ({batch}, k, 6): x1, y1, x2, y2 in pixels of the canvas, score, class; "
            f"best score first, then rows of zeros, k = {self.nms.max_detections} or the number "
            "of candidates"
        )

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
            raise _foreign(source) from error

    @classmethod
    def read_json(cls, text: str | bytes, source: str) -> Metadata:
        """Read what ``model_dump_json`` wrote.

        Raises:
            WeightsError: The file was not exported by tutelage.
        """
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise _foreign(source) from error


def _foreign(source: str) -> WeightsError:
    return WeightsError(
        f"{source} has no metadata of classes and stride: not exported by tutelage.",
        fix="Export the checkpoint:  tutelage export RUN --to onnx",
        code="W26",
    )
