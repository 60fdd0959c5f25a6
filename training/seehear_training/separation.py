"""The separation network: a mixture and one object's embeddings to the mask of that object's own voice.

Two memories along time (LSTM) between a short-time spectrum (16 kHz, window 512, hop 256, square root of a periodic
Hann on both sides) and a mask of 0 to 1 in every bin; both are told what a third memory makes of the embeddings.
Strictly causal. Full-band and nothing but matrix products; a band-split network was tried before it (RESULTS.md).

All memory is one flat vector, so a stream is carried by one tensor: `state` in, `state_out` out. Steps of one hop give
what one run over all hops gives.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

RATE = 16_000
WINDOW, HOP = 512, 256
BINS = WINDOW // 2 + 1
DIM = 128
"""Of the embeddings it takes."""


@dataclass(frozen=True)
class Size:
    """Widths; `SMALL` is the embedded default."""

    hidden: int = 384
    """Of the memories of the sound."""
    guide: int = 64
    """Of the memory of the object's embeddings."""
    layers: int = 2
    voices: int = 1
    """Masks: one, the object's; more for the baseline that is told nothing and separates whoever is there."""
    level_hops: int = 188
    """The level is that of the last three seconds, recent hops counting more."""


SMALL = Size()
TINY = Size(hidden=24, guide=8, layers=1, level_hops=12)
"""For tests."""
SIZES = {"tiny": TINY, "small": SMALL}
BANDS = 28
"""In which faces are asked for the voice's energy, in training."""


@lru_cache(maxsize=4)
def band_edges(bands: int) -> tuple[int, ...]:
    """First bin of each band, and `BINS`: equal on the mel scale, at least three bins each."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, bands + 1) / 2595) - 1) / RATE * WINDOW
    out = [0]
    for k in range(1, bands):
        out.append(max(out[-1] + 3, round(float(edges[k]))))
    return (*out, BINS)


@lru_cache(maxsize=1)
def window() -> Tensor:
    """[512]: square root of the periodic Hann; analysis times synthesis adds up to one at this hop."""
    return torch.hann_window(WINDOW, periodic=True, dtype=torch.float64).sqrt().float()


def stft(audio: Tensor) -> Tensor:
    """[..., samples] to [..., T, 2, BINS], T = samples // HOP; hop t's window ends with sample HOP (t + 1) - 1.

    Before the first sample is silence: what a stream knows when its hop t is complete.
    """
    count = audio.shape[-1] // HOP
    padded = F.pad(audio[..., : count * HOP], (WINDOW - HOP, 0))
    spectrum = torch.fft.rfft(padded.unfold(-1, WINDOW, HOP) * window())
    return torch.stack([spectrum.real, spectrum.imag], -2)


def istft(spectrum: Tensor) -> Tensor:
    """[..., T, 2, BINS] to [..., HOP T] by overlap-add, on the mixture's clock; the last hop lacks its second half."""
    frames = torch.fft.irfft(torch.complex(spectrum[..., 0, :], spectrum[..., 1, :]), WINDOW) * window()
    first, second = frames[..., :HOP], frames[..., HOP:]
    # Window t covers hops t - 1 and t.
    out = second + F.pad(first[..., 1:, :], (0, 0, 0, 1))
    return out.flatten(-2)


def apply(mask: Tensor, mixture: Tensor) -> Tensor:
    """Complex product over the axis before the last."""
    a, b = mask.unbind(-2)
    c, d = mixture.unbind(-2)
    return torch.stack([a * c - b * d, a * d + b * c], -2)


def band_powers(spectrum: Tensor, bands: int) -> Tensor:
    """[..., T, 2, BINS], its level about 1, to log10 of each band's mean power, at least -4: [..., T, bands]."""
    power = spectrum.square().sum(-2)
    edges = band_edges(bands)
    parts = [power[..., a:b].mean(-1) for a, b in itertools.pairwise(edges)]
    return torch.log10(torch.stack(parts, -1) + 1e-4)


class Layer(nn.Module):
    """A memory beside the identity; what the face says multiplies what goes in, so it can sum up where both agree."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size.hidden)
        self.agree = nn.Linear(size.guide, size.hidden)
        self.memory = nn.LSTM(size.hidden + size.guide, size.hidden, batch_first=True)

    def forward(self, x: Tensor, guide: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[S, T, hidden], [S, T, guide], its memory [S, hidden] twice; the same, and the next memory."""
        inside = torch.cat([self.norm(x) * (1 + self.agree(guide)), guide], -1)
        y, (h, c) = self.memory(inside, (h.unsqueeze(0), c.unsqueeze(0)))
        return x + y, [h[0], c[0]]


