"""A small painter: antialiased shapes, soft shadows and textures on a picture with transparency.

Used once per person to paint what does not change; speed matters little, looks do. Coordinates are head units (u right,
v down) mapped to pixels by `scale` and the canvas' top left corner.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from .looks import Colour

_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates


def fixed(points: NDArray[np.floating]) -> NDArray[np.int32]:
    """Pixel coordinates to OpenCV's fixed point, for sub-pixel drawing with shift=4."""
    return np.round(points * (1 << _SHIFT)).astype(np.int32)


def shade(colour: Colour, factor: float) -> Colour:
    """Darker (< 1) or lighter (> 1), clipped."""
    return tuple(float(min(255.0, max(0.0, c * factor))) for c in colour)  # type: ignore[return-value]


def mix(a: Colour, b: Colour, part: float) -> Colour:
    """`part` of b, the rest a."""
    return tuple(float(x + (y - x) * part) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def rounded(points: ArrayLike, rounds: int = 3) -> NDArray[np.float64]:
    """A closed polygon [N, 2] with its corners cut smooth (Chaikin)."""
    p = np.asarray(points, np.float64).reshape(-1, 2)
    for _ in range(rounds):
        after = np.roll(p, -1, 0)
        p = np.stack([0.75 * p + 0.25 * after, 0.25 * p + 0.75 * after], 1).reshape(-1, 2)
    return p


class Canvas:
    """Premultiplied float32 BGRA picture covering [u0, u1] x [v0, v1]."""

    def __init__(self, u0: float, v0: float, u1: float, v1: float, scale: float) -> None:
        self.u0, self.v0, self.scale = u0, v0, scale
        self.width = max(2, int(np.ceil((u1 - u0) * scale)))
        self.height = max(2, int(np.ceil((v1 - v0) * scale)))
        self.pixels = np.zeros((self.height, self.width, 4), np.float32)

    def to_px(self, points: ArrayLike) -> NDArray[np.float64]:
        """Head units [N, 2] to pixels."""
        return (np.asarray(points, np.float64).reshape(-1, 2) - (self.u0, self.v0)) * self.scale - 0.5

    def grid(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """u as [1, W] and v as [H, 1] of the pixel centres."""
        u = (np.arange(self.width, dtype=np.float32) + 0.5) / self.scale + self.u0
        v = (np.arange(self.height, dtype=np.float32) + 0.5) / self.scale + self.v0
        return u[None, :], v[:, None]

    def polygon_mask(self, points: ArrayLike, soft: float = 0.0) -> NDArray[np.float32]:
        """Coverage 0..1 of a filled polygon, blurred by `soft` head units."""
        mask = np.zeros((self.height, self.width), np.uint8)
        cv2.fillPoly(mask, [fixed(self.to_px(points))], 255, cv2.LINE_AA, _SHIFT)
        return self._soften(mask, soft)

    def ellipse_mask(
        self, u: float, v: float, ru: float, rv: float, soft: float = 0.0, turn: float = 0.0
    ) -> NDArray[np.float32]:
        """Coverage 0..1 of an ellipse with radii `ru`, `rv`, turned by `turn` radians."""
        angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        x, y = ru * np.cos(angle), rv * np.sin(angle)
        c, s = np.cos(turn), np.sin(turn)
        return self.polygon_mask(np.stack([u + c * x - s * y, v + s * x + c * y], 1), soft)

    def stroke_mask(
        self, points: ArrayLike, width: float, soft: float = 0.0, closed: bool = False
    ) -> NDArray[np.float32]:
        """Coverage 0..1 of a line `width` head units wide."""
        mask = np.zeros((self.height, self.width), np.uint8)
        px = width * self.scale
        cv2.polylines(mask, [fixed(self.to_px(points))], closed, 255, max(1, round(px)), cv2.LINE_AA, _SHIFT)
        return self._soften(mask, soft) * min(1.0, px)  # thinner than a pixel: fainter

    def _soften(self, mask: NDArray[np.uint8], soft: float) -> NDArray[np.float32]:
        out = mask.astype(np.float32) / 255.0
        sigma = soft * self.scale
        return cv2.GaussianBlur(out, (0, 0), sigma) if sigma > 0.3 else out

    def paint(self, mask: NDArray[np.float32], colour: Colour) -> None:
        """Lay opaque colour where the mask is, adding to the shape."""
        m = mask[..., None]
        self.pixels *= 1 - m
        self.pixels += m * np.array([*colour, 255.0], np.float32)

    def tint(self, mask: NDArray[np.float32], colour: Colour, strength: float = 1.0) -> None:
        """Colour what is already there, without changing its shape."""
        m = (mask * strength)[..., None]
        inside = self.pixels[..., 3:] / 255.0
        self.pixels[..., :3] += m * (np.array(colour, np.float32) * inside - self.pixels[..., :3])

    def multiply(self, factor: NDArray[np.float32], mask: NDArray[np.float32] | None = None) -> None:
        """Darken or lighten by a map of factors."""
        if mask is not None:
            factor = 1 + (factor - 1) * mask
        self.pixels[..., :3] *= factor[..., None]

    def finish(self) -> NDArray[np.uint8]:
        """uint8 [H, W, 4], premultiplied: colour never exceeds alpha."""
        out = np.clip(self.pixels, 0, 255)
        np.minimum(out[..., :3], out[..., 3:], out=out[..., :3])
        return np.round(out).astype(np.uint8)


def noise(rng: np.random.Generator, height: int, width: int, cell_y: float, cell_x: float) -> NDArray[np.float32]:
    """Smooth random texture, about -2..2; one independent value per cell of the given size in pixels."""
    small = rng.standard_normal((max(2, int(height / max(1.0, cell_y)) + 2), max(2, int(width / max(1.0, cell_x)) + 2)))
    return cv2.resize(small.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
