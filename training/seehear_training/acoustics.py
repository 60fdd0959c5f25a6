"""The room and whatever else sounds in it: reverberation, noise beds, music.

Everything is float32 mono at `SAMPLE_RATE` and drawn from a seed. Levels are dB relative to full scale (RMS) unless a
name says otherwise. Reverberation starts with the direct sound at time zero, so it never shifts a voice.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .speech import SAMPLE_RATE

NOISE_KINDS = ("white", "pink", "brown", "hum", "crackle")


def db_to_gain(db: float) -> float:
    """Amplitude factor of a level in dB."""
    return float(10.0 ** (db / 20.0))


def rms(audio: NDArray[np.float32]) -> float:
    """Root mean square; 0 for no samples."""
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64)))) if len(audio) else 0.0


def at_level(audio: NDArray[np.float32], level_db: float) -> NDArray[np.float32]:
    """Scaled to an RMS level; silence stays silence."""
    level = rms(audio)
    return (audio * (db_to_gain(level_db) / level)).astype(np.float32) if level > 1e-9 else audio


def shift(audio: NDArray[np.float32], offset_ms: float) -> NDArray[np.float32]:
    """Delay by `offset_ms` (negative: advance), to the nearest sample; length kept, silence moves in."""
    move = round(offset_ms * SAMPLE_RATE / 1000)
    out = np.zeros_like(audio)
    if move >= 0:
        out[move:] = audio[: max(0, len(audio) - move)]
    else:
        out[:move] = audio[-move:]
    return out


def convolve(audio: NDArray[np.float32], response: NDArray[np.float32]) -> NDArray[np.float32]:
    """Causal convolution, cut to the input's length."""
    size = 1 << int(np.ceil(np.log2(len(audio) + len(response))))
    product = np.fft.rfft(audio, size) * np.fft.rfft(response, size)
    return np.fft.irfft(product, size)[: len(audio)].astype(np.float32)


def room_response(rng: np.random.Generator, decay_s: float, wetness: float) -> NDArray[np.float32]:
    """Impulse response: the direct sound, a few early echoes, noise that falls by 60 dB in `decay_s`."""
    length = max(2, int(decay_s * SAMPLE_RATE))
    time = np.arange(length) / SAMPLE_RATE
    tail = rng.standard_normal(length) * 10 ** (-3 * time / decay_s)
    tail[: int(0.004 * SAMPLE_RATE)] = 0
    tail *= wetness / max(1e-9, float(np.sqrt(np.sum(tail**2))))
    for _ in range(5):
        delay = min(length - 1, int(rng.uniform(0.004, 0.04) * SAMPLE_RATE))
        tail[delay] += float(rng.uniform(-0.35, 0.35)) * wetness
    tail[0] = 1.0
    return tail.astype(np.float32)


def noise_bed(rng: np.random.Generator, kind: str, length: int) -> NDArray[np.float32]:
    """`length` samples of background noise, RMS 1."""
    if kind not in NOISE_KINDS:
        raise ValueError(f"noise {kind!r}: expected one of {', '.join(NOISE_KINDS)}")
    if kind == "hum":
        time = np.arange(length) / SAMPLE_RATE
        mains = float(rng.choice([50.0, 60.0]))
        out = sum(
            rng.uniform(0.1, 1) / k * np.sin(2 * np.pi * mains * k * time + rng.uniform(0, 6)) for k in range(1, 8)
        )
        out = out + 0.1 * rng.standard_normal(length)
    elif kind == "crackle":
        out = 0.05 * rng.standard_normal(length) + (rng.random(length) < 0.0006) * rng.standard_normal(length) * 4
    else:
        spectrum = np.fft.rfft(rng.standard_normal(length))
        frequency = np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE), 20.0)
        out = np.fft.irfft(spectrum / frequency ** {"white": 0.0, "pink": 0.5, "brown": 1.0}[kind], length)
    out = np.asarray(out, np.float32)
    return out / max(1e-9, rms(out))


def music_bed(rng: np.random.Generator, length: int) -> NDArray[np.float32]:
    """Plucked chords over a bass and, sometimes, a beat: `length` samples, RMS 1."""
    out = np.zeros(length, np.float32)
    beat_s = 60.0 / float(rng.uniform(70, 140))
    root_hz = 110.0 * 2 ** (float(rng.integers(0, 12)) / 12)
    scale = np.array([0, 2, 4, 5, 7, 9, 11] if rng.random() < 0.6 else [0, 2, 3, 5, 7, 8, 10])
    chords = rng.integers(0, 7, 4)
    brightness = float(rng.uniform(0.3, 0.8))
    drums = rng.random() < 0.5
    step = 0
    while step * beat_s / 2 * SAMPLE_RATE < length:
        start = int(step * beat_s / 2 * SAMPLE_RATE)
        chord = int(chords[(step // 8) % 4])
        degree = chord + (0 if step % 8 == 0 else int(rng.choice([0, 2, 4, 7])))
        octave = -1 if step % 8 == 0 else int(rng.integers(0, 2))
        hz = root_hz * 2 ** ((scale[degree % 7] + 12 * (degree // 7)) / 12 + octave)
        _add(out, start, _pluck(hz, brightness))
        if drums and step % 2 == 0:
            burst = rng.standard_normal(1600) * np.exp(-np.arange(1600) / 250)
            _add(out, start, (0.3 * burst).astype(np.float32))
        step += 1
    return out / max(1e-9, rms(out))


def _pluck(hz: float, brightness: float) -> NDArray[np.float32]:
    time = np.arange(int(1.2 * SAMPLE_RATE)) / SAMPLE_RATE
    partials = [
        brightness**k * np.sin(2 * np.pi * hz * k * time) * np.exp(-time * (2 + k))
        for k in range(1, 8)
        if hz * k < 7000
    ]
    return np.sum(partials, 0).astype(np.float32)


def _add(out: NDArray[np.float32], start: int, part: NDArray[np.float32]) -> None:
    end = min(len(out), start + len(part))
    if end > start:
        out[start:end] += part[: end - start]


def add_at(out: NDArray[np.float32], start_s: float, part: NDArray[np.float32]) -> None:
    """Mix `part` into `out` from `start_s` on, in place; what reaches past the end fades over 10 ms and is cut."""
    start = round(start_s * SAMPLE_RATE)
    room = len(out) - start
    if room <= 0:
        return
    if len(part) > room:
        part = part[:room].copy()
        fade = min(room, SAMPLE_RATE // 100)
        part[room - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)
    _add(out, start, part)
