"""What the report and the atlas of ``check`` share: their look, embedded pictures."""

from __future__ import annotations

import base64
from importlib.resources import files

import cv2
import numpy as np
from numpy.typing import NDArray


def page_style() -> str:
    """Return the style sheet of all pages: colours in light and dark, type, tables."""
    return (files("tutelage") / "page.css").read_text("utf-8")


def data_uri(image: NDArray[np.uint8], quality: int | None = None) -> str:
    """Return an RGB picture ``(h, w, 3)`` as it is embedded in a page.

    Args:
        image: The picture.
        quality: That of a JPEG in 0..100; None: a PNG, which loses nothing.
    """
    kind = "png" if quality is None else "jpeg"
    options = [] if quality is None else [cv2.IMWRITE_JPEG_QUALITY, quality]
    _, data = cv2.imencode(f".{kind}", image[..., ::-1], options)
    return f"data:image/{kind};base64,{base64.b64encode(data.tobytes()).decode()}"
