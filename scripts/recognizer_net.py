"""The recogniser: one rectified plate in, ten character slots and what else the plate shows out.

A convolutional stem makes 8 x 20 cells of width 96, two encoder layers let every cell see the whole plate (one cannot
know that it holds the fifth character without counting the other four), and ten attention maps collect a cell blend for
each slot. Where the plate's corners lie in the crop it says too, so that a crop cut askew can be cut again. About
0.55 M parameters and 0.22 GFLOP.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lpr.plates.alphabet import CLASSES, SLOTS
from lpr.vision.rectify import corners_home
from scripts.render.crops import CROP_MARGIN

CELLS_HIGH, CELLS_WIDE = 8, 20
CORNER_REACH = 0.1
"""How far a corner lies off its place, in parts of the crop, where its output is 1: of the size that is usual."""


@dataclass(frozen=True, slots=True)
class NetSettings:
    """What makes a network; stored in its checkpoint."""

    stem: tuple[int, int] = (24, 48)
    width: int = 96
    heads: int = 4
    feed_forward: int = 192
    layers: int = 2
    colours: int = 5


class Outputs(NamedTuple):
    """Logits. Batch size B.

    characters (B, SLOTS, CLASSES); attention (B, cells, SLOTS) before its softmax over cells; cells (B, cells,
    CLASSES), a class for every cell; rows (B, 2); colour (B, colours); readable (B,). And no logits: corners (B, 4, 2),
    where the plate's corners lie, x and y as fractions of the crop, clockwise from the top left.
    """

    characters: Tensor
    attention: Tensor
    cells: Tensor
    rows: Tensor
    colour: Tensor
    readable: Tensor
    corners: Tensor


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Convolution 3x3, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class Residual(nn.Module):
    """Two convolutions around a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = conv(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, h, w) to the same."""
        return torch.relu(x + self.second(self.first(x)))


class Encoder(nn.Module):
    """Self-attention and a feed-forward layer, norms first; written out so that it exports to plain operations."""

    def __init__(self, width: int, heads: int, feed_forward: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, feed_forward), nn.GELU(), nn.Linear(feed_forward, width))

    def forward(self, x: Tensor) -> Tensor:
        """(B, cells, width) to the same."""
        b, n, c = x.shape
        q, k, v = self.qkv(self.norm_attention(x)).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        # Written out: the fused operation's backward pass takes 40 % of a training step on a CPU.
        mixed = (q @ k.transpose(-2, -1) * (c // self.heads) ** -0.5).softmax(dim=-1) @ v
        x = x + self.out(mixed.transpose(1, 2).reshape(b, n, c))
        return x + self.feed(self.norm_feed(x))


class RecognizerNet(nn.Module):
    """See the module's text. Takes float (B, 3, 64, 160), BGR in 0..255: scale and offset are part of the network."""

    def __init__(self, settings: NetSettings) -> None:
        super().__init__()
        first, second = settings.stem
        width = settings.width
        self.stem = nn.Sequential(
            conv(3, first, 2), conv(first, second, 2), Residual(second), conv(second, width, 2), Residual(width)
        )
        self.position = nn.Parameter(torch.randn(1, CELLS_HIGH * CELLS_WIDE, width) * 0.02)
        self.encoder = nn.Sequential(
            *(Encoder(width, settings.heads, settings.feed_forward) for _ in range(settings.layers))
        )
        self.norm = nn.LayerNorm(width)
        self.attention, self.value = nn.Linear(width, SLOTS), nn.Linear(width, width)
        self.slot = nn.Parameter(torch.zeros(1, SLOTS, width))
        self.character = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, CLASSES)
        )
        self.cell = nn.Linear(width, CLASSES)
        self.whole = nn.Sequential(nn.Linear(width, width), nn.GELU())
        self.rows, self.colour = nn.Linear(width, 2), nn.Linear(width, settings.colours)
        self.readable = nn.Linear(2 * width, 1)
        self.corner = nn.Sequential(
            nn.Linear(width, 8),
            nn.Flatten(),
            nn.Linear(8 * CELLS_HIGH * CELLS_WIDE, 64),
            nn.GELU(),
            nn.Linear(64, 8),
        )
        self.register_buffer("corners_home", torch.from_numpy(corners_home(CROP_MARGIN)), persistent=False)

    def forward(self, image: Tensor) -> Outputs:
        """Logits of everything; `image` as in the class's text."""
        x = self.stem((image - 127.5) / 64.0).flatten(2).transpose(1, 2) + self.position
        x = self.norm(self.encoder(x))
        attention = self.attention(x)
        slots = attention.softmax(dim=1).transpose(1, 2) @ self.value(x) + self.slot
        whole = self.whole(x.mean(dim=1))
        # Whether it can be read shows in the slots as much as in the whole.
        readable = self.readable(torch.cat((whole, slots.mean(dim=1)), dim=1))
        corners = self.corners_home + CORNER_REACH * self.corner(x).unflatten(1, (4, 2))
        return Outputs(
            self.character(slots),
            attention,
            self.cell(x),
            self.rows(whole),
            self.colour(whole),
            readable.squeeze(1),
            corners,
        )