class SepNet(nn.Module):
    """See the module. `forward` is what is exported."""

    FLOOR = 256 * 10 ** (-80 / 10)
    """Power of a bin at -80 dB full scale: what is softer is not brought up."""

    def __init__(self, size: Size = SMALL) -> None:
        super().__init__()
        self.size = size
        age = torch.arange(size.level_hops - 1, -1, -1, dtype=torch.float32)
        self.register_buffer("recent", torch.exp(-age / (size.level_hops / 2))[None, None], persistent=False)
        self.inside = nn.Linear(BINS, size.hidden)
        self.guide_in = nn.Linear(DIM, size.guide)
        self.guide = nn.LSTM(size.guide, size.guide, batch_first=True)
        self.hint = nn.Linear(size.guide, BANDS)
        """Only for training: what the face alone says of the voice's energy in each band."""
        nn.init.constant_(self.hint.bias, -1.5)
        self.layers = nn.ModuleList([Layer(size) for _ in range(size.layers)])
        self.norm = nn.LayerNorm(size.hidden)
        self.mask = nn.Linear(size.hidden + size.guide, size.voices * BINS)

    @property
    def parts(self) -> list[int]:
        """Lengths of the state's parts: level and its age, the guide's memory, each layer's."""
        z = self.size
        return [2 * (z.level_hops - 1), z.guide, z.guide, *[z.hidden] * 2 * z.layers]

    @property
    def state_size(self) -> int:
        """N."""
        return sum(self.parts)

    def settings(self) -> dict[str, Any]:
        """What it takes to build this network again."""
        return asdict(self.size)

    def level(self, mixture: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Gain [S, T, 1] that brings the last seconds to power 1, and the next state; [S, 2 (level_hops - 1)] in.

        The state holds the power of the hops so far and 1 for each: hops that never were do not count.
        """
        past = self.size.level_hops - 1
        power = mixture.square().sum(2).mean(-1)  # [S, T]
        both = torch.cat([before.reshape(-1, 2, past), torch.stack([power, torch.ones_like(power)], 1)], 2)
        with torch.autocast(mixture.device.type, enabled=False):
            sums = F.conv1d(both.reshape(-1, 1, both.shape[2]), self.recent).reshape(-1, 2, mixture.shape[1])
        gain = (sums[:, 0] / sums[:, 1] + self.FLOOR).rsqrt()
        return gain[:, :, None], both[:, :, -past:].reshape(-1, 2 * past)

    def look(self, embedding: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[S, T, DIM] and its memory [S, guide] twice, to [S, T, guide] and the next memory."""
        # A unit vector's entries are small: brought to the size that layers expect.
        inside = F.relu(self.guide_in(embedding * DIM**0.5))
        out, (h, c) = self.guide(inside, (h.unsqueeze(0), c.unsqueeze(0)))
        return out, [h[0], c[0]]

    def gains(self, mixture: Tensor, embedding: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of each bin [S, T, voices, BINS], 0 to 1; the next state; what it made of the embeddings [S, T, guide]."""
        s, t = mixture.shape[:2]
        parts = list(state.split(self.parts, 1))
        gain, level = self.level(mixture, parts[0])
        power = mixture.square().sum(2) * gain.square()
        guide, seen = self.look(embedding, parts[1], parts[2])
        x = self.inside((power + 1e-5) ** 0.15)
        after = [level, *seen]
        for k, layer in enumerate(self.layers):
            x, carried = layer(x, guide, parts[3 + 2 * k], parts[4 + 2 * k])
            after += carried
        out = self.mask(torch.cat([F.relu(self.norm(x)), guide], -1)).float()
        gains = torch.sigmoid(out).reshape(s, t, self.size.voices, BINS)
        return gains, torch.cat([p.float() for p in after], 1), guide

    def forward(self, mixture: Tensor, embedding: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """[S, T, 2, BINS], [S, T, DIM] and [S, N] to the mask [S, T, 2 voices, BINS] and the next state.

        Strictly causal along T. The mask is complex by contract; this network leaves phases alone, so the imaginary
        part is zero. With `voices` > 1 the masks follow each other.
        """
        gains, after, _ = self.gains(mixture, embedding, state)
        mask = torch.stack([gains, torch.zeros_like(gains)], 3)
        return mask.reshape(mask.shape[0], mask.shape[1], 2 * self.size.voices, BINS), after

    def hinted(self, guide: Tensor) -> Tensor:
        """[S, T, guide] to log10 of the voice's power in each band, [S, T, bands]; see `band_powers`."""
        return self.hint(guide)


def build(settings: dict[str, Any]) -> SepNet:
    """The network that `SepNet.settings` described."""
    return SepNet(Size(**settings))


def load(path: Path) -> tuple[SepNet, dict[str, Any]]:
    """A checkpoint's network with its averaged weights, and all else that the checkpoint holds."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    net = build(saved["settings"])
    net.load_state_dict(saved["average"])
    return net.eval(), saved


@torch.inference_mode()
def separate(net: SepNet, audio: NDArray[np.float32], embedding: NDArray[np.float32]) -> NDArray[np.float32]:
    """A mixture [samples] and one object's embeddings [T, DIM], one for each hop, to voices [voices, HOP T]."""
    mixture = stft(torch.from_numpy(np.ascontiguousarray(audio, np.float32)))[None]
    guide = torch.from_numpy(np.ascontiguousarray(embedding[: mixture.shape[1]], np.float32))[None]
    mask, _ = net(mixture, guide, torch.zeros(1, net.state_size))
    masks = mask.reshape(mask.shape[1], net.size.voices, 2, BINS)
    return istft(apply(masks, mixture[0][:, None]).transpose(0, 1)).numpy()


def slots_of_hops(count: int) -> NDArray[np.int64]:
    """The 40 ms slot nearest to each hop's window centre, which is the hop's first sample: [count]."""
    slot = RATE // 25
    # Slot k stands for its middle, sample 640 k + 320: nearest is the slot that the sample falls into.
    return np.arange(count, dtype=np.int64) * HOP // slot
