"""The log-mel front-end, the same as the product's (`src/mel.rs`), in numpy: small arrays in a loader thread, where
torch's own threads would only get in the way.

16 kHz mono in -1..1; frame k is centred at (k + 1/2) * 10 ms: samples 160 k - 120 ... 160 k + 280, symmetric Hann of
400, 512-point power spectrum, triangular filters of peak 1 on the HTK scale, ln(x + 1e-6). `make_golden` pins both.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

HOP, WINDOW, FFT, BEFORE = 160, 400, 512, 120
SAMPLE_RATE = 16_000
FRAMES_PER_SLOT = 4
FLOOR = 1e-6
_WINDOW = np.hanning(WINDOW).astype(np.float32)


@lru_cache(maxsize=4)
def filters(mels: int = 64, low_hz: float = 60.0, high_hz: float = 7600.0) -> Float:
    """Triangular filters, [bins, mels]."""

    def to_mel(hz: np.ndarray) -> np.ndarray:
        return 2595.0 * np.log10(1.0 + hz / 700.0)

    edges = 700.0 * (10.0 ** (np.linspace(*to_mel(np.array([low_hz, high_hz])), mels + 2) / 2595.0) - 1.0)
    bins = np.arange(FFT // 2 + 1) * SAMPLE_RATE / FFT
    rise = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    return np.clip(np.minimum(rise, fall), 0, None).astype(np.float32)


def log_mel(audio: Float) -> Float:
    """Audio [samples] to ln mel power [mels, samples // 160]; silence before and after."""
    frames = len(audio) // HOP
    padded = np.pad(audio[: frames * HOP].astype(np.float32), (BEFORE, WINDOW - BEFORE - HOP))
    framed = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    spectrum = np.fft.rfft(framed * _WINDOW, FFT)
    power = spectrum.real**2 + spectrum.imag**2
    return np.log(power @ filters() + np.float32(FLOOR)).T


def standardise(mel: Float, min_std: float = 0.5) -> Float:
    """(x - mean) / std over mels and time; live, the product does this with running figures."""
    return (mel - mel.mean()) / max(float(mel.std()), min_std)
