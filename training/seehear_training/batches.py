"""From clips and spots to what a training step sees.

Every item is drawn from its own seed (run, step, place in the batch), so a resumed run sees what an uninterrupted one
would have. Augmentation leaves the offset alone: what delays one stream is written into the item's truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from . import acoustics, mel
from .footage import SLOT, Clip
from .nets import SLOTS
from .spots import Spot

HALF = SLOTS // 2
Float = NDArray[np.float32]


@dataclass(frozen=True)
class Recipe:
    """Sizes and strengths of what is drawn."""

    height: int = 64
    width: int = 64
    slots: int = 20
    """Pictures whose scores are averaged: the window."""
    reach: int = 15
    """Largest shift, slots."""
    face: tuple[float, float] = (38.0, 110.0)
    """Heights of a face in the crop, pixels, log-uniform."""
    wander: float = 0.28
    """How far the spot may lie from the middle, shares of the crop."""
    augment: bool = True


@dataclass
class Batch:
    """One step's input."""

    slots: Tensor
    """[b, t + 4, h, w], grey, 0..1; `nets.stack` makes the network's input of it."""
    mel: Tensor
    """[b, 1, 64, 4 (t + 2 reach)], standardised; slot k's zero shift is frame 4 (k + reach)."""
    zero_ms: Tensor
    """[b]: where the truth lies on the shift axis if the item's own offset is nought."""
    spot: list[int]
    """Index of each item's spot."""


def _crop(video: NDArray[np.uint8], spot: Spot, begin: int, recipe: Recipe, rng: np.random.Generator) -> Float:
    """[slots + 4, height, width] around the spot, 0..1."""
    count = recipe.slots + 2 * HALF
    h, w = video.shape[1:]
    low, high = np.log(recipe.face)
    # What is too small in the source is not blown up without bound.
    zoom = min(float(np.exp(rng.uniform(low, high))) / spot.face, 2.2)
    if not recipe.augment:
        zoom = float(np.sqrt(recipe.face[0] * recipe.face[1])) / spot.face
    span_h, span_w = recipe.height / zoom, recipe.width / zoom
    x, y = spot.centre(begin + recipe.slots / 2)
    if recipe.augment:
        x += float(rng.uniform(-1, 1)) * recipe.wander * span_w
        y += float(rng.uniform(-1, 1)) * recipe.wander * span_h
    # Inside the picture where it is large enough: borders are for pictures that are smaller than the crop.
    x = float(np.clip(x, span_w / 2, w - span_w / 2)) if span_w <= w else w / 2
    y = float(np.clip(y, span_h / 2, h - span_h / 2)) if span_h <= h else h / 2
    angle = float(rng.normal(0, 6)) if recipe.augment else 0.0
    flip = recipe.augment and rng.random() < 0.5
    if zoom < 0.7:  # area average first: a bilinear sample would skip pixels
        x0, x1 = max(0, int(x - span_w * 0.75)), min(w, int(x + span_w * 0.75) + 2)
        y0, y1 = max(0, int(y - span_h * 0.75)), min(h, int(y + span_h * 0.75) + 2)
        half = max(zoom, 1e-3)
        size = (max(2, round((x1 - x0) * half)), max(2, round((y1 - y0) * half)))
    else:
        x0, x1 = max(0, int(x - span_w)), min(w, int(x + span_w) + 2)
        y0, y1 = max(0, int(y - span_h)), min(h, int(y + span_h) + 2)
        half, size = 1.0, None
    matrix = cv2.getRotationMatrix2D(((x - x0) * half, (y - y0) * half), angle, zoom / half)
    matrix[:, 2] += (recipe.width / 2 - (x - x0) * half, recipe.height / 2 - (y - y0) * half)
    out = np.empty((count, recipe.height, recipe.width), np.float32)
    quality = int(rng.integers(12, 60)) if recipe.augment and rng.random() < 0.3 else 0
    for k in range(count):
        frame = np.ascontiguousarray(video[min(max(begin - HALF + k, 0), len(video) - 1), y0:y1, x0:x1])
        if size is not None:
            frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        frame = cv2.warpAffine(
            frame, matrix, (recipe.width, recipe.height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        if quality:
            _, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])
            frame = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
        out[k] = frame
    out /= 255
    return np.ascontiguousarray(out[..., ::-1]) if flip else out


