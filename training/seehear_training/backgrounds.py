"""Rooms, walls and clutter behind the people: one still picture per shot, and things that move without a sound.

A background must give no hint of who speaks, so it is drawn from its own seed, and moving clutter follows no voice.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .canvas import noise
from .motion import Wander

KINDS = ("wall", "room", "shelf", "bokeh", "texture", "blocks", "studio")


def paint_background(kind: str, seed: int, width: int, height: int) -> NDArray[np.uint8]:
    """A still picture, uint8 BGR [height, width, 3]."""
    if kind not in KINDS:
        raise ValueError(f"background {kind!r}: expected one of {', '.join(KINDS)}")
    rng = np.random.default_rng(seed)
    base = rng.uniform(40, 215, 3).astype(np.float32)
    base = base * 0.5 + base.mean() * 0.5  # muted, as rooms are
    image = _gradient(rng, base, width, height)
    if kind == "room":
        _room(image, rng, base)
    elif kind == "shelf":
        _shelf(image, rng)
    elif kind == "bokeh":
        _bokeh(image, rng)
    elif kind == "texture":
        for cell in (0.3, 0.1, 0.03):
            grain = noise(rng, height, width, height * cell, height * cell * float(rng.uniform(0.5, 3)))
            image += grain[..., None] * rng.uniform(0, 28, 3).astype(np.float32)
    elif kind == "blocks":
        for _ in range(int(rng.integers(3, 14))):
            x, y = int(rng.integers(width)), int(rng.integers(height))
            w, h = int(rng.uniform(0.05, 0.4) * width), int(rng.uniform(0.05, 0.5) * height)
            cv2.rectangle(image, (x, y), (x + w, y + h), rng.uniform(0, 255, 3).tolist(), -1, cv2.LINE_AA)
    elif kind == "studio":
        image *= 0.5
        for _ in range(3):
            x, y = rng.uniform(0, width), rng.uniform(0, height)
            gy, gx = np.ogrid[:height, :width]
            glow = np.exp(-((gx - x) ** 2 + (gy - y) ** 2) / (2 * (0.3 * height) ** 2)).astype(np.float32)
            image += glow[..., None] * rng.uniform(20, 110, 3).astype(np.float32)
    if kind not in ("wall", "studio", "bokeh") and rng.random() < 0.75:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.002, 0.018)) * height)  # shallow depth of field
    image += noise(rng, height, width, 2, 2)[..., None] * 1.5  # breaks up banding
    return np.clip(image, 0, 255).astype(np.uint8)


def _gradient(rng: np.random.Generator, base: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    direction = rng.uniform(-0.35, 0.35, 2)
    ramp = 1 + direction[0] * np.linspace(-1, 1, width)[None, :] + direction[1] * np.linspace(-1, 1, height)[:, None]
    return (ramp[..., None] * base).astype(np.float32)


def _room(image: NDArray[np.float32], rng: np.random.Generator, base: NDArray[np.float32]) -> None:
    height, width = image.shape[:2]
    floor = int(height * rng.uniform(0.7, 0.9))
    image[floor:] = image[floor:] * 0.4 + rng.uniform(40, 130, 3).astype(np.float32) * 0.6
    for _ in range(int(rng.integers(1, 4))):  # windows and pictures on the wall
        w, h = int(width * rng.uniform(0.08, 0.25)), int(height * rng.uniform(0.15, 0.45))
        x, y = int(rng.uniform(0, width - w)), int(rng.uniform(0, max(1, floor - h)))
        cv2.rectangle(image, (x - 4, y - 4), (x + w + 4, y + h + 4), (base * 0.45).tolist(), -1)
        pane = image[y : y + h, x : x + w]
        pane[:] = _gradient(rng, rng.uniform(60, 240, 3).astype(np.float32), pane.shape[1], pane.shape[0])
        if rng.random() < 0.5:
            cv2.line(image, (x + w // 2, y), (x + w // 2, y + h), (base * 0.45).tolist(), max(1, height // 100))
            cv2.line(image, (x, y + h // 2), (x + w, y + h // 2), (base * 0.45).tolist(), max(1, height // 100))


def _shelf(image: NDArray[np.float32], rng: np.random.Generator) -> None:
    height, width = image.shape[:2]
    rows = int(rng.integers(2, 5))
    wood = rng.uniform(30, 110, 3) * (0.6, 0.8, 1.1)
    for row in range(rows):
        y1 = int((row + 1) * height / rows)
        x = 0
        while x < width:
            w = max(2, int(height * rng.uniform(0.015, 0.06)))
            if rng.random() < 0.85:
                h = int(height / rows * rng.uniform(0.5, 0.85))
                cv2.rectangle(image, (x, y1 - h), (x + w - 1, y1), rng.uniform(20, 210, 3).tolist(), -1)
            x += w
        cv2.rectangle(image, (0, y1 - max(1, height // 60)), (width, y1), wood.tolist(), -1)


def _bokeh(image: NDArray[np.float32], rng: np.random.Generator) -> None:
    height, width = image.shape[:2]
    image *= 0.55
    lights = np.zeros_like(image)
    for _ in range(int(rng.integers(8, 30))):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        colour = (rng.uniform(0.15, 0.8) * rng.uniform(60, 140, 3) * (0.55, 0.9, 1.2)).tolist()
        disc = np.zeros_like(image)
        cv2.circle(disc, centre, int(height * rng.uniform(0.02, 0.09)), colour, -1, cv2.LINE_AA)
        lights += disc
    image += cv2.GaussianBlur(lights, (0, 0), height * 0.008)


class Clutter:
    """Something that moves through the picture with no sound of its own: a ball, a curtain, a screen's glow."""

    def __init__(self, rng: np.random.Generator, width: int, height: int) -> None:
        self._colour = tuple(float(c) for c in rng.uniform(0, 255, 3))
        self._x0, self._y0 = float(rng.uniform(0, width)), float(rng.uniform(0, height))
        self._x, self._y = Wander(rng, width * 0.12, 3.0), Wander(rng, height * 0.1, 2.0)
        self._r, self._size = Wander(rng, 0.25, 0.7), height * float(rng.uniform(0.02, 0.08))

    def draw(self, frame: NDArray[np.uint8], time_s: float) -> None:
        """Draw into uint8 BGR `frame`."""
        centre = (round((self._x0 + self._x.at(time_s)) * 16), round((self._y0 + self._y.at(time_s)) * 16))
        squash = 1 + self._r.at(time_s)  # opens and shuts at about the rate of syllables
        axes = (round(self._size * 16), max(16, round(self._size * 16 * max(0.1, squash))))
        cv2.ellipse(frame, centre, axes, 0, 0, 360, self._colour, -1, cv2.LINE_AA, 4)
