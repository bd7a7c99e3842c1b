"""Tutelage distils YOLO detectors."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tutelage.models.build import load

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import the public functions when they are first used: ``import tutelage`` is instant."""
    if name == "load":
        from tutelage.models.build import load

        return load
    raise AttributeError(f"module 'tutelage' has no attribute {name!r}")
