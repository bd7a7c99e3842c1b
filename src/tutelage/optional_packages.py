"""Optional packages: the error when one is missing, one OpenVINO core, silence."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
    "ncnn": "ncnn",
    "pnnx": "pnnx",
    "ai_edge_litert": "LiteRT",
    "ai_edge_quantizer": "AI Edge Quantizer",
    "litert_torch": "LiteRT Torch",
    "tensorboard": "TensorBoard",
    "mlflow": "MLflow",
    "wandb": "W&B",
    "trackio": "Trackio",
    "transformers": "transformers",
    "scipy": "SciPy",
}
EXTRAS: Mapping[str, str] = {  # those of the other packages: export
    "openvino": "openvino",
    "nncf": "openvino",
    "ncnn": "ncnn",
    "pnnx": "ncnn",
    "ai_edge_litert": "litert",
    "ai_edge_quantizer": "litert",
    "litert_torch": "litert",
    "transformers": "hf",
    "scipy": "hf",
    **{name: name for name in ("tensorboard", "mlflow", "wandb", "trackio")},
}
# Its wish for an old typing_extensions contradicts pydantic's, so that no extra can hold it.
LITERT_TORCH = "pip install --no-deps litert-torch==0.10.0 litert-converter==0.5.0"


def require(*packages: str) -> None:
    """Check that packages are installed.

    Raises:
        MissingExtraError: Some are not; its command installs all of them.
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        extras = sorted({EXTRAS.get(package, "export") for package in missing})
        verb = "is" if len(missing) == 1 else "are"
        more = f"\n{LITERT_TORCH}" if "litert_torch" in missing else ""
        raise MissingExtraError(
            f"{' and '.join(TITLES[package] for package in missing)} {verb} not installed:",
            fix=f"pip install 'tutelage[{','.join(extras)}]'{more}",
        )


@cache
def openvino_core() -> Any:
    """Return the only OpenVINO core of this process, with its CPU plugin loaded.

    Each core's plugin sets an alternative signal stack for the thread and frees it at its end
    (openvino#11894). With two cores the thread may keep a freed stack, and the next signal kills
    the process.
    """
    import openvino

    core = openvino.Core()
    core.get_property("CPU", "FULL_DEVICE_NAME")  # loads it
    return core


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress warnings and logs of exporters and compilers."""
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)
