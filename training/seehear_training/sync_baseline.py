"""Lip sync the classical way: what moves in the picture against how loud the sound is.

Frame-difference energy in each cell of a grid is correlated with the sound's level at every shift in steps of 10 ms;
the cell and shift of the highest correlation are the answer, refined by a parabola. No learning, and no way to say
"nobody". It may be told where the talker's face is and when they are heard, which spares it the search.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


def offset_ms(
    energy: NDArray[np.float32],
    level: NDArray[np.float32],
    reach_ms: int = 600,
    heard: NDArray[np.bool_] | None = None,
) -> float | None:
    """The shift of highest correlation; > 0: the sound is late. None where too little of both is there.

    `heard`: the frames that count, on the picture's clock; None: all.
    """
    reach = reach_ms // STEP_MS
    first = -(-reach // _FRAME_STEPS)
    last = (len(level) - reach - 1) // _FRAME_STEPS
    frames = np.arange(first, min(last, len(energy) - 1) + 1)
    if heard is not None:
        frames = frames[heard[np.minimum(frames, len(heard) - 1)]]
    if len(frames) < 50 or not energy.shape[1]:
        return None
    seen = _standard(energy[frames])
    curve = []
    for shift in range(-reach, reach + 1):
        loud = _standard(level[frames * _FRAME_STEPS + shift])
        curve.append(loud @ seen / len(frames))
    best = np.array(curve)
    k, cell = np.unravel_index(int(best.argmax()), best.shape)
    part = 0.0
    if 0 < k < len(best) - 1:
        before, here, after = best[k - 1 : k + 2, cell]
        bend = before - 2 * here + after
        part = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return float((k - reach + part) * STEP_MS)


def talker(truth: dict[str, Any], frames: int) -> tuple[list[int], NDArray[np.bool_]] | None:
    """Who is heard longest: the grid's cells on the mouth's half of their face, and the frames in which they are heard.

    Where the truth knows no face, their region of the picture. None where nobody visible is heard.
    """
    held: dict[int, float] = {}
    for turn in truth["turns"]:
        if turn["who"] is not None and turn["who"] >= 0:
            held[turn["who"]] = held.get(turn["who"], 0.0) + turn["end_ms"] - turn["start_ms"]
    if not held:
        return None
    who = max(held, key=lambda k: held[k])
    x, y, w, h = truth["cells"][who]
    person = truth["people"][who]
    boxes = [b for b in person["box"] if b] if isinstance(person, dict) else []
    if boxes:
        x, y, w, h = np.median(boxes, 0)
        y, h = y + h / 2, h / 2
    across, down = WIDTH / CELL / truth["width"], HEIGHT / CELL / truth["height"]
    rows, cols = (_span(y * down, h * down, HEIGHT // CELL), _span(x * across, w * across, WIDTH // CELL))
    at_ms = np.arange(frames) * 40
    heard = np.zeros(frames, bool)
    for turn in truth["turns"]:
        if turn["who"] == who:
            heard |= (at_ms >= turn["start_ms"]) & (at_ms < turn["end_ms"])
    return [r * (WIDTH // CELL) + c for r in rows for c in cols], heard


def _span(begin: float, length: float, count: int) -> range:
    """Every cell that it touches."""
    return range(max(0, int(begin)), min(count, int(np.ceil(begin + length))))


def _standard(x: NDArray[np.float32]) -> NDArray[np.float32]:
    return (x - x.mean(0)) / (x.std(0) + 1e-6)
