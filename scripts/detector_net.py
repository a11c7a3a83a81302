"""The detector: a picture in, what every cell of 8 x 8 pixels knows about the plate around it out.

Residual stages at strides 4 to 32, summed into one map at stride 8; no anchors. About 0.88 M parameters and 0.92 GFLOP
at 320 x 320.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 8  # pixels of the input a cell of the output stands for
OUTPUTS = 1 + 4 + 8  # confidence; distances to left, top, right, bottom; corners within the box


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU: what INT8 fuses into one step."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Residual(nn.Module):
    """1x1 to half the width, 3x3 back, added to the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.narrow = conv(width, width // 2, 1)
        self.wide = nn.Sequential(nn.Conv2d(width // 2, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.wide(self.narrow(x)))


def stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    """Halve the sides, then look around."""
    return nn.Sequential(conv(inputs, outputs, 3, 2), *(Residual(outputs) for _ in range(blocks)))


class Detector(nn.Module):
    """Fully convolutional: [n, 3, h, w] in 0..1, blue green red -> raw [n, 13, h/8, w/8]; h and w multiples of 32.

    Features at strides 8, 16 and 32 are summed into one map at stride 8, where every cell answers for itself.
    """

    def __init__(
        self, widths: tuple[int, ...] = (16, 32, 64, 112, 160), blocks: tuple[int, ...] = (1, 2, 3, 2)
    ) -> None:
        super().__init__()
        self.stem = conv(3, widths[0], 3, 2)
        self.at_4 = stage(widths[0], widths[1], blocks[0])
        self.at_8 = stage(widths[1], widths[2], blocks[1])
        self.at_16 = stage(widths[2], widths[3], blocks[2])
        self.at_32 = stage(widths[3], widths[4], blocks[3])
        width = 64
        self.from_8, self.from_16, self.from_32 = (conv(w, width, 1) for w in widths[2:])
        self.fuse_16, self.fuse_8 = conv(width, width), conv(width, width)
        self.head = nn.Sequential(Residual(width), Residual(width))
        self.out = nn.Conv2d(width, OUTPUTS, 1)
        with torch.no_grad():
            self.out.weight.mul_(0.1)
            self.out.bias.zero_()
            self.out.bias[0] = -4.6  # a plate in one cell of a hundred
            self.out.bias[1:5] = 0.7

    def forward(self, image: Tensor) -> Tensor:
        at_8 = self.at_8(self.at_4(self.stem((image - 0.5) * 4)))
        at_16 = self.at_16(at_8)
        up = F.interpolate(self.from_32(self.at_32(at_16)), scale_factor=2.0, mode="nearest")
        up = F.interpolate(self.fuse_16(self.from_16(at_16) + up), scale_factor=2.0, mode="nearest")
        return self.out(self.head(self.fuse_8(self.from_8(at_8) + up)))


class Deployed(nn.Module):
    """What is exported: the raw map turned into numbers in input pixels, so that the agent needs no constants.

    Output [n, 13, h/8, w/8]: confidence 0..1; left, top, right, bottom; four corners x, y from the top left.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor) -> Tensor:
        raw = self.detector(image)
        boxes, corners = decode(raw)
        return torch.cat([raw[:, :1].sigmoid(), boxes, corners], 1)


def decode(raw: Tensor) -> tuple[Tensor, Tensor]:
    """Raw map -> boxes [n, 4, h, w] and corners [n, 8, h, w] in input pixels."""
    rows, columns = raw.shape[2], raw.shape[3]
    x = ((torch.arange(columns, device=raw.device) + 0.5) * STRIDE).view(1, 1, 1, -1)
    y = ((torch.arange(rows, device=raw.device) + 0.5) * STRIDE).view(1, 1, -1, 1)
    reach = raw[:, 1:5].clamp(-4, 4.5).exp() * STRIDE
    left, top, right, bottom = x - reach[:, :1], y - reach[:, 1:2], x + reach[:, 2:3], y + reach[:, 3:4]
    boxes = torch.cat([left, top, right, bottom], 1)
    start, size = torch.cat([left, top] * 4, 1), torch.cat([right - left, bottom - top] * 4, 1)
    home = torch.tensor([0, 0, 1, 0, 1, 1, 0, 1], dtype=raw.dtype, device=raw.device).view(1, 8, 1, 1)
    return boxes, start + (home + raw[:, 5:] * 0.25) * size
