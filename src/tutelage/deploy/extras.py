"""Optional packages: what needs which, and what to say when one is missing."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

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
