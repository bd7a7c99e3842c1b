"""Converts metadata of a checkpoint to Python values, within a budget."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
from torch import Tensor

from tutelage.sanitise import printable
from tutelage.weights.allowlist import UnreadTensor
from tutelage.weights.pickle_parser import DamagedError, PickledObject, is_scalar

MAX_DEPTH = 64  # of nested modules or values; the deepest model known has 7
_BUDGET = 200_000
_MAX_TEXT = 2_000
_MAX_INTEGER = 1 << 63


class MetadataReader:
    """Converts parts of the tree to scalars, lists and dicts.

    Args:
        read: Reads a small tensor.
    """

    def __init__(self, read: Callable[[UnreadTensor], Tensor]) -> None:
        self.read, self.left = read, _BUDGET

    def __call__(self, value: Any, depth: int = 0) -> Any:
        """Return the plain form, keys as text; values without one are left out (None in a list).

        Control characters, which could affect a terminal, become question marks.

        Raises:
            DamagedError: There is more metadata than in any checkpoint.
        """
        self._spend(1)
        if depth > MAX_DEPTH:
            raise DamagedError("values are nested without end")
        if isinstance(value, dict):
            plain = {str(self._scalar(key)): self(item, depth + 1) for key, item in value.items()}
            empty = {str(self._scalar(key)) for key, item in value.items() if item is None}
            return {key: item for key, item in plain.items() if item is not None or key in empty}
        if isinstance(value, UnreadTensor):
            self._spend(_entry_count(value.size))
            return self.read(value).tolist()
        if isinstance(value, list | tuple):
            return [self(item, depth + 1) for item in value]
        if isinstance(value, PickledObject) and value.path.startswith("numpy."):
            return self._numpy(value)
        return self._scalar(value) if is_scalar(value) else None

    def _spend(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise DamagedError("its metadata is unreasonably large")

    def _scalar(self, value: Any) -> Any:
        if isinstance(value, str):
            if len(value) > _MAX_TEXT:
                raise DamagedError("its metadata holds a text of unreasonable length")
            return printable(value)
        if isinstance(value, int) and abs(value) >= _MAX_INTEGER:
            raise DamagedError("its metadata holds an unreasonably large number")
        return value

    def _numpy(self, record: PickledObject) -> Any:
        """Return the number or nested list of a NumPy scalar or array."""
        if record.path.endswith(".scalar"):
            dtype, data = (*record.args, None, None)[:2]
            values = self._numbers(dtype, data)
            return values[0].item() if values is not None and len(values) == 1 else None
        match record.state:
            case (int(), tuple(shape), dtype, bool(fortran), data) if all(
                type(length) is int and length >= 0 for length in shape
            ):
                values = self._numbers(dtype, data)
                if values is not None and len(values) == prod(shape) and len(shape) <= 8:
                    self._spend(_entry_count(shape))
                    return values.reshape(shape, order="F" if fortran else "C").tolist()
        return None

    def _numbers(self, dtype: Any, data: Any) -> np.ndarray[tuple[int], Any] | None:
        if isinstance(data, PickledObject) and data.path == "_codecs.encode":
            text, encoding = (*data.args, None, None)[:2]
            if not isinstance(text, str) or encoding != "latin1":
                return None
            self._spend(len(text))
            data = text.encode("latin1", "replace")
        if not (
            isinstance(dtype, PickledObject)
            and dtype.path == "numpy.dtype"
            and isinstance(data, bytes)
        ):
            return None
        self._spend(len(data))
        order = dtype.state[1] if isinstance(dtype.state, tuple) and len(dtype.state) > 1 else "<"
        kind = np.dtype((">" if order == ">" else "<") + dtype.args[0].lstrip("<=|"))
        return np.frombuffer(data, kind) if len(data) % kind.itemsize == 0 else None


def _entry_count(shape: tuple[int, ...]) -> int:
    """Return at least the number of values or lists of an array: (9, 0) has nine empty lists."""
    return prod(max(length, 1) for length in shape)
