#!/usr/bin/env python3
"""Write logmel.json: the log-mel front-end computed plainly with numpy, for tests/golden.rs to compare with.

Run by hand when the definition in src/mel.rs changes:  python3 tests/golden/make_logmel.py
The input is a formula of integers, so that only the output needs storing.
"""

import json
from pathlib import Path

import numpy as np

RATE, WINDOW, HOP, FFT, MELS, LOW, HIGH = 16_000, 400, 160, 512, 64, 60.0, 7600.0


def signal(n: int) -> np.ndarray:
    """Two chirps by phase accumulation in integers, a burst and silence; f32 in -1..1."""
    i = np.arange(n, dtype=np.int64)
    chirp = ((i * i) // 40 % 2000 - 1000) / 2000.0
    low = ((i * 37) % 1600 - 800) / 3000.0
    burst = np.where((i // 800) % 3 == 0, 1.0, 0.05)
    silent = (i >= n - 1600).astype(np.float64)
    return ((chirp + low) * burst * (1.0 - silent)).astype(np.float32)


def filters() -> np.ndarray:
    """Triangles of peak 1, equally spaced on the HTK mel scale; [MELS, FFT / 2 + 1]."""

    def hz(m: np.ndarray) -> np.ndarray:
        return 700.0 * (10.0 ** (m / 2595.0) - 1.0)

    low, high = 2595.0 * np.log10(1.0 + np.array([LOW, HIGH]) / 700.0)
    edges = hz(np.linspace(low, high, MELS + 2))
    bins = np.arange(FFT // 2 + 1) * RATE / FFT
    a, b, c = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return np.clip(np.minimum((bins - a) / (b - a), (c - bins) / (c - b)), 0.0, None)


def main() -> None:
    n = 16_000
    x = np.concatenate([np.zeros(120), signal(n).astype(np.float64), np.zeros(WINDOW)])
    frames = np.stack([x[k * HOP : k * HOP + WINDOW] for k in range(n // HOP)])
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW), FFT)) ** 2
    logmel = np.log(power @ filters().T + 1e-6)
    chosen = [0, 1, 2, 7, 23, 50, 51, 77, 98, 99]
    out = {"samples": n, "frames": chosen, "logmel": np.round(logmel[chosen], 5).tolist()}
    (Path(__file__).parent / "logmel.json").write_text(json.dumps(out) + "\n")


if __name__ == "__main__":
    main()
