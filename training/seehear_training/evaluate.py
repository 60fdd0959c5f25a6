"""How well an engine knows when and where picture and sound agree, on people it was not trained on.

Two ways of looking, no face detector in either:

- *whole*: whole pictures at fixed sizes (`sides`); every cell of all sizes counts (log-mean-exp).
- *object*: along the trajectory that `localise.py` finds with the same engine, nine cells around it, at the size it
  found: what the product does with an audio-visual object.

Measures:

- sync: the offset read from windows of 1, 2 and 4 s against the clip's own (read from all of it; synthetic scenes know
  theirs), within one slot; the two halves of a clip against each other, within 20 ms; a known delay, found again, with
  the sound cut anew at any sample.
- pointing: several clips shown at once, the sound of one: which one agrees best at the offsets near its own.

Baselines by the same code: `MotionEngine` (mouth-motion energy: the frame difference in each cell, correlated with
loudness), and `centre` (the same engine, asked only at the middle of the picture).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .engine import Array, Engine, clip_mel
from .footage import FPS, Clip
from .localise import embed, gather, log_mean_exp, resize
from .mel import FRAMES_PER_SLOT
from .nets import STRIDE
from .spots import REFERENCE_FACE, Spot

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
    # Rounding may leave them by a hair.
    return max(0.0, middle - half), min(1.0, middle + half)


def share(oks: Iterable[bool]) -> dict[str, Any]:
    """A share with its interval and count."""
    values = [bool(x) for x in oks]
    low, high = wilson(sum(values), len(values))
    mean = sum(values) / max(1, len(values))
    return {"share": round(mean, 4), "low": round(low, 4), "high": round(high, 4), "count": len(values)}


def words(shared: dict[str, Any]) -> str:
    """A `share` for people."""
    return f"{shared['share']:.1%} ({shared['low']:.0%}–{shared['high']:.0%}, n {shared['count']})"


class MotionEngine:
    """Baseline: per cell, the frame difference; per frame, the loudness. Scores correlate the two over the window."""

    name, scale, zero_ms = "motion-energy", 1.0, 0.0


Asked = Engine | MotionEngine


@dataclass
class Embedded:
    """A clip's embeddings: maps at each size, sound at 100 Hz."""

    clip: Clip
    video: list[Array]
    """Per size [slots, dim, rows, cols]."""
    audio: Array
    """[dim, 4 slots]."""
    truth_ms: float | None = None
    """The offset, where it is known."""
    unseen: tuple[tuple[int, int], ...] = ()
    """Slots [begin, end) in which nobody is seen to talk: nothing there can be right or wrong."""

    @property
    def slots(self) -> int:
        """Length."""
        return self.audio.shape[1] // FRAMES_PER_SLOT

    def windows(self, size: int, hop: int) -> list[int]:
        """Where windows of `size` slots begin: every `hop` from the start of each stretch that is seen.

        15 slots are left at either end of the clip, so that all shifts of a window lie within it.
        """
        out, begin = [], 15
        for stop, resume in [*sorted(self.unseen), (self.slots - 15, 0)]:
            end = min(stop, self.slots - 15)
            out += range(begin, end - size + 1, hop)
            begin = max(begin, resume)
        return out


def read_unseen(path: Path) -> dict[str, list[tuple[int, int]]]:
    """A tab-separated table `file begin_s end_s`, marked by hand; slots by clip name."""
    out: dict[str, list[tuple[int, int]]] = {}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            span = (math.floor(float(row["begin_s"]) * FPS), math.ceil(float(row["end_s"]) * FPS))
            out.setdefault(row["file"], []).append(span)
    return out


def hear(engine: Asked, sound: NDArray[np.int16]) -> Array:
    """[dim, frames]."""
    if isinstance(engine, MotionEngine):
        return clip_mel(sound).mean(0)[None].astype(np.float32)
    return engine.audio(clip_mel(sound))


