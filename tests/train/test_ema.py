import math

import pytest
import torch
from torch import nn

from tutelage.train.ema import make_ema


def test_ema_follows_the_formula_and_copies_counters():
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2)).double()
    ema = make_ema(net, decay=0.99, ramp=10.0)
    expected = None
    for update in range(4):
        with torch.no_grad():
            for p in net.parameters():
                p.add_(torch.randn_like(p))
        net(torch.randn(2, 1, 4, 4, dtype=torch.float64))
        ema.update_parameters(net)
        now = {k: v.clone() for k, v in net.state_dict().items()}
        if expected is None:
            expected = now
        else:
            d = 0.99 * (1 - math.exp(-(update + 1) / 10.0))
            expected = {
                k: d * expected[k] + (1 - d) * v if v.is_floating_point() else v
                for k, v in now.items()
            }
    for key, value in ema.module.state_dict().items():
        assert torch.allclose(value.double(), expected[key].double(), rtol=1e-12), key
    assert int(ema.module[1].num_batches_tracked) == 4


def test_ema_is_in_eval_mode_and_untrainable():
    ema = make_ema(nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)))
    assert not ema.module.training
    assert not any(p.requires_grad for p in ema.parameters())


@pytest.mark.parametrize("decay", [0.0, 0.9999])
def test_ema_of_a_constant_is_the_constant(decay):
    net = nn.Linear(3, 2)
    ema = make_ema(net, decay=decay)
    for _ in range(3):
        ema.update_parameters(net)
    assert torch.allclose(ema.module.weight, net.weight, rtol=1e-6)
