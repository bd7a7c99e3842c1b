"""The decoder of D-FINE, from the transformers library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from tutelage.config.schema import LossConfig
from tutelage.errors import ConfigError
from tutelage.losses import DFineCriterion
from tutelage.losses.boxes import corners
from tutelage.losses.d_fine import QueryOutputs
from tutelage.models.d_fine import SETTINGS, read_settings
from tutelage.models.heads.head import Head
from tutelage.structures import Predictions, height_width


class DFineHead(Head):
    """Choose the best cells of all levels as queries, and refine their boxes layer by layer.

    Each query predicts class logits and a box; there is no objectness, and queries belong to no
    cells: they are ordered by the score of their cell, which differs from image to image.

    Args:
        channels: Channels of each input map; the settings say them too.
        strides: Pixels per cell of each level.
        classes: Number of classes.
        family: Not used.
        settings: As :func:`tutelage.models.d_fine.plain_settings` returns them.

    Attributes:
        network: The decoder with what prepares its queries.
    """

    keeps_width: ClassVar[bool] = False
    unused_settings: ClassVar[frozenset[str]] = frozenset(LossConfig.model_fields)

    def __init__(
        self,
        channels: Sequence[int],
        *,
        strides: Sequence[int],
        classes: int,
        family: str,
        settings: Mapping[str, Any],
    ) -> None:
        super().__init__()
        del channels, family
        self.strides, self.classes = tuple(strides), classes
        self.config = read_settings(settings, classes)
        self.network = _decoder(self.config)

    @classmethod
    def read_options(
        cls, arch: Mapping[str, Any], levels: int, faults: list[str]
    ) -> dict[str, Any]:
        """Read the key ``d_fine``; there are no ``anchors``."""
        if arch.get("anchors") is not None:
            faults.append("anchors: DFineHead has none, drop this key")
        settings = arch.get(SETTINGS)
        try:
            config = read_settings(settings, 1)
        except ValueError as error:
            faults.append(str(error))
            return {"settings": {}}
        wanted = len(config.decoder_in_channels)
        if levels not in (0, wanted):
            faults.append(f"DFineHead has {levels} maps, its settings say {wanted}")
        return {"settings": settings}

    @classmethod
    def outputs(cls, classes: int, **options: Any) -> int:  # noqa: ARG003
        """Return the outputs per query: class logits and a box."""
        return classes + 4

    def forward(self, *features: Tensor) -> tuple[Tensor, ...]:
        """Map the features of each level to packed :class:`QueryOutputs`.

        Returns:
            ``(b, q, n)`` of the last layer; in training also those of the layers before, of the
            boxes before the first layer, and of the encoder.

        Raises:
            ConfigError: The image has fewer cells than there are queries.
        """
        from transformers.modeling_outputs import BaseModelOutput

        height, width = (n * self.strides[0] for n in height_width(features[0]))
        # Only its length and device are read; on the CPU, checks of shapes need no synchronisation.
        marker = features[0].new_empty((features[0].shape[0], 0), device="cpu")
        encoded = BaseModelOutput(last_hidden_state=list(features))
        try:
            out = self.network(None, inputs_embeds=marker, encoder_outputs=encoded)
        except RuntimeError as error:
            raise self._too_small(features) or error from error
        layers = zip(
            out.intermediate_logits[:, -out.intermediate_predicted_corners.shape[1] :].unbind(1),
            out.intermediate_reference_points[
                :, -out.intermediate_predicted_corners.shape[1] :
            ].unbind(1),
            out.initial_reference_points.unbind(1),
            out.intermediate_predicted_corners.unbind(1),
            strict=True,
        )

        def pack(logits: Tensor, box: Tensor, *distributions: Tensor) -> Tensor:
            canvas = torch.stack((torch.full_like(box[..., 0], width), torch.full_like(box[..., 0], height)), -1)
            reference, bins = distributions or (box[..., :0], box[..., :0])
            return QueryOutputs(logits, box, canvas, reference, bins).pack()

        *earlier, last = (pack(*layer) for layer in layers)
        if not self.training:
            return (last,)
        first = pack(out.intermediate_logits[:, 0], out.intermediate_reference_points[:, 0])
        return (last, *earlier, first, pack(out.enc_topk_logits, out.enc_topk_bboxes))

    def decode(self, raw: Sequence[Tensor]) -> Predictions:
        """Decode the last layer's queries."""
        outputs = QueryOutputs.unpack(raw[0], self.classes)
        return Predictions(
            xyxy=corners(outputs.box) * outputs.canvas.repeat(1, 1, 2),
            logits=outputs.logits,
            objectness=None,
            level=torch.zeros(raw[0].shape[1], dtype=torch.int64, device="cpu"),
        )

    def criterion(self, config: LossConfig, *, image_size: int) -> DFineCriterion:
        """Return the loss of D-FINE, whose weights stand in its own settings."""
        del config, image_size
        return DFineCriterion(self.config)

    def _too_small(self, features: Sequence[Tensor]) -> ConfigError | None:
        height, width = (n * self.strides[0] for n in height_width(features[0]))
        cells = sum(x.shape[-2] * x.shape[-1] for x in features)
        if cells >= self.config.num_queries:
            return None
        return ConfigError(
            f"An image of {height}×{width} px has {cells} cells, fewer than the "
            f"{self.config.num_queries} queries of this D-FINE.",
            fix="Give a larger  --img-size, or fewer num_queries in its config.json.",
            code="C17",
        )


def _decoder(config: Any) -> nn.Module:
    """Make the library's network without its backbone and encoder, which are rows of the graph."""
    from transformers import DFineForObjectDetection

    network = DFineForObjectDetection(config).model
    for part in ("backbone", "encoder_input_proj", "encoder"):
        delattr(network, part)
    return network
