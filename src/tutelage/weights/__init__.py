"""Weight files: our own, and foreign ones read without executing them."""

from __future__ import annotations

from tutelage.weights.safe import ForeignCheckpoint, read_foreign, require_finite
from tutelage.weights.store import (
    atomic_write_text,
    identity,
    load_best,
    load_last,
    save_best,
    save_last,
)

__all__ = [
    "ForeignCheckpoint",
    "atomic_write_text",
    "identity",
    "load_best",
    "load_last",
    "read_foreign",
    "require_finite",
    "save_best",
    "save_last",
]
