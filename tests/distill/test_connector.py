from __future__ import annotations

import torch

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