def see(engine: Asked, video: NDArray[np.uint8], side: int) -> Array:
    """[slots, dim, rows, cols] at one size."""
    small = resize(video, side)
    if not isinstance(engine, MotionEngine):
        return embed(engine, small).astype(np.float16)
    change = np.abs(np.diff(small.astype(np.float32), axis=0, prepend=small[:1]))
    n, h, w = change.shape
    return change.reshape(n, h // STRIDE, STRIDE, w // STRIDE, STRIDE).mean((2, 4))[:, None]


def whole(engine: Asked, clip: Clip, sides: tuple[int, ...]) -> Embedded:
    """All of the picture, at each size."""
    video, sound = np.asarray(clip.video()), np.asarray(clip.audio())
    return Embedded(clip, [see(engine, video, side) for side in sides], hear(engine, sound))


def centre(item: Embedded) -> Embedded:
    """Only the middle three by three cells of each size: what taking the middle for the face would give."""

    def middle(maps: Array) -> Array:
        y, x = (n // 2 for n in maps.shape[2:])
        return maps[:, :, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]

    return replace(item, video=[middle(m) for m in item.video])


def patch(maps: Array, x: Array, y: Array) -> Array:
    """Nine cells around a path: maps [n, dim, rows, cols], path in cells [n], to [n, dim, 3, 3]; edges repeat."""
    rows, cols = maps.shape[2:]
    near = np.arange(-1, 2)
    yy = np.clip(np.floor(y).astype(int)[:, None] + near, 0, rows - 1)
    xx = np.clip(np.floor(x).astype(int)[:, None] + near, 0, cols - 1)
    n = np.arange(len(maps))[:, None, None]
    return maps[n, :, yy[:, :, None], xx[:, None, :]].transpose(0, 3, 1, 2)


def follow(engine: Engine, clip: Clip, spots: list[Spot], face: float = REFERENCE_FACE) -> Embedded:
    """Along the spots' trajectories, faces brought to `face` pixels; slots outside all of them say nothing."""
    video, sound = np.asarray(clip.video()), np.asarray(clip.audio())
    out: Array | None = None
    for spot in spots:
        side = max(2 * STRIDE, round(min(video.shape[1:]) * face / spot.face))
        maps = see(engine, video[spot.begin : spot.end], side)
        at = [spot.centre(k + 0.5) for k in range(spot.begin, spot.end)]
        path = np.array(at) / np.array(video.shape[:0:-1]) * np.array(maps.shape[:1:-1])
        if out is None:
            out = np.zeros((len(video), maps.shape[1], 3, 3), np.float16)
        out[spot.begin : spot.end] = patch(maps, path[:, 0], path[:, 1])
    if out is None:
        raise ValueError(f"{clip.name}: no spots")
    truth = next((s.offset_ms for s in spots if s.known), None)
    return Embedded(clip, [out], hear(engine, sound), truth)


def curve(item: Embedded, begin: int, end: int, engine: Asked, sound: Array | None = None) -> Array:
    """The window's evidence at each shift of -600 ... 600 ms in steps of 10: log-mean-exp over places and sizes.

    `sound`: another's, to compare with.
    """
    audio = item.audio if sound is None else sound
    shifts = np.arange(-REACH_MS, REACH_MS + 1, STEP_MS) // STEP_MS
    gathered = gather(audio, range(begin, end), shifts).astype(np.float32)  # [t, dim, shifts]
    total = []
    for video in item.video:
        part = video[begin:end].astype(np.float32)  # [t, dim, rows, cols]
        t, dim = part.shape[:2]
        part = part.reshape(t * dim, -1).T
        if isinstance(engine, MotionEngine):
            a = gathered[:, 0] - gathered[:, 0].mean(0)
            v = part - part.mean(1, keepdims=True)
            norm = np.linalg.norm(a, axis=0) * np.linalg.norm(v, axis=1)[:, None] + 1e-6
            total.append(30 * (v @ a) / norm)
        else:
            total.append(engine.scale * (part @ gathered.reshape(t * dim, -1)) / t)
    return log_mean_exp(np.concatenate(total))


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


def recut(sound: NDArray[np.int16], samples: int) -> NDArray[np.int16]:
    """The sound delayed by `samples` (earlier if negative), its length kept; what is missing is silence."""
    out = np.zeros_like(sound)
    if samples >= 0:
        out[samples:] = sound[: len(sound) - samples]
    else:
        out[:samples] = sound[-samples:]
    return out


def sync(engine: Asked, items: list[Embedded], seed: int = 1) -> dict[str, Any]:
    """The measures of sync; also each clip's own offset under `offsets_ms`."""
    rng = np.random.default_rng(seed)
    hits: dict[float, list[bool]] = {w: [] for w in WINDOWS_S}
    halves, shifted, offsets = [], [], {}
    for item in items:
        low, high = 15, item.slots - 15  # the windows' shifts stay within the clip
        if high - low < 25:
            continue
        own = refine(curve(item, low, high, engine))
        offsets[item.clip.name] = round(own, 1)
        truth = own if item.truth_ms is None else item.truth_ms + engine.zero_ms
        for seconds in WINDOWS_S:
            size = round(25 * seconds)
            for begin in item.windows(size, size):
                hits[seconds].append(abs(refine(curve(item, begin, begin + size, engine)) - truth) <= 40)
        if high - low >= 100:
            middle = (low + high) // 2
            parts = [refine(curve(item, a, b, engine)) for a, b in ((low, middle), (middle, high))]
            halves.append(abs(parts[0] - parts[1]) <= 20)
            delay = int(rng.integers(-200 * 16, 200 * 16 + 1))
            moved = hear(engine, recut(np.asarray(item.clip.audio()), delay))
            shifted.append(abs(refine(curve(item, low, high, engine, moved)) - own - delay / 16))
    return {
        "windows": {f"{w:g} s": share(v) for w, v in hits.items()},
        "halves_within_20ms": share(halves),
        "known_delay_median_ms": round(float(np.median(shifted)), 2) if shifted else None,
        "offset_median_ms": round(float(np.median(list(offsets.values()))), 1) if offsets else None,
        "offsets_ms": offsets,
    }


def pointing(
    engine: Asked, items: list[Embedded], offsets: dict[str, float], trials: int = 400, seed: int = 1
) -> dict[str, Any]:
    """Windows of 1, 2 and 4 s: of two to four different people, all talking, whose sound is it?

    Each candidate's evidence is that of shifts within 80 ms of its own clip's offset, over the rest of its curve.
    """
    rng = np.random.default_rng(seed)
    out: dict[str, Any] = {}
    for seconds in WINDOWS_S:
        size = round(25 * seconds)
        able = [x for x in items if x.windows(size, 1) and x.clip.name in offsets]
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
            begins = [int(rng.choice(c.windows(size, 1))) for c in chosen]
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
