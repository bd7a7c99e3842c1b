"""Weight files: our own, and foreign ones read without executing them."""

from __future__ import annotations

from tutelage.weights.safe import ForeignCheckpoint, read_foreign, require_finite
from tutelage.weights.store import identity, load_best, load_last, save_best, save_last

__all__ = [
    "ForeignCheckpoint",
    "identity",
    "load_best",
    "load_last",
    "read_foreign",
    "require_finite",
    "save_best",
    "save_last",
]
