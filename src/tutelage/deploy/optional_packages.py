"""Optional packages: what needs which, and what to say when one is missing."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from typing import Any

from tutelage.errors import MissingExtraError

TITLES: Mapping[str, str] = {
    "onnx": "ONNX",
    "onnxscript": "ONNX Script",
    "onnxruntime": "ONNX Runtime",
    "onnxslim": "onnxslim",
    "openvino": "OpenVINO",
    "nncf": "NNCF",
}
OPENVINO = ("openvino", "nncf")


def require(*packages: str) -> None:
    """Make sure that packages are installed, before anything is computed.

    Raises:
        MissingExtraError: Some are not; the command installs all of them.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        extras = sorted({"openvino" if package in OPENVINO else "export" for package in missing})
        verb = "is" if len(missing) == 1 else "are"
        raise MissingExtraError(
            f"{' and '.join(TITLES[package] for package in missing)} {verb} not installed:",
            fix=f"pip install 'tutelage[{','.join(extras)}]'",
        )


@cache
def openvino_core() -> Any:
    """Return the one OpenVINO core of this process, its CPU plugin loaded.

    Each core's plugin gives the thread an alternative signal stack and takes it away with itself
    (openvino#11894). When two go in the order in which they came, the thread is left with memory
    that is gone, and the next signal kills the process.
    """
    import openvino

    core = openvino.Core()
    core.get_property("CPU", "FULL_DEVICE_NAME")  # loads it
    return core
