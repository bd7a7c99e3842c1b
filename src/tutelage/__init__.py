"""Tutelage distils YOLO detectors."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tutelage.deploy.bench import bench
    from tutelage.deploy.export import export
    from tutelage.deploy.predict import predict, predict_each
    from tutelage.models.build import load
    from tutelage.reports import write_report as report

from tutelage.version import __version__

__all__ = ["__version__", "bench", "export", "load", "predict", "predict_each", "report"]

_HOMES = {
    "bench": ("tutelage.deploy.bench", "bench"),
    "export": ("tutelage.deploy.export", "export"),
    "load": ("tutelage.models.build", "load"),
    "predict": ("tutelage.deploy.predict", "predict"),
    "predict_each": ("tutelage.deploy.predict", "predict_each"),
    "report": ("tutelage.reports", "write_report"),
}


def __getattr__(name: str) -> Any:
    """Import the public functions when they are first used: ``import tutelage`` is instant."""
    if name in _HOMES:
        module, member = _HOMES[name]
        return getattr(import_module(module), member)
    raise AttributeError(f"module 'tutelage' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names, though most are imported when they are first used."""
    return sorted(__all__)
