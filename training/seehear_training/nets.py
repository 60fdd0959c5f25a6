"""The two networks: pictures to a map of unit vectors, sound to a sequence of them.

Five successive 25 Hz grey slots are stacked as channels, so one slot costs one pass of a 2-D network and streaming is
as cheap as batch. The sound's network answers every 10 ms, so offsets are finer than a slot. Only plain convolutions,
batch norm and ReLU: they fold into a few fused operators everywhere, and quantise well.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOTS = 5
STRIDE = 16


@dataclass(frozen=True)
class Size:
    """Widths of the networks; `SMALL` is the embedded default."""

    video: tuple[int, int, int, int] = (24, 48, 96, 128)
    video_blocks: tuple[int, int, int, int] = (0, 1, 1, 1)
    audio: tuple[int, int, int, int] = (32, 48, 96, 128)
    audio_hidden: int = 192
    dim: int = 128
    norm: bool = True
    """Batch norm behind the convolutions; without it each has a bias, and a training step takes two thirds."""


SMALL = Size()
TINY = Size((8, 12, 16, 24), (0, 0, 0, 0), (8, 8, 16, 16), 32, 32)
"""For tests: learns tiny scenes in seconds."""
BASE = Size((48, 96, 192, 256), (1, 2, 2, 3), (48, 96, 192, 256), 384, 256)
SIZES = {"tiny": TINY, "small": SMALL, "base": BASE}


def _conv(inputs: int, outputs: int, kernel: int, stride: int | tuple[int, int], norm: bool) -> nn.Sequential:
    plain = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=not norm)
    return nn.Sequential(plain, nn.BatchNorm2d(outputs) if norm else nn.Identity(), nn.ReLU(True))


class Residual(nn.Module):
    """Two 3x3 convolutions beside the identity (He et al. 2016)."""

    def __init__(self, width: int, norm: bool) -> None:
        super().__init__()
        self.first = _conv(width, width, 3, 1, norm)
        self.second = _conv(width, width, 3, 1, norm)[:2]

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        return F.relu(x + self.second(self.first(x)))


class VideoNet(nn.Module):
    """[n, 5, h, w] grey 0..1 minus the stack's mean, to [n, dim, h/16, w/16] unit vectors for the middle picture.

    Cell (y, x) stands for the pixels around (16 x + 8, 16 y + 8).
    """

    def __init__(self, size: Size = SMALL) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = SLOTS
        for stage, (width, blocks) in enumerate(zip(size.video, size.video_blocks, strict=True)):
            layers.append(_conv(before, width, 5 if stage == 0 else 3, 2, size.norm))
            layers += [Residual(width, size.norm) for _ in range(blocks)]
            before = width
        self.trunk = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Conv2d(before, before, 1), nn.ReLU(True), nn.Conv2d(before, size.dim, 1))

    def forward(self, stacks: Tensor) -> Tensor:
        """See the class."""
        return F.normalize(self.head(self.trunk(stacks)).float(), dim=1)


class AudioNet(nn.Module):
    """[n, 1, 64, t] standardised log-mel at 100 Hz to [n, dim, t] unit vectors; each sees `CONTEXT` frames around."""

    CONTEXT = 10
    """Mel frames on either side that an output depends on: 4 of the 2-D layers, 4 and 2 of the 1-D ones."""

    def __init__(self, size: Size = SMALL) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for width in size.audio:  # frequency is halved, time never
            layers.append(_conv(before, width, 3, (2, 1), size.norm))
            before = width
        self.trunk = nn.Sequential(*layers)
        hidden, norm = size.audio_hidden, size.norm
        self.time = nn.Sequential(
            nn.Conv1d(before * 4, hidden, 5, padding=4, dilation=2, bias=not norm),
            nn.BatchNorm1d(hidden) if norm else nn.Identity(),
            nn.ReLU(True),
            nn.Conv1d(hidden, hidden, 3, padding=2, dilation=2, bias=not norm),
            nn.BatchNorm1d(hidden) if norm else nn.Identity(),
            nn.ReLU(True),
            nn.Conv1d(hidden, size.dim, 1),
        )

    def forward(self, mel: Tensor) -> Tensor:
        """See the class."""
        x = self.trunk(mel)
        return F.normalize(self.time(x.flatten(1, 2)).float(), dim=1)


class SyncNet(nn.Module):
    """Both networks and the learned scale of their agreement."""

    def __init__(self, size: Size = SMALL) -> None:
        super().__init__()
        self.size = size
        self.video, self.audio = VideoNet(size), AudioNet(size)
        self.log_scale = nn.Parameter(torch.tensor(2.7))
        self.threshold = nn.Parameter(torch.tensor(12.0))
        """Scaled score from which the source of a sound is in a picture; see `objective`."""

    @property
    def scale(self) -> Tensor:
        """Multiplies a mean score before a softmax."""
        return self.log_scale.clamp(max=4.6).exp()

    def settings(self) -> dict[str, object]:
        """What it takes to build this network again."""
        return asdict(self.size)


def build(settings: dict[str, object]) -> SyncNet:
    """The network that `SyncNet.settings` described."""
    return SyncNet(Size(**{k: tuple(v) if isinstance(v, list | tuple) else v for k, v in settings.items()}))  # type: ignore[arg-type]


def load(path: Path) -> tuple[SyncNet, dict[str, Any]]:
    """A checkpoint's network with its averaged weights, and all else that the checkpoint holds."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    net = build(saved["settings"])
    net.load_state_dict(saved["average"])
    return net, saved


def folded(net: SyncNet) -> SyncNet:
    """The same network, its batch norm (as in evaluation) gone into the convolutions' weights and biases."""
    out = SyncNet(replace(net.size, norm=False))
    source = {name: module for name, module in net.named_modules() if isinstance(module, nn.Sequential)}
    state = {k: v for k, v in net.state_dict().items() if k in out.state_dict()}
    for name, modules in source.items():
        for k, norm in enumerate(modules):
            if not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
                continue
            gain = norm.weight / (norm.running_var + norm.eps).sqrt()
            at = f"{name}.{k - 1}"
            state[f"{at}.weight"] = modules[k - 1].weight * gain.reshape(-1, *[1] * (modules[k - 1].weight.ndim - 1))
            state[f"{at}.bias"] = norm.bias - norm.running_mean * gain
    out.load_state_dict(state)
    return out


def stack(slots: Tensor) -> Tensor:
    """[..., t + 4, h, w] pictures to [..., t, 5, h, w] stacks, each minus its mean."""
    stacks = slots.unfold(-3, SLOTS, 1).movedim(-1, -3)
    return stacks - stacks.mean((-3, -2, -1), keepdim=True)
