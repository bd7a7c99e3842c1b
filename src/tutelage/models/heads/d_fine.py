"""The decoder of D-FINE, from the transformers library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from tutelage.config.schema import LossConfig
from tutelage.errors import ConfigError
from tutelage.losses import DFineCriterion
from tutelage.losses.boxes import corners
from tutelage.losses.d_fine import QueryOutputs
from tutelage.models.d_fine import SETTINGS, read_settings
from tutelage.models.heads.head import Head
from tutelage.structures import Predictions


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
    fixed_candidates: ClassVar[bool] = False

    network: Any

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
        height, width = (n * self.strides[0] for n in features[0].shape[-2:])
        maps = self._projected(features)
        memory = torch.cat([x.flatten(2).transpose(1, 2) for x in maps], 1)
        cells, logits, box = self._queries(maps, memory)
        sizes = _sizes(maps)
        out = self.network.decoder(
            inputs_embeds=cells.detach(),
            encoder_hidden_states=memory,
            reference_points=box.detach(),
            spatial_shapes=np.array(sizes, object),  # only checked, here without a tensor
            spatial_shapes_list=list(sizes),
        )
        bins, reference = out.intermediate_predicted_corners, out.initial_reference_points
        all_logits, all_boxes = out.intermediate_logits, out.intermediate_reference_points
        layers = bins.shape[1]  # of all layers in training, else of the last alone

        def pack(logits: Tensor, box: Tensor, reference: Tensor, bins: Tensor) -> Tensor:
            ones = torch.ones_like(box[..., 0])
            canvas = torch.stack((ones * width, ones * height), -1)
            return QueryOutputs(logits, box, canvas, reference, bins).pack()

        def pack_layer(layer: int) -> Tensor:
            place = layer - layers  # the first layer has another box, that before its distributions
            found = all_logits[:, place], all_boxes[:, place], reference[:, layer], bins[:, layer]
            return pack(*found)

        *earlier, last = map(pack_layer, range(layers))
        if not self.training:
            return (last,)
        nothing = box[..., :0]
        first = pack(all_logits[:, 0], all_boxes[:, 0], nothing, nothing)
        return (last, *earlier, first, pack(logits, box.sigmoid(), nothing, nothing))

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

    def _projected(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return the maps that the decoder reads; coarser ones are made of the coarsest."""
        projections = self.network.decoder_input_proj
        sources = [*features, *[features[-1]] * (len(projections) - len(features))]
        return [project(x) for project, x in zip(projections, sources, strict=True)]

    def _queries(self, maps: Sequence[Tensor], memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Choose the cells with the best scores.

        Args:
            maps: One per level.
            memory: ``(b, n, d)`` their cells.

        Returns:
            Their features ``(b, q, d)``, class logits ``(b, q, c)``, and logits of their boxes
            ``(b, q, 4)``, as shares of the canvas.
        """
        net, number = self.network, self.config.num_queries
        anchors, inside = net.generate_anchors(
            _sizes(maps), device=memory.device, dtype=memory.dtype
        )
        cells = net.enc_output(inside.to(memory.dtype) * memory)
        scores = net.enc_score_head(cells)
        try:
            chosen = scores.amax(-1).topk(number, 1).indices[..., None]
        except RuntimeError as error:
            if cells.shape[1] >= number:
                raise
            raise ConfigError(
                f"The image has {cells.shape[1]} cells, fewer than the {number} queries of this "
                "D-FINE.",
                fix="Give a larger  --img-size, or fewer num_queries in its config.json.",
                code="C17",
            ) from error

        def pick(values: Tensor) -> Tensor:
            return values.gather(1, chosen.expand(-1, -1, values.shape[-1]))

        features = pick(cells)
        places = pick(anchors.expand(memory.shape[0], -1, -1))
        return features, pick(scores), net.enc_bbox_head(features) + places


def _sizes(maps: Sequence[Tensor]) -> tuple[tuple[int, int], ...]:
    """Return the sizes of maps, not as plain numbers: in exports they stay free."""
    return tuple((x.shape[-2], x.shape[-1]) for x in maps)


def _decoder(config: Any) -> Any:
    """Make the library's network without backbone and encoder, which are rows of the graph."""
    from transformers import DFineForObjectDetection

    network = DFineForObjectDetection(config).model
    for part in ("backbone", "encoder_input_proj", "encoder"):
        delattr(network, part)
    return network
