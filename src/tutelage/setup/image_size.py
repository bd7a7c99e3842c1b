"""The image size of a run that names none: that of the models it starts from."""

from __future__ import annotations

from tutelage.config import ResolvedConfig
from tutelage.config.overrides import DEFAULT, origin_of
from tutelage.errors import UserError
from tutelage.models.weight_file import weight_file
from tutelage.teachers.load import is_native
from tutelage.weights.file_type import sniff
from tutelage.weights.header import image_size_of
from tutelage.weights.safe import read_foreign
from tutelage.weights.store import load_header

_SETTING = "train.image_size"
_LEAST = 32


def adopt_image_size(resolved: ResolvedConfig) -> ResolvedConfig:
    """Return settings with the image size of the student's weights, else of the first teacher.

    A size that was chosen stays, as does the default where no model knows its own. A model that
    cannot be read is left to the run, which says why.
    """
    config = resolved.config
    if origin_of(_SETTING, resolved.origins) != DEFAULT:
        return resolved
    teachers = [each for each in config.distill.teachers if is_native(each)]
    for source in [config.model.weights, *teachers]:
        size = None if source is None else _known_size(source)
        if size is None:
            continue
        if size == config.train.image_size:
            return resolved
        train = config.train.model_copy(update={"image_size": size})
        notice = f"Images of {size} px, as {source} was trained; another size:  --img-size"
        return ResolvedConfig(
            config.model_copy(update={"train": train}),
            {**resolved.origins, _SETTING: f"of {source}"},
            (*resolved.notices, notice),
        )
    return resolved


def _known_size(source: str) -> int | None:
    """Return the image size that weights were trained with; None if that is not known."""
    try:
        path = weight_file(source)
        if sniff(path) == "safetensors":
            size = image_size_of(load_header(path))
        else:
            size = read_foreign(path, values=False).image_size
    except UserError:
        return None
    return size if size is not None and size >= _LEAST else None
