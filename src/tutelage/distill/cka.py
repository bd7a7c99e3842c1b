"""Similarity of two feature maps with any channels: linear CKA.

Kornblith et al., Similarity of Neural Network Representations Revisited, ICML 2019,
https://arxiv.org/abs/1905.00414. Near 1, one map is a linear image of the other, so that there is
little to learn from it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CELLS = 1024  # samples per pair of maps, the side of the Gram matrices


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Return the linear CKA of two sets of features of the same samples.

    HSIC is estimated without bias (Song et al., JMLR 2012): the biased estimate is far above 0 for
    independent features with many channels.

    Args:
        x: ``(n, p)`` one sample a row, n at least 4.
        y: ``(n, q)``.

    Returns:
        1 if one is a rotated, scaled and shifted copy of the other, about 0 (also below) if they
        are independent, NaN if one is constant.
    """
    k, n = _gram(x), _gram(y)
    scale = (_hsic(k, k) * _hsic(n, n)).clamp(min=0).sqrt()
    return float(_hsic(k, n) / scale)


def map_similarity(student: Tensor, teacher: Tensor, cells: int = CELLS, seed: int = 0) -> float:
    """Return the linear CKA of two maps, cells as samples and channels as features.

    Args:
        student: ``(b, c, h, w)``; resized to the teacher's grid if that differs.
        teacher: ``(b, d, h, w)``.
        cells: How many of the b·h·w cells are sampled.
        seed: Of the sampling.
    """
    if student.shape[-2:] != teacher.shape[-2:]:
        student = F.interpolate(student.float(), teacher.shape[-2:], mode="bilinear")
    x, y = (m.detach().float().permute(0, 2, 3, 1).flatten(0, 2) for m in (student, teacher))
    chosen = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:cells]
    return linear_cka(x[chosen.to(x.device)].cpu(), y[chosen.to(y.device)].cpu())


def _gram(x: Tensor) -> Tensor:
    x = x.double()
    x = x - x.mean(0)  # for precision; the estimate is invariant
    return (x @ x.T).fill_diagonal_(0)


def _hsic(k: Tensor, n: Tensor) -> Tensor:
    """Return the unbiased estimate of HSIC, given Gram matrices without their diagonals."""
    m = len(k)
    rows, columns = k.sum(1), n.sum(1)
    whole = rows.sum() * columns.sum() / ((m - 1) * (m - 2))
    return ((k * n).sum() + whole - 2 / (m - 2) * rows @ columns) / (m * (m - 3))
