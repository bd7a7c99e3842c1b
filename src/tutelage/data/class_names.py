"""Which classes of two lists mean the same: one rule for evaluation, teachers and distillation."""

from __future__ import annotations

from collections.abc import Sequence


def match_names(model: Sequence[str], data: Sequence[str]) -> dict[int, int] | None:
    """Return model class → data class where both lists mean the same classes, else None.

    By name wherever both hold the same names, in whatever order, also where names are numbers. A
    model that only counts its classes (``0``, ``1``, …) has no names: they are taken to be those of
    the data in their order, if they are as many.
    """
    if list(model) == list(data):
        return {number: number for number in range(len(data))}
    if sorted(model) == sorted(data) and len(set(data)) == len(data):
        return {number: data.index(name) for number, name in enumerate(model)}
    if len(model) == len(data) and list(model) == [str(number) for number in range(len(model))]:
        return {number: number for number in range(len(data))}
    return None
