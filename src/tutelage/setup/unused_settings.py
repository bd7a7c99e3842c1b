"""Settings of the detection loss that the head of the student has no use for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tutelage.config.overrides import DEFAULT, origin_of
from tutelage.config.schema import Config
from tutelage.config.yolov7_hyp import hyp_key
from tutelage.models.graph import GraphDetector


def unused_loss_settings(
    student: GraphDetector, config: Config, origins: Mapping[str, str] | None
) -> Iterator[str]:
    """Yield which settings of the section ``loss`` were given for nothing, by the user's names.

    Args:
        student: The student.
        config: All settings.
        origins: Where each came from; without them nothing is said.
    """
    given: dict[str, list[str]] = {}
    for name in type(config.loss).model_fields:
        setting = f"loss.{name}"
        origin = origin_of(setting, origins) if origins else DEFAULT
        chosen = origin != DEFAULT and not origin.startswith("preset")
        if chosen and name in student.head.unused_settings:
            keys = given.setdefault(origin.partition(":")[0], [])
            keys.append(hyp_key(origin) or setting)
    for origin, keys in given.items():
        listed = ", ".join(dict.fromkeys(keys))
        yield f"{listed} ({origin}): no effect, {student.arch_name} has a loss of its own"
