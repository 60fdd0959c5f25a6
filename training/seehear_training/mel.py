"""The log-mel front-end, the same as the product's (`src/mel.rs`), in numpy: small arrays in a loader thread, where
torch's own threads would only get in the way.

16 kHz mono in -1..1; frame k is centred at (k + 1/2) * 10 ms: samples 160 k - 120 ... 160 k + 280, symmetric Hann of
400, 512-point power spectrum, triangular filters of peak 1 on the HTK scale, ln(x + floor). `tests/golden/logmel.json`
holds both to the same values.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .speech import SAMPLE_RATE

Float = NDArray[np.float32]

HOP, WINDOW, FFT, BEFORE = 160, 400, 512, 120
FRAMES_PER_SLOT = 4
_HANN = np.hanning(WINDOW).astype(np.float32)


@dataclass(frozen=True)
class Bank:
    """Triangular filters between two frequencies, equally spaced on the mel scale."""

    mels: int = 64
    low_hz: float = 60.0
    high_hz: float = 7600.0
    floor: float = 1e-6

    @lru_cache(maxsize=4)  # noqa: B019 - there are two banks
    def filters(self) -> Float:
        """[bins, mels], peak 1."""
        low, high = 2595.0 * np.log10(1.0 + np.array([self.low_hz, self.high_hz]) / 700.0)
        edges = 700.0 * (10.0 ** (np.linspace(low, high, self.mels + 2) / 2595.0) - 1.0)
        bins = np.arange(FFT // 2 + 1)[:, None] * SAMPLE_RATE / FFT
        rise = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
        fall = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
        return np.clip(np.minimum(rise, fall), 0, None).astype(np.float32)


ENGINE = Bank()
"""What the engines hear."""


def log_mel(audio: Float, bank: Bank = ENGINE) -> Float:
    """Audio [samples] to ln mel power [mels, samples // 160]; silence before and after."""
    count = len(audio) // HOP
    if not count:
        return np.zeros((bank.mels, 0), np.float32)
    padded = np.pad(audio[: count * HOP].astype(np.float32), (BEFORE, WINDOW - BEFORE - HOP))
    framed = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    spectrum = np.fft.rfft(framed * _HANN, FFT)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    return np.log(power @ bank.filters() + np.float32(bank.floor)).T


def standardise(mel: Float, min_std: float = 0.5) -> Float:
    """(x - mean) / std over mels and time; live, the product does this with running figures."""
    return (mel - mel.mean()) / max(float(mel.std()), min_std)
