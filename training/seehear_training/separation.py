"""The separation network: a mixture and one object's embeddings to the mask of that object's own voice.

Band-split, dual-path, strictly causal. The short-time spectrum (16 kHz, window 512, hop 256, square root of a periodic
Hann on both sides) is cut into bands of mel-like width, each a vector of `width`. A block looks along time in every
band with the same recurrent weights, then across all bands at once through a narrow layer that also knows the object,
and has a memory of its own. Gated by that, bands become a complex mask of at most 1 in every bin.

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

    bands: int = 28
    width: int = 32
    hidden: int = 48
    """Of the memory along time in each band."""
    across: int = 160
    """Of the memory that sees all bands."""
    guide: int = 96
    """Of the memory of the object's embeddings."""
    blocks: int = 3
    voices: int = 1
    """Masks: one, the object's; more for the baseline that is told nothing and separates whoever is there."""
    level_hops: int = 188
    """The level is that of the last three seconds, recent hops counting more."""


SMALL = Size()
TINY = Size(bands=6, width=8, hidden=8, across=12, guide=8, blocks=1, level_hops=12)
"""For tests."""
SIZES = {"tiny": TINY, "small": SMALL}


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


class Norm(nn.LayerNorm):
    """Layer norm in its input's own type: autocast would make everything wide again."""

    def forward(self, x: Tensor) -> Tensor:
        """Same shape and type."""
        if not torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


