"""Predictions of a teacher as records: sparse, and exact where it matters.

A record holds the candidates that the teacher scores highest: number, objectness, box and class
logits. All others "see nothing": their objectness is the mean of their level, their class logits
are the mean of each class, their boxes are not known (:attr:`Predictions.known`). Logits are
float16, which moves a probability by less than 0.001, and so are those of the distributions over
the sides of boxes, where a method compares these; boxes are fixed-point numbers of 16 bits in
units of 1/16384 of the canvas's longer side. Many classes are reduced to the three best of each
candidate and the mean of the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from tutelage.structures import Predictions, Records

MIN_SCORE = 0.01
"""Candidates with a lower objectness (or best class) see nothing."""

LEAST = 16
"""So many candidates of an image are stored in any case."""

LIMIT_BYTES = 11_900
"""A sparse record is at most this long; with its thumbnail and place in the store, 12 kB."""

_DENSE_CLASSES, _BEST = 12, 3  # classes that are stored all; of more, so many of the best
_UNITS = 1 << 14  # of a box, on the canvas's longer side; they reach to twice the canvas
_LARGEST = 1e4  # of a logit
_WORD = 2  # bytes


class Grid(NamedTuple):
    """The cells of one level of a head: pixels per cell, and candidates in each."""

    stride: int
    anchors: int


class ResponseFormat(NamedTuple):
    """How the predictions of one teacher are stored.

    Attributes:
        classes: Number of class logits.
        objectness: Whether there is an objectness.
        grids: The levels of a head that predicts per cell. None: candidates belong to no cells, and
            only those that are stored are returned.
        dense: Store all candidates with all classes.
        box_raw: Store the head's own box outputs, too.
        wide: There may be more than 65,536 candidates.
        bins: Of the distribution over each side of a box; 0: none is stored.
    """

    classes: int
    objectness: bool
    grids: tuple[Grid, ...] | None
    dense: bool = False
    box_raw: bool = False
    wide: bool = False
    bins: int = 0

    @classmethod
    def of(cls, predictions: Predictions, size: tuple[int, int]) -> ResponseFormat:
        """Return the format for all of predictions like these, on a canvas ``size`` (h, w)."""
        return cls(
            classes=predictions.logits.shape[-1],
            objectness=predictions.objectness is not None,
            grids=_grids(predictions, size),
            dense=True,
            box_raw=predictions.box_raw is not None,
            wide=predictions.logits.shape[1] > 1 << 16,
            bins=0 if predictions.bins is None else predictions.bins.shape[-1],
        )

    def describe(self) -> dict[str, str]:
        """Return what a store of this format holds, for its description."""
        raw = " with raw boxes" if self.box_raw else ""
        best = f"from score {MIN_SCORE:g} on, {LEAST} to {self.limit}"
        held = f"{f'all{raw}' if self.dense else best}{' with distributions' * (self.bins > 0)}"
        return {"holds": f"responses: {held}, {self.words} words"}

    @property
    def _all_classes(self) -> bool:
        return self.dense or self.classes <= _DENSE_CLASSES

    @property
    def _class_words(self) -> int:
        return self.classes if self._all_classes else 2 * _BEST + 1

    @property
    def words(self) -> int:
        """16-bit numbers per candidate."""
        box = 4 * (1 + self.bins + self.box_raw)
        return 1 + self.wide + self.objectness + box + self._class_words

    @property
    def header_rows(self) -> int:
        """Rows that precede the candidates: the background of each level and class."""
        return -(-(len(self.grids or (1,)) + self.classes) // self.words)

    @property
    def limit(self) -> int:
        """The largest number of candidates of a sparse record."""
        return LIMIT_BYTES // (_WORD * self.words) - self.header_rows

    def typical_bytes(self, size: int) -> int:
        """Return about how long a record is at an image size: all candidates, or a hundred."""
        count = 100
        if self.dense and self.grids is not None:
            count = sum(grid.anchors * (size // grid.stride) ** 2 for grid in self.grids)
        return _WORD * self.words * (count + self.header_rows)

    def encode(self, predictions: Predictions, size: tuple[int, int]) -> Records:
        """Return a record per image.

        Args:
            predictions: Of ``b`` images.
            size: Height and width of the canvas in pixels.
        """
        scores = _scores(predictions)
        count = scores.shape[1]
        kept = torch.ones_like(scores, dtype=torch.bool)
        if not self.dense:
            best = scores.topk(min(self.limit, count), 1)
            chosen = best.values >= MIN_SCORE
            chosen[:, :LEAST] = True
            kept = torch.zeros_like(kept).scatter_(1, best.indices, chosen)
        image, number = kept.nonzero().unbind(1)
        rows = self._candidates(predictions, image, number, size)
        header = self._header(predictions, scores, kept)
        lengths = self.header_rows + kept.sum(1)
        starts = lengths.cumsum(0) - lengths
        table = rows.new_zeros(int(lengths.sum()), self.words)
        first = starts[:, None] + torch.arange(self.header_rows, device=rows.device)
        table[first.flatten()] = header.view(-1, self.words)
        others = torch.ones(len(table), dtype=torch.bool, device=rows.device)
        others[first.flatten()] = False
        table[others] = rows
        content = table.view(torch.uint8).flatten().cpu()
        return Records(content, (lengths * (_WORD * self.words)).cpu())

    def decode(
        self, records: Records, size: tuple[int, int], flips: Tensor | None = None
    ) -> Predictions:
        """Return the predictions of complete records, on the device of their content.

        Args:
            records: One per image.
            size: Height and width of the canvas in pixels.
            flips: ``(b, 2)`` bool, the images whose predictions are flipped left-right and up-down.

        Raises:
            ValueError: Raw box outputs are to be flipped.
        """
        device = records.content.device
        table = records.content.view(torch.int16).view(-1, self.words)
        lengths = records.length.to(device) // (_WORD * self.words)
        starts = lengths.cumsum(0) - lengths
        first = starts[:, None] + torch.arange(self.header_rows, device=device)
        header = table[first].flatten(1).view(torch.float16).float()
        others = torch.ones(len(table), dtype=torch.bool, device=device)
        others[first.flatten()] = False
        rows = table[others]
        image = torch.arange(len(lengths), device=device)
        image = image.repeat_interleave(lengths - self.header_rows, output_size=len(rows))
        flipped = None if flips is None else flips.to(device)[image]
        return self._scatter(rows, image, header, size, flipped)

    # --- one row per candidate -----------------------------------------------------------------

    def _candidates(
        self, predictions: Predictions, image: Tensor, number: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """Return ``(m, words)`` int16: number, objectness, box, bins, classes, raw box outputs."""
        logits = _logits(predictions.logits[image, number])
        unit = max(size) / _UNITS
        boxes = predictions.xyxy[image, number].float() / unit
        columns = [_bits(number & 0xFFFF)[:, None]]
        if self.wide:
            columns.append(_bits(number >> 16)[:, None])
        if predictions.objectness is not None:
            columns.append(_half(_logits(predictions.objectness[image, number]))[:, None])
        columns.append(boxes.round().clamp_(-(1 << 15), (1 << 15) - 1).to(torch.int16))
        if self.bins and predictions.bins is not None:
            columns.append(_half(_logits(predictions.bins[image, number].flatten(1))))
        if self._all_classes:
            columns.append(_half(logits))
        else:
            best = logits.topk(_BEST, 1)
            rest = logits.sigmoid().scatter(1, best.indices, 0.0).sum(1) / (self.classes - _BEST)
            columns += [best.indices.to(torch.int16), _half(best.values)]
            columns.append(_half(_logits(rest.logit(1e-6)))[:, None])
        if self.box_raw and predictions.box_raw is not None:
            columns.append(_half(predictions.box_raw[image, number].float()))
        return torch.cat(columns, 1)

    def _header(self, predictions: Predictions, scores: Tensor, kept: Tensor) -> Tensor:
        """Return ``(b, header_rows * words)`` int16: mean score per level, mean of each class."""
        weight = torch.where(kept, 0.0, scores)
        levels = predictions.level.to(scores.device)
        count = len(self.grids or (1,))
        members = torch.nn.functional.one_hot(levels.clamp(max=count - 1), count).to(scores)
        background = weight @ members / ((~kept).to(scores) @ members).clamp(min=1)
        means = torch.einsum("bn,bnc->bc", weight, predictions.logits.float().sigmoid())
        means = means / weight.sum(1, keepdim=True).clamp(min=1e-12)
        values = _half(_logits(torch.cat((background, means), 1).logit(1e-6)))
        padding = self.header_rows * self.words - values.shape[1]
        return torch.nn.functional.pad(values, (0, padding))

    def _scatter(
        self,
        rows: Tensor,
        image: Tensor,
        header: Tensor,
        size: tuple[int, int],
        flipped: Tensor | None,
    ) -> Predictions:
        """Return dense predictions of rows, on the background that the header describes.

        ``flipped`` is ``(m, 2)``, the rows to be flipped left-right and up-down.
        """
        images, at = len(header), 1 + self.wide
        counts, grids = self._counts(rows, image, images, size)
        number = rows[:, 0].long() & 0xFFFF
        if self.wide:
            number = number | (rows[:, 1].long() << 16)
        if grids is None:  # each image has its candidates first
            ends = torch.bincount(image, minlength=images).cumsum(0)
            number = (
                torch.arange(len(rows), device=rows.device)
                - (ends - ends.diff(prepend=ends.new_zeros(1)))[image]
            )
        elif flipped is not None:
            number = _flipped_cells(number, flipped, grids, counts)
        total = sum(counts)
        level = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
        place = image * total + number
        background = header[:, : len(counts)]
        classes = header[:, len(counts) : len(counts) + self.classes]

        def filled(base: Tensor, values: Tensor) -> Tensor:
            """Return ``(b, n, k)``: values at the places of the rows, the base elsewhere."""
            flat = base.expand(images, total, -1).reshape(images * total, -1)
            return flat.index_copy(0, place, values).view(images, total, -1)

        objectness = None
        base = background.repeat_interleave(
            torch.tensor(counts, device=rows.device), 1, output_size=total
        )[..., None]
        if self.objectness:
            objectness = filled(base, _floats(rows[:, at : at + 1])).squeeze(-1)
            at += 1
            base = classes[:, None]
        unit = max(size) / _UNITS
        boxes = rows[:, at : at + 4].float() * unit
        if flipped is not None:
            boxes = _flipped_boxes(boxes, flipped, size)
            if self.box_raw:
                raise ValueError("raw box outputs cannot be flipped")
        at += 4
        bins = None
        if self.bins:
            sides = _floats(rows[:, at : at + 4 * self.bins]).unflatten(1, (4, self.bins))
            sides = sides if flipped is None else _flipped_sides(sides, flipped)
            bins = filled(header.new_zeros(1, 1, 4 * self.bins), sides.flatten(1))
            at += 4 * self.bins
        zero = header.new_zeros(1, 1, 4)
        known = torch.zeros(images * total, dtype=torch.bool, device=rows.device)
        return Predictions(
            xyxy=filled(zero, boxes),
            logits=filled(base.expand(-1, -1, self.classes), self._class_logits(rows[:, at:])),
            objectness=objectness,
            level=level,
            box_raw=filled(zero, _floats(rows[:, -4:])) if self.box_raw else None,
            bins=None if bins is None else bins.unflatten(-1, (4, self.bins)),
            grids=grids,
            known=None if self.dense else known.index_fill(0, place, True).view(images, total),
        )

    def _class_logits(self, rows: Tensor) -> Tensor:
        """Return ``(m, classes)`` logits of the class part of rows."""
        if self._all_classes:
            return _floats(rows[:, : self.classes])
        rest = _floats(rows[:, 2 * _BEST : 2 * _BEST + 1])
        best = _floats(rows[:, _BEST : 2 * _BEST])
        return rest.repeat(1, self.classes).scatter(1, rows[:, :_BEST].long(), best)

    def _counts(
        self, rows: Tensor, image: Tensor, images: int, size: tuple[int, int]
    ) -> tuple[list[int], tuple[tuple[int, int], ...] | None]:
        """Return the candidates per level, and the cells of each level."""
        if self.grids is None:
            return [int(torch.bincount(image, minlength=images).max()) if len(rows) else 1], None
        cells = tuple((size[0] // grid.stride, size[1] // grid.stride) for grid in self.grids)
        counts = [h * w * grid.anchors for (h, w), grid in zip(cells, self.grids, strict=True)]
        return counts, cells


def _flipped_cells(
    number: Tensor,
    flipped: Tensor,
    grids: tuple[tuple[int, int], ...],
    counts: Sequence[int],
) -> Tensor:
    """Return the candidates ``(m,)`` of the same level and anchor in the mirrored cells.

    Args:
        number: ``(m,)`` int64 candidates, ordered by level, anchor, row, column.
        flipped: ``(m, 2)`` bool, left-right and up-down.
        grids: Rows and columns of each level.
        counts: Candidates of each level.
    """
    ends = torch.tensor(counts, device=number.device).cumsum(0)
    level = torch.bucketize(number, ends, right=True)
    rows, columns = torch.tensor(grids, device=number.device)[level].unbind(1)
    inside = number - (ends - ends.diff(prepend=ends.new_zeros(1)))[level]
    column, row = inside % columns, inside // columns % rows
    left_right, up_down = flipped.unbind(1)
    across = left_right * (columns - 1 - 2 * column)
    return number + across + up_down * (rows - 1 - 2 * row) * columns


def _flipped_boxes(boxes: Tensor, flipped: Tensor, size: tuple[int, int]) -> Tensor:
    """Return ``(m, 4)`` corners, mirrored on a canvas ``size`` (h, w) where ``(m, 2)`` says so."""
    height, width = size
    x1, y1, x2, y2 = boxes.unbind(1)
    mirrored = torch.stack((width - x2, height - y2, width - x1, height - y1), 1)
    return torch.where(flipped.repeat(1, 2), mirrored, boxes)


def _flipped_sides(sides: Tensor, flipped: Tensor) -> Tensor:
    """Exchange what belongs to opposite sides: ``(m, 4, r)`` of left, top, right, bottom."""
    across, down = flipped[..., None, None].unbind(1)
    left, top, right, bottom = sides[:, 0:1], sides[:, 1:2], sides[:, 2:3], sides[:, 3:4]
    return torch.cat(
        (
            torch.where(across, right, left),
            torch.where(down, bottom, top),
            torch.where(across, left, right),
            torch.where(down, top, bottom),
        ),
        1,
    )


def _grids(predictions: Predictions, size: tuple[int, int]) -> tuple[Grid, ...] | None:
    """Return the levels of a head whose candidates are its cells; None if they are not."""
    if predictions.grids is None:
        return None
    counts: Sequence[int] = torch.bincount(predictions.level).tolist()
    if len(counts) != len(predictions.grids):
        return None
    found = []
    for (h, w), count in zip(predictions.grids, counts, strict=True):
        stride = size[0] // h
        if count % (h * w) or (size[0] // stride, size[1] // stride) != (h, w):
            return None
        found.append(Grid(stride, count // (h * w)))
    return tuple(found)


def _scores(predictions: Predictions) -> Tensor:
    """Return ``(b, n)`` the objectness, of heads without it the best class, as probabilities."""
    best = predictions.objectness
    return (predictions.logits.amax(-1) if best is None else best).float().sigmoid()


def _logits(values: Tensor) -> Tensor:
    return values.float().clamp(-_LARGEST, _LARGEST)


def _half(values: Tensor) -> Tensor:
    """Return the bits of values in float16 as int16."""
    return values.to(torch.float16).view(torch.int16)


def _floats(bits: Tensor) -> Tensor:
    """Return float32 of the bits of float16."""
    return bits.contiguous().view(torch.float16).float()


def _bits(values: Tensor) -> Tensor:
    """Return 0..65535 as int16 of the same bits."""
    return torch.where(values > 0x7FFF, values - 0x10000, values).to(torch.int16)
