"""Tutelage distils YOLO detectors."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tutelage.api.check import check
    from tutelage.api.compare import Comparison, compare
    from tutelage.api.doctor import doctor
    from tutelage.api.evaluate import evaluate
    from tutelage.api.load_teacher import load_teacher
    from tutelage.api.run import Run
    from tutelage.api.train import train
    from tutelage.deploy.bench import bench
    from tutelage.deploy.export import export
    from tutelage.deploy.predict import predict, predict_each
    from tutelage.models.build import load
    from tutelage.reports import write_report as report

from tutelage.version import __version__

__all__ = [
    "__version__",
    "Comparison",
    "Run",
    "bench",
    "check",
    "compare",
    "doctor",
    "evaluate",
    "export",
    "load",
    "load_teacher",
    "predict",
    "predict_each",
    "report",
    "train",
]

_HOMES = {
    "Comparison": ("tutelage.api.compare", "Comparison"),
    "Run": ("tutelage.api.run", "Run"),
    "bench": ("tutelage.deploy.bench", "bench"),
    "check": ("tutelage.api.check", "check"),
    "compare": ("tutelage.api.compare", "compare"),
    "doctor": ("tutelage.api.doctor", "doctor"),
    "evaluate": ("tutelage.api.evaluate", "evaluate"),
    "export": ("tutelage.deploy.export", "export"),
    "load": ("tutelage.models.build", "load"),
    "load_teacher": ("tutelage.api.load_teacher", "load_teacher"),
    "predict": ("tutelage.deploy.predict", "predict"),
    "predict_each": ("tutelage.deploy.predict", "predict_each"),
    "report": ("tutelage.reports", "write_report"),
    "train": ("tutelage.api.train", "train"),
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
