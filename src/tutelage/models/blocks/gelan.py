"""GELAN, the blocks of YOLOv9 (Wang et al., arXiv:2402.13616): ELAN paths, and paths of CSP blocks.

Parts have the names of the weights that MultimediaTechLab/YOLO publishes under the MIT licence.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tutelage.models.blocks.activation import Activation, SiLU
from tutelage.models.blocks.conv import Conv
from tutelage.models.blocks.rep import RepConv


class ELAN(nn.Module):
    """Split a 1 x 1 Conv, continue one half by two paths in turn, and join all four maps.

    Args:
        c1: Input channels.
        c2: Output channels.
        part: Channels of the map that is split.
        activation: Makes the activations.
    """

    def __init__(self, c1: int, c2: int, part: int, *, activation: Activation = SiLU) -> None:
        super().__init__()
        half = part // 2
        self.conv1 = Conv(c1, 2 * half, 1, activation=activation)
        self.conv2 = Conv(half, half, 3, activation=activation)
        self.conv3 = Conv(half, half, 3, activation=activation)
        self.conv4 = Conv(4 * half, c2, 1, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        """``(b, c1, h, w)`` to ``(b, c2, h, w)``."""
        kept, first = self.conv1(x).chunk(2, 1)
        second = self.conv2(first)
        return self.conv4(torch.cat((kept, first, second, self.conv3(second)), 1))


class RepNCSPELAN(ELAN):
    """ELAN whose paths are CSP blocks, each with a 3 x 3 Conv after it.

    Args:
        c1: Input channels.
        c2: Output channels.
        n: Number of bottlenecks in a CSP block.
        part: Channels of the map that is split.
        activation: Makes the activations.
    """

    def __init__(
        self, c1: int, c2: int, n: int, part: int, *, activation: Activation = SiLU
    ) -> None:
        super().__init__(c1, c2, part, activation=activation)
        half = part // 2
        self.conv2 = nn.Sequential(RepNCSP(half, n, activation=activation), self.conv2)
        self.conv3 = nn.Sequential(RepNCSP(half, n, activation=activation), self.conv3)


class RepNCSP(nn.Module):
    """A chain of residual blocks of RepConv and Conv, beside a 1 x 1 Conv.

    Args:
        channels: Of input and output; half of them in each path.
        n: Number of residual blocks.
        activation: Makes the activations.
    """

    def __init__(self, channels: int, n: int, *, activation: Activation = SiLU) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = Conv(channels, half, 1, activation=activation)
        self.conv2 = Conv(channels, half, 1, activation=activation)
        self.conv3 = Conv(2 * half, channels, 1, activation=activation)
        self.bottleneck = nn.Sequential(*(_Residual(half, activation) for _ in range(n)))

    def forward(self, x: Tensor) -> Tensor:
        """``(b, c, h, w)`` to a map of the same shape."""
        return self.conv3(torch.cat((self.bottleneck(self.conv1(x)), self.conv2(x)), 1))


class _Residual(nn.Module):
    def __init__(self, channels: int, activation: Activation) -> None:
        super().__init__()
        self.conv1 = RepConv(channels, channels, identity=False, activation=activation)
        self.conv2 = Conv(channels, channels, 3, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(self.conv1(x))


class AConv(nn.Module):
    """Average 2 x 2 neighbours, then halve the map by a 3 x 3 Conv.

    Args:
        c1: Input channels.
        c2: Output channels.
        activation: Makes the activation.
    """

    def __init__(self, c1: int, c2: int, *, activation: Activation = SiLU) -> None:
        super().__init__()
        self.conv = Conv(c1, c2, 3, 2, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        """``(b, c1, h, w)`` to ``(b, c2, h / 2, w / 2)``."""
        return self.conv(F.avg_pool2d(x, 2, 1))


class ADown(nn.Module):
    """Average 2 x 2 neighbours, then halve half of the channels by a Conv, half by max-pooling.

    Args:
        c1: Input channels, an even number.
        c2: Output channels, an even number.
        activation: Makes the activations.
    """

    def __init__(self, c1: int, c2: int, *, activation: Activation = SiLU) -> None:
        super().__init__()
        self.conv1 = Conv(c1 // 2, c2 // 2, 3, 2, activation=activation)
        self.conv2 = Conv(c1 // 2, c2 // 2, 1, activation=activation)

    def forward(self, x: Tensor) -> Tensor:
        """``(b, c1, h, w)`` to ``(b, c2, h / 2, w / 2)``."""
        first, second = F.avg_pool2d(x, 2, 1).chunk(2, 1)
        return torch.cat((self.conv1(first), self.conv2(F.max_pool2d(second, 3, 2, 1))), 1)


class CBFuse(nn.Module):
    """Add parts of the channels of earlier maps, resized, to the last map.

    Args:
        first: For each earlier map, the channel at which its part begins; it has as many channels
            as the last map.
    """

    def __init__(self, *first: int) -> None:
        super().__init__()
        self.first = first

    def forward(self, *maps: Tensor) -> Tensor:
        """Maps ``(b, c_i, h_i, w_i)``, the last ``(b, c, h, w)``, to ``(b, c, h, w)``."""
        *earlier, total = maps
        channels, size = total.shape[1], total.shape[2:]
        for x, start in zip(earlier, self.first, strict=True):
            total = total + F.interpolate(x.narrow(1, start, channels), size, mode="nearest")
        return total