def _degrade(picture: Float, rng: np.random.Generator) -> Float:
    """Light, contrast, blur, grain, a stuck or lost picture: what cameras and networks do."""
    mean = float(picture.mean())
    picture = (picture - mean) * float(rng.uniform(0.5, 1.5)) + mean + float(rng.uniform(-0.15, 0.15))
    picture = np.clip(picture, 0, 1)
    if rng.random() < 0.3:
        picture = picture ** float(rng.uniform(0.6, 1.6))
    if rng.random() < 0.25:
        width = float(rng.uniform(0.4, 1.2))
        picture = np.stack([cv2.GaussianBlur(p, (0, 0), width) for p in picture])
    if rng.random() < 0.35:
        picture = picture + rng.standard_normal(picture.shape, np.float32) * np.float32(rng.uniform(0, 0.04))
    if rng.random() < 0.1:  # 30 to 25 pictures a second, or a lost one: a slot shows its neighbour
        for k in rng.integers(1, len(picture), int(rng.integers(1, 4))):
            picture[k] = picture[k - 1]
    if rng.random() < 0.08:  # something passes: a hand, a microphone
        h, w = picture.shape[1:]
        a, b = int(rng.integers(0, h)), int(rng.integers(0, w))
        picture[:, a : a + h // 4, b : b + w // 3] = np.float32(rng.uniform(0, 1))
    return picture.astype(np.float32)


@lru_cache(maxsize=64)
def _bed(seed: int) -> Float:
    """Ten seconds of some noise; there are not many, so they are kept."""
    rng = np.random.default_rng([seed, 99])
    return acoustics.noise_bed(rng, str(rng.choice(acoustics.NOISE_KINDS)), 160_000)


@lru_cache(maxsize=64)
def _room(seed: int) -> Float:
    """Impulse response of some room; the direct sound is at sample 0."""
    rng = np.random.default_rng([seed, 98])
    return acoustics.room_response(rng, float(rng.uniform(0.1, 0.6)), float(rng.uniform(0.1, 0.5)))


def _spoil(sound: Float, other: Float, rng: np.random.Generator) -> Float:
    """Room, noise and another voice."""
    level = float(np.sqrt(np.mean(np.square(sound)))) + 1e-5
    if rng.random() < 0.25:
        sound = acoustics.convolve(sound, _room(int(rng.integers(64))))[: len(sound)]
    if rng.random() < 0.5:
        bed = _bed(int(rng.integers(64)))
        first = int(rng.integers(0, len(bed) - len(sound))) if len(bed) > len(sound) else 0
        part = np.resize(bed[first:], len(sound))
        sound = sound + part * np.float32(
            level * 10 ** (rng.uniform(-30, -3) / 20) / (np.sqrt(np.mean(part**2)) + 1e-9)
        )
    if len(other) and rng.random() < 0.15:
        part = np.resize(other, len(sound))
        gain = level * 10 ** (rng.uniform(-20, -4) / 20) / (np.sqrt(np.mean(part**2)) + 1e-4)
        sound = sound + part * np.float32(gain)
    return sound.astype(np.float32)


def _bend(log_mel: Float, rng: np.random.Generator) -> Float:
    """Vocal tract length, microphone and loudness, on standardised log-mel [64, t]."""
    mels = log_mel.shape[0]
    if rng.random() < 0.5:  # VTLP (Jaitly and Hinton 2013): another throat says the same
        at = np.clip(np.arange(mels) * rng.uniform(0.86, 1.16), 0, mels - 1)
        low = np.minimum(at.astype(int), mels - 2)
        part = (at - low).astype(np.float32)[:, None]
        log_mel = log_mel[low] * (1 - part) + log_mel[low + 1] * part
    if rng.random() < 0.5:
        curve = np.interp(np.arange(mels), np.linspace(0, mels - 1, 5), rng.normal(0, 0.3, 5))
        log_mel = log_mel + curve.astype(np.float32)[:, None]
    if rng.random() < 0.2:
        low = int(rng.integers(0, mels - 8))
        log_mel = log_mel.copy()
        log_mel[low : low + int(rng.integers(2, 9))] = log_mel.mean()
    return log_mel * np.float32(rng.uniform(0.8, 1.25)) + np.float32(rng.uniform(-0.3, 0.3))


@dataclass
class Material:
    """All clips and spots; items are drawn from it."""

    clips: dict[str, Clip]
    spots: list[Spot]

    def __post_init__(self) -> None:
        self._media: dict[str, tuple[NDArray[np.uint8], NDArray[np.int16]]] = {}

    def media(self, name: str) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
        """Mapped picture and sound."""
        if name not in self._media:
            clip = self.clips[name]
            self._media[name] = (clip.video(), clip.audio())
        return self._media[name]

    def item(self, index: int, recipe: Recipe, rng: np.random.Generator) -> tuple[Float, Float, float]:
        """Pictures [slots + 4, h, w], mel [64, 4 (slots + 2 reach)], and where the truth lies, ms."""
        spot = self.spots[index]
        video, audio = self.media(spot.clip)
        spare = max(0, spot.end - spot.begin - recipe.slots)
        begin = spot.begin + int(rng.integers(0, spare + 1))
        picture = _crop(video, spot, begin, recipe, rng)
        # The sound is cut at any sample near the slot's, so that no shift falls on the mel grid by habit.
        shift = int(rng.integers(-1600, 1601)) if recipe.augment else 0
        count = (recipe.slots + 2 * recipe.reach) * SLOT
        margin = 640  # so that the first and last mel frames see true sound
        first = (begin - recipe.reach) * SLOT + shift - margin
        sound = cut(audio, first, count + 2 * margin)
        if recipe.augment:
            picture = _degrade(picture, rng)
            stranger = self.media(self.spots[int(rng.integers(len(self.spots)))].clip)[1]
            at = int(rng.integers(0, max(1, len(stranger) - len(sound))))
            sound = _spoil(sound, cut(stranger, at, len(sound)), rng)
        log_mel = mel.standardise(mel.log_mel(sound))[:, 4:-4]
        if recipe.augment:
            log_mel = _bend(log_mel, rng)
        # Cutting later by `shift` moves the truth to an earlier frame; frame 0 is centred 5 ms after its begin.
        return picture, log_mel, -shift / 16.0 - 5.0

    def batch(self, chosen: list[int], recipe: Recipe, seed: tuple[int, ...]) -> Batch:
        """The items of the chosen spots."""
        items = [self.item(s, recipe, np.random.default_rng([*seed, k])) for k, s in enumerate(chosen)]
        return Batch(
            slots=torch.from_numpy(np.stack([i[0] for i in items])),
            mel=torch.from_numpy(np.stack([i[1] for i in items]).astype(np.float32))[:, None],
            zero_ms=torch.tensor([i[2] for i in items]),
            spot=chosen,
        )


def cut(audio: NDArray[np.int16], first: int, count: int) -> Float:
    """`count` samples from `first`, silence beyond the ends, -1..1."""
    out = np.zeros(count, np.float32)
    a, b = max(0, first), min(len(audio), first + count)
    if b > a:
        out[a - first : b - first] = audio[a:b].astype(np.float32) / 32768
    return out
