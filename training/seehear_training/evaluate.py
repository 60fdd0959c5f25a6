"""How well an engine knows when and where picture and sound agree, on footage of people it was not trained on.

All on whole pictures, no crops and no face detector, at fixed sizes of the picture (`sides`, the best place of all of
them counts):

- sync: the offset read from windows of 1, 2 and 4 s against the clip's own (read from all of it), within one slot;
  the two halves of a clip against each other, within 20 ms; a known shift of the sound, found again.
- pointing: several clips shown at once, the sound of one: which one agrees best at the offsets near zero.

Baselines by the same code: `MotionEngine` (mouth-motion energy: the frame difference in each cell, correlated with
loudness), and always-centre for pointing is chance, since every clip is its own picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .engine import Array, Engine, clip_mel
from .footage import Clip
from .localise import embed, resize
from .mel import FRAMES_PER_SLOT

REACH_MS = 600
STEP_MS = 10
WINDOWS_S = (1.0, 2.0, 4.0)


def wilson(hits: float, count: int) -> tuple[float, float]:
    """95 % confidence interval of a share (Wilson 1927)."""
    if count == 0:
        return 0.0, 1.0
    z, p = 1.96, hits / count
    middle = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(p * (1 - p) / count + z * z / (4 * count * count))
    return middle - half, middle + half


def share(oks: Iterable[bool]) -> dict[str, Any]:
    """A share with its interval and count."""
    values = [bool(x) for x in oks]
    low, high = wilson(sum(values), len(values))
    mean = sum(values) / max(1, len(values))
    return {"share": round(mean, 4), "low": round(low, 4), "high": round(high, 4), "count": len(values)}


class MotionEngine:
    """Baseline: per cell, the frame difference; per frame, the loudness. Scores correlate the two over the window."""

    name, scale, zero_ms = "motion-energy", 1.0, 0.0


@dataclass
class Embedded:
    """A clip's embeddings: maps at each size, sound at 100 Hz."""

    clip: Clip
    video: list[Array]
    """Per size [slots, dim, rows, cols]."""
    audio: Array
    """[dim, 4 slots]."""


def prepare(engine: Engine | MotionEngine, clip: Clip, sides: tuple[int, ...]) -> Embedded:
    """Everything the measures need of a clip."""
    video, sound = np.asarray(clip.video()), np.asarray(clip.audio())
    if isinstance(engine, MotionEngine):
        return _motion(clip, video, sound, sides)
    maps = [embed(engine, resize(video, side)).astype(np.float16) for side in sides]
    return Embedded(clip, maps, engine.audio(clip_mel(sound)))


