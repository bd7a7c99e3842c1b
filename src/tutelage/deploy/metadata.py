"""What an exported file says of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, ValidationError

from tutelage.errors import WeightsError

MARK = "tutelage"


class Suppression(BaseModel):
    """Settings of a suppression inside the file.

    Attributes:
        conf: Candidates must score more than this.
        iou: Overlap limit.
        max_detections: At most so many per image and class.
    """

    model_config = ConfigDict(frozen=True)

    conf: float
    iou: float
    max_detections: int


class Metadata(BaseModel):
    """What stands in an exported file beside the graph.

    Attributes:
        tutelage: Version that wrote it.
        arch: Name of the architecture.
        names: Class names.
        stride: Both sides of the images must be multiples of it.
        image_size: The size it was made for, in pixels.
        parameters: Their number.
        gflops: Operations in 1e9 for one square image of that size.
        precision: ``float32`` or ``int8``.
        nms: The suppression inside, or None.
    """

    model_config = ConfigDict(frozen=True)

    tutelage: str
    arch: str
    names: tuple[str, ...]
    stride: int
    image_size: int
    parameters: int
    gflops: float
    precision: str = "float32"
    nms: Suppression | None = None

    def strings(self) -> dict[str, str]:
        """Return every entry as JSON text, which every format can hold."""
        return {key: json.dumps(value) for key, value in self.model_dump(mode="json").items()}

    @classmethod
    def read(cls, strings: Mapping[str, str], source: str) -> Metadata:
        """Read what :meth:`strings` wrote.

        Raises:
            WeightsError: The file was not exported by this program.
        """
        try:
            return cls.model_validate(
                {key: json.loads(strings[key]) for key in cls.model_fields if key in strings}
            )
        except (ValidationError, ValueError) as error:
            raise WeightsError(
                f"{source} does not say its classes and stride: not exported by tutelage.",
                fix="Export the checkpoint:  tutelage export RUN --to onnx",
                code="W26",
            ) from error
