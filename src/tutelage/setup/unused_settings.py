"""Settings of the detection loss that the head of the student has no use for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tutelage.config.overrides import DEFAULT, origin_of
from tutelage.config.schema import Config
from tutelage.models.heads import Head


def unused_loss_settings(
    head: Head, config: Config, origins: Mapping[str, str] | None
) -> Iterator[str]:
    """Yield which settings of the section ``loss`` were given for nothing.

    Args:
        head: That of the student.
        config: All settings.
        origins: Where each came from; without them nothing is said.
    """
    given: dict[str, list[str]] = {}
    for name in type(config.loss).model_fields:
        origin = origin_of(f"loss.{name}", origins) if origins else DEFAULT
        chosen = origin != DEFAULT and not origin.startswith("preset")
        if chosen and name in head.unused_settings:
            given.setdefault(origin.partition(":")[0], []).append(name)
    for origin, names in given.items():
        listed = ", ".join(f"loss.{name}" for name in names)
        yield f"{listed} ({origin}): no effect, {type(head).__name__} has a loss of its own"
