"""Custom teachers: any network with named submodules, or any object of the teacher protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from tutelage.errors import ConfigError, TeacherError, UserError, nearest
from tutelage.structures import Predictions, Tap, height_width
from tutelage.teachers.foreign import PROBE_HW, ForeignTeacher
from tutelage.teachers.recorder import TapRecorder
from tutelage.teachers.teacher import Teacher, fingerprint

Predict = Callable[[Any, tuple[int, int]], Predictions]


class FeatureTeacher(ForeignTeacher):
    """Any network, with submodules as taps.

    Args:
        network: Called with ``(b, 3, h, w)`` images. It is frozen in place.
        taps: The submodule that returns the map of each tap, by the tap's key, such as
            ``{"p3": "layer2"}``.
        names: Its class names, if it predicts.
        predict: From the network's output and the image size ``(h, w)`` to predictions. Without
            it the network runs only up to its last tap.
        mean: Subtracted from images in 0..1, per channel.
        std: Divisor, per channel.
        bgr: Whether it was trained on BGR images; ``mean`` and ``std`` are in that order, too.
        title: Its name in messages; by default the class name of the network.
        record: Identifies its weights; by default a hash of them.
        device: Where it runs.
        probe_hw: Size of the blank image from which channels and strides are derived.

    Raises:
        ConfigError: A submodule does not exist, does not run, or returns no map of the image.
    """

    def __init__(
        self,
        network: nn.Module,
        taps: Mapping[str, str],
        *,
        names: Sequence[str] = (),
        predict: Predict | None = None,
        mean: Sequence[float] = (0.0, 0.0, 0.0),
        std: Sequence[float] = (1.0, 1.0, 1.0),
        bgr: bool = False,
        title: str = "",
        record: Mapping[str, Any] | None = None,
        device: torch.device | str = "cpu",
        probe_hw: tuple[int, int] = PROBE_HW,
    ) -> None:
        recorder = TapRecorder(network, list(taps.values()))
        title = title or type(network).__name__

        def forward(images: Tensor, predictions: bool) -> tuple[list[Tensor], Predictions | None]:
            if predictions and predict is None:
                fix = "Give FeatureTeacher a predict function, or use a feature method (fgd)."
                raise ConfigError(f"{title} shares features only", fix=fix, code="T26")
            outputs, out = recorder(lambda: network(images), stop=not predictions)
            maps = [outputs[module] for module in taps.values()]
            if predictions and predict:
                return maps, _run_predict(title, predict, out, height_width(images))
            return maps, None

        super().__init__(
            network,
            forward,
            title=title,
            names=names if predict else (),
            mean=mean,
            std=std,
            bgr=bgr,
            keys=list(taps),
            record=record or {"source": title, "sha256": fingerprint(network.state_dict().items())},
            device=device,
            probe_hw=probe_hw,
        )


def load_custom(path: str, device: torch.device, dtype: torch.dtype) -> Teacher:  # noqa: ARG001
    """Call ``package.module:build`` with the device; it must return a teacher.

    Args:
        path: The module and its function.
        device: Where the teacher is to run.
        dtype: Unused: a custom teacher chooses its own precision.

    Raises:
        ConfigError: It cannot be imported, or does not return a teacher.
        TeacherError: It fails.
    """
    module, _, member = path.partition(":")
    try:
        content = import_module(module)
    except Exception as error:  # a user's module may fail in any way
        plain = isinstance(error, ImportError)
        reason = str(error) if plain else f"{type(error).__name__}: {error}"
        fix = "Install the package, or start where Python can import it"
        raise ConfigError(f"cannot import '{module}': {reason}", fix=fix, code="T26") from error
    build: Any = getattr(content, member, None)
    if not callable(build):
        what = f"'{module}' has no function '{member}'"
        raise ConfigError(what, fix=nearest(member, vars(content)), code="T26")
    try:
        teacher: Any = build(device)
    except UserError:
        raise
    except Exception as error:  # a user's function may fail in any way
        raise TeacherError(f"{path} failed: {type(error).__name__}: {error}", code="T26") from error
    if fault := _fault(teacher):
        fix = "See tutelage.teachers.Teacher, or return a tutelage.teachers.FeatureTeacher"
        raise ConfigError(f"{path} returned no teacher: {fault}", fix=fix, code="T26")
    teacher.record = {**teacher.record, "source": path}
    return teacher


def _run_predict(title: str, predict: Predict, out: Any, size: tuple[int, int]) -> Predictions:
    try:
        predictions: Any = predict(out, size)
    except Exception as error:  # a user's function may fail in any way
        what = f"predict of {title} failed: {type(error).__name__}: {error}"
        raise TeacherError(what, code="T26") from error
    if not isinstance(predictions, Predictions):
        what = f"predict of {title} returned a {type(predictions).__name__}"
        raise TeacherError(what, fix="It must return tutelage.structures.Predictions.", code="T26")
    return predictions


def _fault(teacher: Any) -> str:
    """Return why an object is no teacher, or an empty string."""
    parts = ("title", "names", "taps", "stride", "record", "sharing", "state", "__call__")
    if missing := [part for part in parts if not hasattr(teacher, part)]:
        return f"a {type(teacher).__name__} without {', '.join(missing)}"
    if not teacher.taps or not all(isinstance(tap, Tap) for tap in teacher.taps):
        return f"taps must be at least one tutelage.structures.Tap, but are {teacher.taps!r}"
    if not all(isinstance(name, str) for name in teacher.names):
        return f"names must be texts, but are {teacher.names!r}"
    if not isinstance(teacher.record, dict):
        return f"record must be a dict, but is {teacher.record!r}"
    return ""