def _motion(clip: Clip, video: NDArray[np.uint8], sound: NDArray[np.int16], sides: tuple[int, ...]) -> Embedded:
    level = clip_mel(sound).mean(0)
    maps = []
    for side in sides:
        small = resize(video, side).astype(np.float32)
        change = np.abs(np.diff(small, axis=0, prepend=small[:1]))
        n, h, w = change.shape
        cells = change.reshape(n, h // 16, 16, w // 16, 16).mean((2, 4))
        maps.append(cells[:, None])
    return Embedded(clip, maps, level[None].astype(np.float32))


def curve(
    item: Embedded, begin: int, end: int, engine: Engine | MotionEngine, sound: Array | None = None, delay_ms: int = 0
) -> Array:
    """The window's evidence at each shift of -600 ... 600 ms in steps of 10: log-mean-exp over places and sizes.

    `sound`: another's, to compare with; `delay_ms` moves it, > 0 later.
    """
    audio = item.audio if sound is None else sound
    shifts = np.arange(-REACH_MS, REACH_MS + 1, STEP_MS) // STEP_MS - delay_ms // STEP_MS
    at = FRAMES_PER_SLOT * np.arange(begin, end)[None] + shifts[:, None]
    gathered = audio[:, np.clip(at, 0, audio.shape[1] - 1)]  # [dim, shifts, t]
    gathered = gathered.transpose(1, 2, 0).astype(np.float32)  # [shifts, t, dim]
    total = []
    for video in item.video:
        part = video[begin:end].astype(np.float32)  # [t, dim, rows, cols]
        t, dim = part.shape[:2]
        part = part.reshape(t * dim, -1)
        if isinstance(engine, MotionEngine):
            a = gathered[..., 0] - gathered[..., 0].mean(1, keepdims=True)
            v = part - part.mean(0)
            norm = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(v, axis=0)[None] + 1e-6
            total.append(30 * (a @ v) / norm)
        else:
            total.append(engine.scale * (gathered.reshape(len(shifts), -1) @ part) / t)
    every = np.concatenate(total, axis=1)
    peak = every.max(1)
    return peak + np.log(np.exp(every - peak[:, None]).mean(1))


def refine(values: Array) -> float:
    """The place of the peak on the shift axis, ms, by a parabola through it and its neighbours 20 ms away."""
    k = int(values.argmax())
    offset = 0.0
    if 2 <= k < len(values) - 2:
        before, here, after = float(values[k - 2]), float(values[k]), float(values[k + 2])
        bend = before - 2 * here + after
        if bend < 0:
            offset = float(np.clip(0.5 * (before - after) / bend, -0.5, 0.5)) * 2
    return (k + offset) * STEP_MS - REACH_MS


def sync(engine: Engine | MotionEngine, items: list[Embedded], seed: int = 1) -> dict[str, Any]:
    """The measures of sync; also each clip's own offset under `offsets_ms`."""
    rng = np.random.default_rng(seed)
    hits: dict[float, list[bool]] = {w: [] for w in WINDOWS_S}
    halves, shifted, offsets = [], [], {}
    for item in items:
        slots = item.audio.shape[1] // FRAMES_PER_SLOT
        low, high = 15, slots - 15  # the windows' shifts stay within the clip
        if high - low < 25:
            continue
        whole = refine(curve(item, low, high, engine))
        offsets[item.clip.name] = round(whole, 1)
        for seconds in WINDOWS_S:
            size = round(25 * seconds)
            for begin in range(low, high - size + 1, size):
                hits[seconds].append(abs(refine(curve(item, begin, begin + size, engine)) - whole) <= 40)
        if high - low >= 100:
            middle = (low + high) // 2
            parts = [refine(curve(item, a, b, engine)) for a, b in ((low, middle), (middle, high))]
            halves.append(abs(parts[0] - parts[1]) <= 20)
            delay = 10 * int(rng.integers(-20, 21))
            moved = refine(curve(item, low, high, engine, delay_ms=delay))
            shifted.append(abs(moved - whole - delay))
    return {
        "windows": {f"{w:g} s": share(v) for w, v in hits.items()},
        "halves_within_20ms": share(halves),
        "known_shift_median_ms": round(float(np.median(shifted)), 2) if shifted else None,
        "offset_median_ms": round(float(np.median(list(offsets.values()))), 1) if offsets else None,
        "offsets_ms": offsets,
    }


def pointing(
    engine: Engine | MotionEngine, items: list[Embedded], offsets: dict[str, float], trials: int = 400, seed: int = 1
) -> dict[str, Any]:
    """Windows of 1, 2 and 4 s: of two to four different people, all talking, whose sound is it?

    Each candidate's evidence is that of shifts within 80 ms of its own clip's offset, over the rest of its curve.
    """
    rng = np.random.default_rng(seed)
    out: dict[str, Any] = {}
    for seconds in WINDOWS_S:
        size = round(25 * seconds)
        able = [x for x in items if x.audio.shape[1] // FRAMES_PER_SLOT >= size + 30 and x.clip.name in offsets]
        oks = []
        for _ in range(trials):
            count = int(rng.choice([2, 2, 3, 4]))
            order = rng.permutation(len(able))
            chosen: list[Embedded] = []
            for k in order:
                if all(able[k].clip.person != c.clip.person for c in chosen):
                    chosen.append(able[k])
                if len(chosen) == count:
                    break
            speaker = chosen[0]
            begins = [int(rng.integers(15, c.audio.shape[1] // FRAMES_PER_SLOT - size - 14)) for c in chosen]
            frame = FRAMES_PER_SLOT * begins[0]
            evidence = []
            for c, begin in zip(chosen, begins, strict=True):
                # The speaker's sound, moved to where the candidate's window begins.
                sound = np.roll(speaker.audio, FRAMES_PER_SLOT * begin - frame, axis=1)
                if len(sound.T) < FRAMES_PER_SLOT * (begin + size + 15):
                    sound = np.pad(sound, ((0, 0), (0, 4 * (begin + size + 15) - sound.shape[1])), mode="wrap")
                values = curve(c, begin, begin + size, engine, sound)
                near = round((offsets[speaker.clip.name] + REACH_MS) / STEP_MS)
                close = values[max(0, near - 8) : near + 9]
                evidence.append(float(np.logaddexp.reduce(close) - np.logaddexp.reduce(values)))
            oks.append(int(np.argmax(evidence)) == 0)
        out[f"{seconds:g} s"] = share(oks)
    return out
