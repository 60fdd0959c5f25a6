"""Lip sync the classical way: what moves in the picture against how loud the sound is.

Frame-difference energy in each cell of a grid is correlated with the sound's level at every shift in steps of 10 ms;
the cell and shift of the highest correlation are the answer, refined by a parabola. No learning, and no way to say
"nobody".
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .media import read, read_sound
from .speech import SAMPLE_RATE

WIDTH, HEIGHT, CELL = 320, 180, 20
STEP_MS = 10
_FRAME_STEPS = 4
"""Steps of the sound's grid in a frame of 40 ms."""


def motion(path: Path) -> NDArray[np.float32]:
    """Frame-difference energy `[frames, cells]` at 25 fps; row k is what changed about the time 40 k ms."""
    filters = f"fps=25:start_time=0,scale={WIDTH}:{HEIGHT}:flags=area,format=gray"
    raw = read(["ffmpeg", "-v", "error", "-i", str(path), "-vf", filters, "-f", "rawvideo", "-"])
    frames = np.frombuffer(raw, np.uint8).reshape(-1, HEIGHT, WIDTH)
    rows, cols = HEIGHT // CELL, WIDTH // CELL
    energy = np.zeros((len(frames), rows * cols), np.float32)
    for k in range(1, len(frames)):
        change = np.abs(frames[k].astype(np.float32) - frames[k - 1])
        energy[k] = change.reshape(rows, CELL, cols, CELL).mean((1, 3)).ravel()
    return energy


def loudness(path: Path) -> NDArray[np.float32]:
    """Level of the sound, dB, every 10 ms, of 40 ms about each instant."""
    sound = read_sound(path, "aresample=async=1:first_pts=0").astype(np.float32) / 32768
    half, hop = SAMPLE_RATE // 50, SAMPLE_RATE * STEP_MS // 1000
    power = np.concatenate([[0.0], np.cumsum(np.pad(sound, half).astype(np.float64) ** 2)])
    level = (power[2 * half :: hop] - power[: -2 * half : hop]) / (2 * half)
    return (10 * np.log10(level + 1e-7)).astype(np.float32)


def offset_ms(energy: NDArray[np.float32], level: NDArray[np.float32], reach_ms: int = 600) -> float | None:
    """The shift of highest correlation; > 0: the sound is late. None where too little of both is there."""
    reach = reach_ms // STEP_MS
    first = -(-reach // _FRAME_STEPS)
    last = (len(level) - reach - 1) // _FRAME_STEPS
    frames = np.arange(first, min(last, len(energy) - 1) + 1)
    if len(frames) < 50:
        return None
    seen = _standard(energy[frames])
    curve = []
    for shift in range(-reach, reach + 1):
        heard = _standard(level[frames * _FRAME_STEPS + shift])
        curve.append(heard @ seen / len(frames))
    best = np.array(curve)
    k, cell = np.unravel_index(int(best.argmax()), best.shape)
    part = 0.0
    if 0 < k < len(best) - 1:
        before, here, after = best[k - 1 : k + 2, cell]
        bend = before - 2 * here + after
        part = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return float((k - reach + part) * STEP_MS)


def _standard(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return (x - x.mean(0)) / (x.std(0) + 1e-6)
