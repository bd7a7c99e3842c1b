from __future__ import annotations

import pytest
import torch
from torch import nn

from tutelage.distill import Connector


def test_equal_widths_pass_unchanged() -> None:
    x, connector = torch.rand(2, 5, 4, 3), Connector(5, 5)
    assert connector(x) is x
    assert not list(connector.parameters())


def test_unequal_widths_go_through_a_convolution_with_bias() -> None:
    connector = Connector(5, 7)
    x = torch.rand(2, 5, 4, 3)
    weight, bias = connector.project.weight, connector.project.bias
    expected = torch.einsum("oi,bihw->bohw", weight[..., 0, 0], x) + bias[:, None, None]
    torch.testing.assert_close(connector(x), expected)


def test_resizes_to_the_teachers_grid() -> None:
    x, connector = torch.rand(2, 5, 4, 3), Connector(5, 7, resize=True)
    expected = nn.functional.interpolate(connector.project(x), (8, 6), mode="bilinear")
    torch.testing.assert_close(connector(x, (8, 6)), expected)
    assert torch.equal(connector(x, (4, 3)), connector.project(x))


def test_resizing_without_a_grid_is_an_error() -> None:
    with pytest.raises(ValueError, match="grid"):
        Connector(5, 5, resize=True)(torch.rand(1, 5, 2, 2))
