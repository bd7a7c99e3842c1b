"""The table of a run's epochs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any, overload

from tutelage.display.html_table import html_table
from tutelage.errors import MissingExtraError
from tutelage.run.metrics import flat_row

SHOWN = 12  # rows of the preview


class Metrics(Sequence[Mapping[str, Any]]):
    """A row per epoch, as in ``metrics.jsonl``: losses by name, AP …, lr, what the teacher cost.

    ``metrics[-1]["AP"]`` is a value, ``metrics["AP"]`` a column; an epoch that was not evaluated
    has None there. Nested values have names as ``kd_weights/fgd``.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._rows = [flat_row(row) for row in rows]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns."""
        return tuple(dict.fromkeys(name for row in self._rows for name in row))

    def __len__(self) -> int:
        """Return the number of epochs."""
        return len(self._rows)

    @overload
    def __getitem__(self, key: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, key: slice) -> list[Mapping[str, Any]]: ...
    @overload
    def __getitem__(self, key: str) -> list[Any]: ...
    def __getitem__(self, key: int | slice | str) -> Any:
        """Return the row of an epoch, several rows, or a column."""
        if not isinstance(key, str):
            return self._rows[key]
        if key not in self.columns:
            raise KeyError(f"{key}; there is {', '.join(self.columns) or 'nothing yet'}")
        return [row.get(key) for row in self._rows]

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        """Yield the rows."""
        return iter(self._rows)

    def to_pandas(self) -> Any:
        """Return a :class:`pandas.DataFrame`.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            pandas = import_module("pandas")
        except ImportError as error:
            raise MissingExtraError("pandas is not installed:", fix="pip install pandas") from error
        return pandas.DataFrame(self._rows, columns=list(self.columns))

    def __repr__(self) -> str:
        """Return its size and columns."""
        return f"Metrics({len(self)} epochs: {', '.join(self.columns)})"

    def _repr_html_(self) -> str:
        """Return the first and last rows as a table."""
        rows = self._rows
        if len(rows) > SHOWN:
            half = SHOWN // 2
            rows = [*rows[:half], dict.fromkeys(self.columns[:1], "…"), *rows[-half:]]
        cells = [[_text(row.get(name)) for name in self.columns] for row in rows]
        return str(html_table([self.columns, *cells], left=0))


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
