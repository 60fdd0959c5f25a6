"""Where in footage the sound comes from, asked of an engine: the first step of learning from it.

For each clip: embeddings over a pyramid of sizes, scores at 31 offsets averaged over windows of two seconds, the
offset that serves the whole clip best, and in each shot the path of places (Viterbi) that agree best with the sound
there. No face detector: what an engine does not recognise yet gets a low confidence, is hardly trained on, and is
asked again when the engine has become better.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .engine import Array, Engine, clip_mel
from .footage import SIDE, Clip
from .mel import FRAMES_PER_SLOT
from .nets import SLOTS, STRIDE
from .spots import REFERENCE_FACE, Spot

SIDES = (96, 144, 208)
"""Shorter sides of the pyramid, pixels."""
REACH = 15
WINDOW, HOP = 50, 25
_PRIOR_SLOTS = 2.5
_BATCH = 50


def resize(video: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """[n, h, w] so that the shorter side is `side`, both sides multiples of the stride."""
    h, w = video.shape[1:]
    scale = side / min(h, w)
    size = tuple(max(STRIDE, round(s * scale / STRIDE) * STRIDE) for s in (w, h))
    return np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in video])


def embed(engine: Engine, video: NDArray[np.uint8]) -> Array:
    """[n, h, w] pictures to [n, dim, rows, cols]; the first and last stand still beyond the ends."""
    half = SLOTS // 2
    padded = np.concatenate([video[:1].repeat(half, 0), video, video[-1:].repeat(half, 0)])
    out = []
    for k in range(0, len(video), _BATCH):
        part = padded[k : k + _BATCH + SLOTS - 1].astype(np.float32) / 255
        stacks = np.stack([part[i : i + SLOTS] for i in range(len(part) - SLOTS + 1)])
        stacks -= stacks.mean((1, 2, 3), keepdims=True)
        out.append(engine.video(stacks))
    return np.concatenate(out)


def gather(audio: Array, slots: range, shifts: NDArray[np.int64]) -> Array:
    """[dim, frames] to [slots, dim, shifts]: the sound `shifts` frames later than each slot.

    Slot t begins at frame 4 t; frames beyond the ends count as their nearest.
    """
    at = FRAMES_PER_SLOT * np.asarray(slots)[:, None] + shifts
    return audio[:, np.clip(at, 0, audio.shape[1] - 1)].transpose(1, 0, 2)


def log_mean_exp(values: Array) -> Array:
    """Over the last axis but one."""
    peak = values.max(-2)
    return peak + np.log(np.exp(values - peak[..., None, :]).mean(-2))


def scores(video: Array, audio: Array) -> Array:
    """[n, dim, rows, cols] and [dim, 4 n] to [n, rows * cols, 2 * REACH + 1]: shift k is k - REACH slots later."""
    n, dim = video.shape[:2]
    gathered = gather(audio, range(n), FRAMES_PER_SLOT * np.arange(-REACH, REACH + 1))
    return np.matmul(video.reshape(n, dim, -1).transpose(0, 2, 1), gathered)


def windows(begin: int, end: int) -> list[tuple[int, int]]:
    """Windows over a shot; a short shot is one."""
    if end - begin < HOP:
        return []
    starts = range(begin, max(begin + 1, end - WINDOW + 1), HOP)
    return [(s, min(end, s + WINDOW)) for s in starts]


def _smooth(maps: Array, rows: int, cols: int) -> Array:
    """3x3 mean over space of [windows, cells, shifts]."""
    shaped = maps.reshape(len(maps), rows, cols, -1)
    return np.stack([cv2.blur(m, (3, 3), borderType=cv2.BORDER_REPLICATE) for m in shaped]).reshape(maps.shape)


def _path(gain: Array, rows: int, cols: int, cost: float = 0.004) -> list[int]:
    """The sequence of cells with the largest sum of `gain` [windows, cells], `cost` for each cell moved."""
    y, x = np.divmod(np.arange(rows * cols), cols)
    far = cost * np.hypot(y[:, None] - y[None], x[:, None] - x[None]).astype(np.float32)
    total, back = gain[0], []
    for here in gain[1:]:
        choice = total[None] - far
        best = choice.argmax(1)
        back.append(best)
        total = here + choice[np.arange(len(best)), best]
    cell = int(total.argmax())
    path = [cell]
    for best in reversed(back):
        cell = int(best[cell])
        path.append(cell)
    return path[::-1]


def localise(engine: Engine, clip: Clip, sides: tuple[int, ...] = SIDES) -> list[Spot]:
    """One spot for each shot of at least a second."""
    video, audio = np.asarray(clip.video()), engine.audio(clip_mel(np.asarray(clip.audio())))
    spans = [(shot, windows(*shot)) for shot in clip.shots()]
    flat = [w for _, ws in spans for w in ws]
    if not flat:
        return []
    means, shapes = [], []
    for side in sides:
        v = embed(engine, resize(video, side))
        s = scores(v, audio)
        rows, cols = v.shape[2:]
        shapes.append((rows, cols))
        means.append(_smooth(np.stack([s[a:b].mean(0) for a, b in flat]), rows, cols))
    # The offset of the whole clip: evidence of all windows and sizes, and a prior at zero.
    everywhere = np.concatenate(means, axis=1)  # [windows, cells of all sizes, shifts]
    evidence = log_mean_exp(engine.scale * everywhere).sum(0)
    shift = np.arange(-REACH, REACH + 1)
    best = int((evidence - 0.5 * (shift / _PRIOR_SLOTS) ** 2).argmax())
    apart = np.abs(shift - shift[best]) > 3
    out, first = [], 0
    h, w = video.shape[1:]
    for (begin, end), ws in spans:
        if not ws:
            continue
        here = slice(first, first + len(ws))
        first += len(ws)
        gains = [m[here][..., best] - m[here][..., apart].mean(-1) for m in means]
        size = int(np.argmax([g.max(1).sum() for g in gains]))
        rows, cols = shapes[size]
        path = _path(gains[size], rows, cols)
        middles = [(a + b) / 2 for a, b in ws]
        at = [*range(begin, end, Spot.STEP), end - 1]
        out.append(
            Spot(
                clip=clip.name,
                begin=begin,
                end=end,
                x=tuple(np.interp(at, middles, [(p % cols + 0.5) * w / cols for p in path]).round(1).tolist()),
                y=tuple(np.interp(at, middles, [(p // cols + 0.5) * h / rows for p in path]).round(1).tolist()),
                face=round(REFERENCE_FACE * SIDE / sides[size], 1),
                known=False,
                offset_ms=40.0 * shift[best].item(),
                confidence=round(float(np.mean([g[k] for g, k in zip(gains[size], path, strict=True)])), 4),
            )
        )
    return out
