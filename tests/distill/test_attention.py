from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.distill.attention import attention


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 8), st.integers(1, 8)),
    temperature=st.floats(0.1, 5),
    seed=st.integers(0, 99),
)
@settings(max_examples=50, deadline=None)
def test_has_mean_one(shape: tuple[int, ...], temperature: float, seed: int) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    b, c, h, w = shape
    spatial, channel = attention(x, temperature)
    assert spatial.shape == (b, 1, h, w)
    assert channel.shape == (b, c, 1, 1)
    torch.testing.assert_close(spatial.mean((1, 2, 3)), torch.ones(b, dtype=x.dtype))
    torch.testing.assert_close(channel.mean((1, 2, 3)), torch.ones(b, dtype=x.dtype))


def test_strong_places_and_channels_stand_out_whatever_their_sign() -> None:
    x = torch.full((1, 3, 4, 5), 0.1)
    x[0, 1, 2, 3] = -9
    spatial, channel = attention(x, 0.5)
    assert spatial.flatten().argmax() == 2 * 5 + 3
    assert channel.flatten().argmax() == 1


def test_a_lower_temperature_is_sharper() -> None:
    x = torch.randn(1, 6, 5, 5, generator=torch.Generator().manual_seed(0))
    sharp, soft = attention(x, 0.1), attention(x, 2.0)
    assert all(a.max() > b.max() for a, b in zip(sharp, soft, strict=True))
