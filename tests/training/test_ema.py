import math

import pytest
import torch
from torch import nn

from tutelage.training.ema import make_ema


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


def test_a_share_makes_it_the_mean_of_that_part_of_the_run():
    net = nn.Linear(1, 1, bias=False)
    values = torch.linspace(0, 1, 1001)
    averages = {}
    for share in (0.0, 0.1):
        ema = make_ema(net, share=share)
        for value in values:
            nn.init.constant_(net.weight, value)
            ema.update_parameters(net)
        averages[share] = ema.module.weight.item()
    # a mean over a tenth of a ramp to 1 lags by about a tenth of it; 1000 of 2000 steps by nothing
    assert averages[0.0] == pytest.approx(1.0, abs=0.005)
    assert averages[0.1] == pytest.approx(1 - 0.1 / 1.1, abs=0.001)


def test_a_share_does_not_shorten_the_average_of_a_long_run():
    net = nn.Linear(1, 1, bias=False)
    last = []
    for share in (0.0, 0.1):
        ema = make_ema(net, ramp=10.0, share=share)
        for value in (*[0.0] * 200, 1.0):
            nn.init.constant_(net.weight, value)
            ema.update_parameters(net)
        last.append(ema.module.weight.item())
    assert last[0] == last[1] == pytest.approx(1e-4, rel=0.01)


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