class BandLinear(nn.Module):
    """A linear layer for each band: [..., bands, inputs] to [..., bands, outputs]."""

    def __init__(self, bands: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(bands, inputs, outputs).uniform_(-1, 1) * inputs**-0.5)
        self.bias = nn.Parameter(torch.zeros(bands, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """See the class; x is [S, T, bands, inputs]."""
        s, t = x.shape[:2]
        flat = x.reshape(s * t, x.shape[2], x.shape[3]).transpose(0, 1)
        out = torch.baddbmm(self.bias[:, None], flat, self.weight).transpose(0, 1)
        return out.reshape(s, t, out.shape[1], out.shape[2])


class Block(nn.Module):
    """Along time in each band, then across bands together with the object."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        flat = size.bands * size.width
        self.size = size
        self.norm_time, self.norm_across = Norm(size.width), Norm(size.width)
        self.agree = nn.Linear(size.guide, flat)
        """Multiplies what goes into the memory along time: it can sum up where face and band agree."""
        nn.init.zeros_(self.agree.weight)
        nn.init.zeros_(self.agree.bias)
        self.time = nn.LSTM(size.width, size.hidden, batch_first=True)
        self.time_out = nn.Linear(size.hidden, size.width)
        self.squeeze = nn.Linear(flat, size.across)
        self.across = nn.LSTM(size.across + size.guide, size.across, batch_first=True)
        self.spread = nn.Linear(size.across + size.guide, flat)

    def forward(self, x: Tensor, guide: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """[S, T, bands, width], [S, T, guide], four states [S, n]; the same, and the next states."""
        z = self.size
        s, t = x.shape[:2]
        factor = 1 + self.agree(guide).reshape(s, t, z.bands, z.width)
        rows = (self.norm_time(x) * factor).transpose(1, 2).reshape(s * z.bands, t, z.width)
        carried = (state[0].reshape(1, s * z.bands, z.hidden), state[1].reshape(1, s * z.bands, z.hidden))
        y, (h, c) = self.time(rows, carried)
        x = x + self.time_out(y).reshape(s, z.bands, t, z.width).transpose(1, 2)
        y = F.relu(self.squeeze(self.norm_across(x).reshape(s, t, z.bands * z.width)))
        carried = (state[2].unsqueeze(0), state[3].unsqueeze(0))
        y, (h2, c2) = self.across(torch.cat([y, guide], -1), carried)
        x = x + self.spread(torch.cat([y, guide], -1)).reshape(s, t, z.bands, z.width)
        return x, [h.reshape(s, z.bands * z.hidden), c.reshape(s, z.bands * z.hidden), h2[0], c2[0]]


class SepNet(nn.Module):
    """See the module. `forward` is what is exported."""

    FLOOR = 256 * 10 ** (-80 / 10)
    """Power of a bin at -80 dB full scale: what is softer is not brought up."""

    def __init__(self, size: Size = SMALL) -> None:
        super().__init__()
        self.size = size
        edges = np.array(band_edges(size.bands))
        widest = int(np.diff(edges).max())
        # Where each band's bins are; what a band has not is taken from a bin of zeros beyond the last.
        places = edges[:-1, None] + np.arange(widest)
        places = np.where(places < edges[1:, None], places, BINS)
        back = np.array([b * widest + f - edges[b] for b in range(size.bands) for f in range(edges[b], edges[b + 1])])
        self.widest = widest
        self.register_buffer("places", torch.from_numpy(places.reshape(-1)), persistent=False)
        self.register_buffer("back", torch.from_numpy(back), persistent=False)
        age = torch.arange(size.level_hops - 1, -1, -1, dtype=torch.float32)
        self.register_buffer("recent", torch.exp(-age / (size.level_hops / 2))[None, None], persistent=False)
        self.split = BandLinear(size.bands, 3 * widest, size.width)
        self.split_norm = Norm(size.width)
        self.guide_in = nn.Linear(DIM, size.guide)
        self.guide = nn.LSTM(size.guide, size.guide, batch_first=True)
        self.guide_spread = nn.Linear(size.guide, size.bands * size.width)
        self.hint = nn.Linear(size.guide, size.bands)
        """Only for training: what the face alone says of the voice's energy in each band."""
        self.blocks = nn.ModuleList([Block(size) for _ in range(size.blocks)])
        self.head_norm = Norm(size.width)
        self.head = BandLinear(size.bands, size.width, 2 * size.width)
        self.mask = BandLinear(size.bands, 2 * size.width, size.voices * 2 * widest)
        with torch.no_grad():  # begin by letting half of everything through
            self.mask.weight.mul_(0.3)
            self.mask.bias.view(size.bands, size.voices, 2, widest)[:, :, 0] = 0.5

    @property
    def parts(self) -> list[int]:
        """Lengths of the state's parts: level and its age, the guide's memory, each block's."""
        z = self.size
        block = [z.bands * z.hidden] * 2 + [z.across] * 2
        return [2 * (z.level_hops - 1), z.guide, z.guide, *block * z.blocks]

    @property
    def state_size(self) -> int:
        """N."""
        return sum(self.parts)

    def settings(self) -> dict[str, Any]:
        """What it takes to build this network again."""
        return asdict(self.size)

    def level(self, mixture: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Gain [S, T, 1, 1] that brings the last seconds to power 1, and the next state; [S, 2 (level_hops - 1)] in.

        The state holds the power of the hops so far and 1 for each: hops that never were do not count.
        """
        past = self.size.level_hops - 1
        power = mixture.square().sum(2).mean(-1)  # [S, T]
        both = torch.cat([before.reshape(-1, 2, past), torch.stack([power, torch.ones_like(power)], 1)], 2)
        sums = F.conv1d(both.reshape(-1, 1, both.shape[2]), self.recent).reshape(-1, 2, mixture.shape[1])
        gain = (sums[:, 0] / sums[:, 1] + self.FLOOR).rsqrt()
        return gain[:, :, None, None], both[:, :, -past:].reshape(-1, 2 * past)

    def look(self, embedding: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, list[Tensor]]:
        """[S, T, DIM] and its memory [S, guide] twice, to [S, T, guide] and the next memory."""
        # A unit vector's entries are small: brought to the size that layers expect.
        inside = F.relu(self.guide_in(embedding * DIM**0.5))
        out, (h, c) = self.guide(inside, (h.unsqueeze(0), c.unsqueeze(0)))
        return out, [h[0], c[0]]

    def run(self, mixture: Tensor, embedding: Tensor, state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `forward`; also what it made of the embeddings, [S, T, guide]."""
        z = self.size
        s, t = mixture.shape[:2]
        parts = list(state.split(self.parts, 1))
        gain, level = self.level(mixture, parts[0])
        scaled = mixture * gain
        magnitude = (scaled.square().sum(2, keepdim=True) + 1e-5).sqrt()
        soft = magnitude**0.35
        features = torch.cat([soft, scaled * (soft / magnitude)], 2)  # [S, T, 3, BINS]
        features = F.pad(features, (0, 1))[..., self.places].reshape(s, t, 3, z.bands, self.widest)
        x = self.split_norm(self.split(features.transpose(2, 3).reshape(s, t, z.bands, 3 * self.widest)))
        guide, seen = self.look(embedding, parts[1], parts[2])
        x = x + self.guide_spread(guide).reshape(s, t, z.bands, z.width)
        after = [level, *seen]
        for k, block in enumerate(self.blocks):
            x, carried = block(x, guide, parts[3 + 4 * k : 7 + 4 * k])
            after += carried

        y = self.mask(F.relu(self.head(self.head_norm(x)))).float()
        y = y.reshape(s, t, z.bands, 2 * z.voices, self.widest).transpose(2, 3)
        y = y.reshape(s, t, 2 * z.voices, z.bands * self.widest)[..., self.back]
        pairs = y.reshape(s, t, z.voices, 2, BINS)
        size = (pairs.square().sum(3, keepdim=True) + 1e-6).sqrt()
        mask = (pairs * (torch.tanh(size) / size)).reshape(s, t, 2 * z.voices, BINS)
        return mask, torch.cat([p.float() for p in after], 1), guide

    def forward(self, mixture: Tensor, embedding: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """[S, T, 2, BINS], [S, T, DIM] and [S, N] to the mask [S, T, 2 voices, BINS] and the next state.

        Strictly causal along T. With `voices` > 1 the masks follow each other, real and imaginary.
        """
        mask, after, _ = self.run(mixture, embedding, state)
        return mask, after

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
