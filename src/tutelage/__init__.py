"""Tutelage distils YOLO detectors."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tutelage.deploy.bench import bench
    from tutelage.deploy.export import export
    from tutelage.deploy.predict import predict, predict_each
    from tutelage.models.build import load

__version__ = "0.2.0"
__all__ = ["__version__", "bench", "export", "load", "predict", "predict_each"]

_HOMES = {
    "bench": "tutelage.deploy.bench",
    "export": "tutelage.deploy.export",
    "load": "tutelage.models.build",
    "predict": "tutelage.deploy.predict",
    "predict_each": "tutelage.deploy.predict",
}


def __getattr__(name: str) -> Any:
    """Import the public functions when they are first used: ``import tutelage`` is instant."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tutelage' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, though most are imported when they are first used."""
    return sorted(__all__)
