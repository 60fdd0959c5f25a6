"""Painting what stays: skin, hair, clothes, metal and fur, seen from the front, once per person.

A portrait has four layers, from back to front: hair behind the neck, the torso, the head, and what lies over the eyes
(fringe, glasses, brim). Eyes and mouth are left out: `faces` draws them anew in every frame. (0, 0) is the middle of
the face, the chin at v = +aspect, the crown at -aspect, the cheeks at u = ±1.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .canvas import Canvas, mix, noise, rounded, shade
from .looks import Colour, Look

HEAD_BOX = (-1.75, -2.3, 1.75, 2.0)
"""u0, v0, u1, v1 of the head's and the hair's layers; room for ears, hats and loose hair."""
TORSO_BOX = (-2.7, 0.5, 2.7, 4.6)
EYE_V = -0.06


@dataclass
class Portrait:
    """uint8 premultiplied BGRA layers; `hair_back` and `over` may be missing. `scale` is pixels per head unit."""

    scale: float
    head: NDArray[np.uint8]
    torso: NDArray[np.uint8]
    hair_back: NDArray[np.uint8] | None
    over: NDArray[np.uint8] | None


def outline(look: Look, grow: float = 0.0, count: int = 72) -> NDArray[np.float64]:
    """The face's contour [N, 2]: round above, narrowing to a chin below, made square by `jaw_square`."""
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    u, q = np.sin(angle), -np.cos(angle)
    if look.kind == "robot":
        power = 0.35
        return np.stack(
            [np.sign(u) * np.abs(u) ** power * (1 + grow), np.sign(q) * np.abs(q) ** power * (look.aspect + grow)], 1
        )
    below = np.clip(q, 0, 1)
    squareness = 1 - 0.38 * look.jaw_square * np.clip(below * 2, 0, 1)
    width = np.sign(u) * np.abs(u) ** squareness * (1 - look.jaw_taper * below**1.6)
    return np.stack([width * (1 + grow), q * (look.aspect + grow)], 1)


def paint(look: Look, scale: float) -> Portrait:
    """Paint all layers at `scale` pixels per head unit."""
    rng = np.random.default_rng(look.seed)
    head = Canvas(*HEAD_BOX, scale)
    over: Canvas | None = None
    back: Canvas | None = None
    if look.kind == "robot":
        _robot(head, look)
    elif look.kind == "animal":
        _animal(head, look, rng)
    elif look.kind == "puppet":
        _puppet(head, look, rng)
    else:
        if look.hair_style in ("long", "bob", "afro", "curly") and look.hat != "scarf":
            back = Canvas(*HEAD_BOX, scale)
            _hair_behind(back, look, rng)
        _skin(head, look, rng)
        over = Canvas(*HEAD_BOX, scale)
        if look.hat == "scarf":
            _scarf(over, look, rng)
        else:
            _hair(over, look, rng)
            _hat(over, look)
        _glasses(over, look)
    torso = Canvas(*TORSO_BOX, scale)
    _torso(torso, look, rng)
    if look.kind != "cartoon":
        for canvas in (head, torso):
            grain = noise(rng, canvas.height, canvas.width, 2, 2)
            canvas.multiply(1 + 0.012 * look.contrast * grain)
    return Portrait(
        scale=scale,
        head=head.finish(),
        torso=torso.finish(),
        hair_back=back.finish() if back else None,
        over=over.finish() if over else None,
    )


def _shading(canvas: Canvas, look: Look, strength: float = 1.0) -> NDArray[np.float32]:
    """Factors [H, W] of a round head lit from `light_x` and above (Lambert plus ambient, darker rim)."""
    u, v = canvas.grid()
    x, y = u / 1.12, v / (look.aspect * 1.15)
    z = np.sqrt(np.clip(1 - x**2 - y**2, 0.02, 1))
    light = np.array([0.55 * look.light_x, -0.45, 0.75])
    light /= np.linalg.norm(light)
    lambert = np.clip(x * light[0] + y * light[1] + z * light[2], 0, None)
    return (1 + strength * look.contrast * (0.60 * (lambert - 0.78) - 0.10 * (1 - z))).astype(np.float32)


def _skin(canvas: Canvas, look: Look, rng: np.random.Generator) -> None:
    a, flat = look.aspect, look.kind == "cartoon"
    skin, dark = look.skin, shade(look.skin, 0.62)
    warm = mix(look.skin, (70, 80, 215), 0.30)
    for side in (-1, 1):
        canvas.paint(canvas.ellipse_mask(side * 1.0, 0.10, 0.15, 0.27), shade(skin, 0.95))
        canvas.tint(canvas.ellipse_mask(side * 1.03, 0.11, 0.07, 0.17, 0.02), warm, 0.5)
    face = canvas.polygon_mask(outline(look))
    canvas.paint(face, skin)
    nose_v = a * 0.34
    if flat:
        canvas.tint(canvas.stroke_mask(outline(look), 0.05, closed=True), dark, 0.8)
        shadow_side = -1.0 if look.light_x > 0 else 1.0
        canvas.tint(face * canvas.ellipse_mask(shadow_side * 0.95, 0.2, 0.42, a * 1.1, 0.03), dark, 0.35)
        for side in (-1, 1):
            canvas.tint(canvas.ellipse_mask(side * 0.58, 0.42, 0.18, 0.12, 0.05), warm, 0.6)
        curve = [(0.06, nose_v - 0.25), (look.nose * 0.9, nose_v + 0.02), (-look.nose * 0.5, nose_v + 0.06)]
        canvas.tint(canvas.stroke_mask(curve, 0.045), dark, 0.8)
    else:
        blotch = noise(rng, canvas.height, canvas.width, canvas.scale * 0.25, canvas.scale * 0.25)
        canvas.multiply(1 + 0.015 * blotch)
        for side in (-1, 1):
            canvas.tint(canvas.ellipse_mask(side * 0.55, 0.40, 0.30, 0.22, 0.13), warm, 0.32)
            canvas.tint(canvas.ellipse_mask(side * look.eye_gap, EYE_V - 0.02, 0.30, 0.17, 0.07), dark, 0.30)
            canvas.tint(
                canvas.ellipse_mask(side * look.eye_gap, EYE_V + 0.24, 0.22, 0.03, 0.04), dark, 0.10 + 0.3 * look.age
            )
            fold = [
                (side * (look.nose + 0.08), nose_v),
                (side * 0.42, a * look.mouth_v - 0.12),
                (side * 0.50, a * look.mouth_v + 0.08),
            ]
            canvas.tint(canvas.stroke_mask(fold, 0.03, 0.03), dark, 0.15 + 0.5 * look.age)
        # The nose: a lit bridge, a shaded flank away from the light, nostrils, and the shadow it throws.
        away = -1.0 if look.light_x > 0 else 1.0
        n = look.nose
        flank = [
            (away * 0.05, -0.15),
            (away * 0.11, 0.1),
            (away * n * 1.05, nose_v - 0.03),
            (away * n * 0.5, nose_v + 0.06),
        ]
        canvas.tint(canvas.stroke_mask(flank, 0.10, 0.05), dark, 0.35)
        canvas.tint(canvas.ellipse_mask(0, nose_v + 0.09, n * 1.1, 0.045, 0.035), dark, 0.55)
        for side in (-1, 1):
            canvas.tint(
                canvas.ellipse_mask(side * n * 0.52, nose_v + 0.055, n * 0.24, 0.026, 0.01), shade(skin, 0.35), 0.8
            )
            canvas.tint(canvas.ellipse_mask(side * n * 0.95, nose_v + 0.0, n * 0.30, 0.07, 0.03), dark, 0.25)
        canvas.tint(canvas.ellipse_mask(0, nose_v - 0.04, n * 0.8, 0.11, 0.05), warm, 0.28)
        lit = shade(mix(skin, (255, 255, 255), 0.45), 1.0)
        canvas.tint(canvas.stroke_mask([(-0.02, -0.05), (-0.01, nose_v - 0.12)], 0.07, 0.04), lit, 0.40)
        canvas.tint(canvas.ellipse_mask(0.25 * look.light_x * n, nose_v - 0.05, 0.06, 0.05, 0.03), lit, 0.55)
        canvas.tint(canvas.ellipse_mask(0.3 * look.light_x, -a * 0.5, 0.42, 0.2, 0.16), lit, 0.30)
        canvas.tint(canvas.ellipse_mask(0, a * look.mouth_v + look.lip + 0.13, 0.22, 0.04, 0.04), dark, 0.40)
        canvas.tint(canvas.ellipse_mask(0, a * 0.88, 0.2, 0.12, 0.08), lit, 0.22)
        groove = [(0, nose_v + 0.14), (0, a * look.mouth_v - look.lip - 0.03)]
        canvas.tint(canvas.stroke_mask(groove, 0.06, 0.03), dark, 0.22)
        for _ in range(int(60 * look.freckles)):
            spot = (float(rng.normal(0, 0.5)), float(rng.normal(0.3, 0.14)))
            canvas.tint(face * canvas.ellipse_mask(*spot, 0.018, 0.018, 0.006), mix(dark, (30, 60, 120), 0.5), 0.5)
        canvas.multiply(_shading(canvas, look))
    _beard(canvas, look, rng, face)


def _beard(canvas: Canvas, look: Look, rng: np.random.Generator, face: NDArray[np.float32]) -> None:
    if look.beard == "none":
        return
    a, mouth = look.aspect, look.aspect * look.mouth_v
    u, v = canvas.grid()
    # The beard's upper edge runs from the ears down to the corners of the mouth.
    edge = mouth - 0.05 - 0.75 * np.clip(np.abs(u) - 0.55, 0, 1) / 0.45
    jaw = np.clip((v - edge) / 0.12, 0, 1).astype(np.float32) * face
    bare = canvas.ellipse_mask(0, mouth + 0.03, look.mouth_width * 1.15, 0.17, 0.03)
    moustache = canvas.ellipse_mask(0, mouth - look.lip - 0.09, look.mouth_width * 1.15, 0.085, 0.03)
    goatee = canvas.ellipse_mask(0, a * 0.86, look.mouth_width * 0.95, 0.30, 0.06) * face
    hairs = noise(rng, canvas.height, canvas.width, 4, 1.5)
    hair = shade(look.hair, 0.9)
    if look.beard == "stubble":
        mask, strength = np.maximum(jaw, moustache) * (1 - bare), 0.32
    elif look.beard == "full":
        below = canvas.polygon_mask(outline(look, 0.08)) * np.clip((v - a * 0.55) / 0.2, 0, 1).astype(np.float32)
        grown = below * (1 - canvas.polygon_mask(outline(look)))
        canvas.paint(grown, hair)
        mask, strength = np.maximum(np.maximum(jaw, moustache) * (1 - bare), grown), 0.92
    elif look.beard == "goatee":
        mask, strength = np.maximum(goatee, moustache) * (1 - bare), 0.88
    else:
        mask, strength = moustache * (1 - 0.6 * bare), 0.92
    mask = np.clip(mask * (1 + 0.15 * hairs), 0, 1)
    canvas.tint(mask, hair, strength)
    canvas.multiply(1 + 0.10 * hairs, mask)


def _strands(canvas: Canvas, look: Look, rng: np.random.Generator) -> NDArray[np.float32]:
    """Factors that make a flat patch of colour look like hair: streaks along the fall, a gleam near the crown."""
    u, v = canvas.grid()
    s = canvas.scale
    curly = look.hair_style in ("curly", "afro")
    streak = noise(rng, canvas.height, canvas.width, s * (0.06 if curly else 0.9), s * (0.06 if curly else 0.035))
    wide = noise(rng, canvas.height, canvas.width, s * (0.14 if curly else 1.6), s * 0.12)
    gleam = np.exp(-(((v + look.aspect * 0.78 + 0.12 * u**2) / 0.22) ** 2)) * np.exp(
        -(((u - 0.45 * look.light_x) / 0.6) ** 2)
    )
    return (1 + 0.12 * streak + 0.10 * wide + 0.55 * look.contrast * gleam - 0.12 * look.light_x * -u).astype(
        np.float32
    )


def _finish_hair(canvas: Canvas, look: Look, rng: np.random.Generator) -> None:
    if look.kind == "cartoon":
        return
    canvas.multiply(np.clip(_strands(canvas, look, rng), 0.4, 1.9))


def _hair_behind(canvas: Canvas, look: Look, rng: np.random.Generator) -> None:
    a, dark = look.aspect, shade(look.hair, 0.72)
    if look.hair_style == "afro":
        canvas.paint(canvas.ellipse_mask(0, -0.42 * a, 1.52, 1.12 * a, 0.02), look.hair)
    elif look.hair_style == "curly":
        for angle in np.linspace(np.pi * 0.92, 2.08 * np.pi, 15):
            canvas.paint(
                canvas.ellipse_mask(1.02 * np.cos(angle), 0.95 * a * np.sin(angle) + 0.1, 0.30, 0.30, 0.01), dark
            )
    else:
        length = 1.75 if look.hair_style == "long" else a * 0.78
        side = np.array(
            [(1.0, -a * 0.7), (1.22, -0.2), (1.27, 0.4), (1.22, length * 0.8), (1.02, length), (0.5, length * 1.03)]
        )
        canvas.paint(canvas.polygon_mask(rounded(np.concatenate([side, side[::-1] * (-1, 1)])), 0.02), dark)
    _finish_hair(canvas, look, rng)


def _cap(look: Look, thick: float, sides_v: float, line: NDArray[np.float64]) -> NDArray[np.float64]:
    """Skull hair: the outline grown by `thick` down to `sides_v`, closed by the hairline [N, 2], right to left."""
    contour = outline(look, thick)
    order = np.argsort(np.arctan2(contour[:, 0], -contour[:, 1]))
    contour = contour[order]  # from lower left over the crown to lower right
    return np.concatenate([contour[contour[:, 1] < sides_v], line])


def _hair(canvas: Canvas, look: Look, rng: np.random.Generator) -> None:
    a, style, hair = look.aspect, look.hair_style, look.hair
    if style == "bald":
        return
    x = np.linspace(1, -1, 25)
    receding = -0.60 * a - 0.10 * look.age
    temple = np.clip((np.abs(x) - 0.72) / 0.28, 0, 1) ** 1.3
    ragged = 0.03 * rng.standard_normal(25)
    if style == "fringe_of_hair":
        for side in (-1, 1):
            canvas.paint(canvas.ellipse_mask(side * 1.0, -0.18, 0.14, 0.40, 0.04), hair)
        _finish_hair(canvas, look, rng)
        return
    if style == "mohawk":
        canvas.paint(
            canvas.polygon_mask(
                [(-0.2, -0.6 * a), (-0.3, -a - 0.45), (0.0, -a - 0.62), (0.3, -a - 0.45), (0.2, -0.6 * a)]
            ),
            hair,
        )
        _finish_hair(canvas, look, rng)
        return
    if style == "afro":
        ring = canvas.ellipse_mask(0, -0.45 * a, 1.4, 1.05 * a, 0.02)
        line = np.clip((np.abs(canvas.grid()[0]) - 0.75) / 0.2, 0, 1) * 0.75 + receding
        canvas.paint(ring * np.clip((line - canvas.grid()[1]) / 0.06 + 0.5, 0, 1).astype(np.float32), hair)
        _finish_hair(canvas, look, rng)
        return
    thick = {"buzz": 0.03, "short": 0.13, "parted": 0.16, "fringe": 0.15, "curly": 0.12, "bun": 0.08}.get(style, 0.16)
    sides = {"buzz": -0.15, "short": 0.05, "parted": 0.05, "bun": -0.1}.get(style, 0.2)
    if style == "parted":
        part = 0.45 if look.seed % 2 else -0.45
        line_v = receding - 0.10 + 0.42 * np.clip(np.abs(x - part) / 1.4, 0, 1) ** 0.8
    elif style in ("fringe", "bob") and look.seed % 3:
        line_v = -0.34 * a + ragged
    elif style in ("long", "bob"):
        line_v = receding - 0.12 + 0.75 * np.abs(x) ** 1.7
    else:
        line_v = receding + 0.10 * x**2 + ragged * (1.2 if style == "short" else 0.7)
    line = np.stack([x * (0.97 - 0.05 * temple), np.maximum(line_v, line_v + (sides - line_v) * temple)], 1)
    canvas.paint(canvas.polygon_mask(_cap(look, thick, sides, line), 0.012), hair)
    if style == "curly":
        for angle in np.linspace(np.pi * 1.02, 1.98 * np.pi, 13):
            centre = (0.92 * np.cos(angle), 0.92 * a * np.sin(angle) + 0.02 * rng.standard_normal())
            canvas.paint(
                canvas.ellipse_mask(centre[0], centre[1], 0.25, 0.25, 0.01), shade(hair, float(rng.uniform(0.85, 1.15)))
            )
    if style in ("long", "bob"):
        end = 1.55 if style == "long" else a * 0.72
        for side in (-1, 1):
            lock = [
                (0.40, -a * 1.00),
                (0.90, -a * 0.55),
                (0.90, 0.1),
                (0.98, 0.6),
                (0.88, end),
                (1.18, end + 0.08),
                (1.30, 0.7),
                (1.26, -0.2),
                (1.17, -a * 0.55),
                (0.95, -a * 0.93),
            ]
            canvas.paint(canvas.polygon_mask(rounded(np.array(lock) * (side, 1)), 0.015), hair)
    if style == "bun":
        canvas.paint(canvas.ellipse_mask(0, -a - 0.28, 0.42, 0.36, 0.01), shade(hair, 0.92))
    _finish_hair(canvas, look, rng)


def _hat(canvas: Canvas, look: Look) -> None:
    a, cloth = look.aspect, shade(mix(look.top, (255, 255, 255), 0.15), 0.9)
    if look.hat == "beanie":
        x = np.linspace(1.06, -1.06, 15)
        brim = np.stack([x, -0.5 * a + 0.10 * x**2], 1)
        canvas.paint(canvas.polygon_mask(_cap(look, 0.2, -0.5 * a, brim)), cloth)
        band = np.concatenate([brim, (brim - (0, 0.26))[::-1]])
        canvas.paint(canvas.polygon_mask(band), shade(cloth, 0.8))
    elif look.hat == "cap":
        x = np.linspace(1.04, -1.04, 15)
        brim = np.stack([x, -0.55 * a - 0.10 * (1 - x**2)], 1)
        canvas.paint(canvas.polygon_mask(_cap(look, 0.16, -0.5 * a, brim)), cloth)
        canvas.paint(canvas.ellipse_mask(0, -0.55 * a, 1.02, 0.16, 0.01), shade(cloth, 0.7))


def _scarf(canvas: Canvas, look: Look, rng: np.random.Generator) -> None:
    ring = canvas.polygon_mask(outline(look, 0.22)) * (
        1 - canvas.ellipse_mask(0, 0.10, 0.86, look.aspect * 0.83, 0.008)
    )
    below = canvas.polygon_mask([(-1.0, 0.6), (1.0, 0.6), (1.15, 1.95), (-1.15, 1.95)], 0.05)
    hole = canvas.ellipse_mask(0, 0.10, 0.86, look.aspect * 0.83, 0.008)
    canvas.paint(np.maximum(ring, below * (1 - hole)), mix(look.top, (200, 190, 200), 0.4))
    folds = noise(rng, canvas.height, canvas.width, canvas.scale * 0.9, canvas.scale * 0.18)
    canvas.multiply(1 + 0.10 * folds)


def _glasses(canvas: Canvas, look: Look) -> None:
    if look.glasses == "none":
        return
    frame: Colour = (32, 30, 34) if look.seed % 2 else (40, 60, 110)
    rim = 0.035 if look.glasses == "round" else 0.05
    for side in (-1, 1):
        if look.glasses == "round":
            angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
            lens = np.stack([side * 0.42 + 0.27 * np.cos(angle), EYE_V + 0.02 + 0.26 * np.sin(angle)], 1)
        else:
            angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
            c, s = np.cos(angle), np.sin(angle)
            lens = np.stack(
                [
                    side * 0.43 + 0.30 * np.sign(c) * np.abs(c) ** 0.45,
                    EYE_V + 0.03 + 0.21 * np.sign(s) * np.abs(s) ** 0.45,
                ],
                1,
            )
        if look.glasses == "sun":
            canvas.paint(canvas.polygon_mask(lens) * 0.93, (28, 24, 24))
        canvas.paint(canvas.stroke_mask(lens, rim, closed=True), frame)
        canvas.paint(canvas.stroke_mask([(side * 0.70, EYE_V - 0.06), (side * 1.0, EYE_V - 0.02)], rim), frame)
    canvas.paint(canvas.stroke_mask([(-0.15, EYE_V - 0.02), (0, EYE_V - 0.06), (0.15, EYE_V - 0.02)], rim), frame)


def _torso(canvas: Canvas, look: Look, rng: np.random.Generator) -> None:
    a = look.aspect
    broad = 1.0 + 0.12 * look.jaw_square
    neck = shade(look.skin, 0.86)
    if look.kind == "robot":
        canvas.paint(
            canvas.polygon_mask([(-0.35, a - 0.3), (0.35, a - 0.3), (0.35, a + 0.6), (-0.35, a + 0.6)]), (60, 60, 64)
        )
        neck = (60, 60, 64)
    else:
        column = [
            (-0.52, a * 0.5),
            (0.52, a * 0.5),
            (0.50, a + 0.1),
            (0.75, a + 0.45),
            (-0.75, a + 0.45),
            (-0.50, a + 0.1),
        ]
        canvas.paint(canvas.polygon_mask(column, 0.01), neck)
        canvas.tint(canvas.ellipse_mask(0, a * 0.95, 0.75, 0.30, 0.10), shade(look.skin, 0.5), 0.75)
    x = np.linspace(0, 1, 12)
    slope = np.stack([0.50 + (1.75 * broad) * x, a + 0.22 + 0.75 * x**1.6 - 0.10 * np.sin(np.pi * x)], 1)
    body = np.concatenate(
        [
            slope,
            [(2.35 * broad, a + 1.6), (2.4 * broad, 7.0)],
            [(-2.4 * broad, 7.0), (-2.35 * broad, a + 1.6)],
            (slope * (-1, 1))[::-1],
        ]
    )
    cloth = canvas.polygon_mask(rounded(body, 2), 0.008)
    canvas.paint(cloth, look.top)
    if look.top_style == 2 and look.kind in ("human", "cartoon"):
        shirt: Colour = (235, 232, 228)
        canvas.paint(canvas.polygon_mask([(-0.55, a + 0.2), (0.55, a + 0.2), (0.08, a + 1.7), (-0.08, a + 1.7)]), shirt)
        canvas.paint(canvas.polygon_mask([(-0.46, a + 0.12), (0.46, a + 0.12), (0.0, a + 0.62)], 0.01), neck)
        for side in (-1, 1):
            lapel = np.array(
                [(0.52, a + 0.16), (0.85, a + 0.75), (0.62, a + 0.85), (0.08, a + 2.0), (0.40, a + 0.7)]
            ) * (side, 1)
            canvas.paint(canvas.polygon_mask(lapel), shade(look.top, 0.8))
    elif look.top_style == 1:
        canvas.paint(canvas.polygon_mask([(-0.50, a + 0.15), (0.50, a + 0.15), (0.0, a + 0.85)], 0.01), neck)
        canvas.tint(
            canvas.stroke_mask([(-0.53, a + 0.2), (0.0, a + 0.88), (0.53, a + 0.2)], 0.06), shade(look.top, 0.7), 1.0
        )
    elif look.top_style == 3:
        canvas.paint(canvas.ellipse_mask(0, a + 0.42, 0.95, 0.36, 0.02), shade(look.top, 0.8))
        canvas.paint(canvas.ellipse_mask(0, a + 0.24, 0.58, 0.24, 0.02), neck)
    else:
        canvas.paint(canvas.ellipse_mask(0, a + 0.18, 0.56, 0.26, 0.015), neck)
        canvas.tint(
            canvas.stroke_mask(
                [(0.56 * np.cos(t), a + 0.18 + 0.26 * np.sin(t)) for t in np.linspace(0, np.pi, 16)], 0.06
            ),
            shade(look.top, 0.75),
            1.0,
        )
    if look.kind != "cartoon":
        canvas.tint(canvas.ellipse_mask(0, a + 0.05, 0.6, 0.28, 0.12), shade(neck, 0.55), 0.7)
        folds = cv2.GaussianBlur(
            noise(rng, canvas.height, canvas.width, canvas.scale * 0.8, canvas.scale * 0.35),
            (0, 0),
            max(0.5, canvas.scale * 0.05),
        )
        u, v = canvas.grid()
        round_off = (
            1 - 0.10 * np.clip(np.abs(u) - 1.2, 0, 2) + 0.10 * look.light_x * u / 2 - 0.05 * np.clip(v - a - 0.6, 0, 3)
        )
        canvas.multiply(np.clip(round_off + 0.035 * look.contrast * folds, 0.3, 1.5).astype(np.float32), cloth)


def _robot(canvas: Canvas, look: Look) -> None:
    a, metal = look.aspect, look.skin
    canvas.paint(canvas.stroke_mask([(0, -a), (0, -a - 0.45)], 0.07), shade(metal, 0.6))
    canvas.paint(canvas.ellipse_mask(0, -a - 0.5, 0.12, 0.12), (60, 60, 230))
    for side in (-1, 1):
        canvas.paint(
            canvas.polygon_mask(np.array([(0.95, -0.25), (1.18, -0.2), (1.18, 0.3), (0.95, 0.35)]) * (side, 1)),
            shade(metal, 0.7),
        )
    canvas.paint(canvas.polygon_mask(outline(look)), metal)
    plate = outline(look, -0.14)
    canvas.tint(canvas.stroke_mask(plate, 0.03, closed=True), shade(metal, 0.6), 0.8)
    for side in (-1, 1):
        for v in (-0.82, 0.86):
            canvas.tint(canvas.ellipse_mask(side * 0.74, a * v, 0.05, 0.05), shade(metal, 0.5), 1.0)
    u, v = canvas.grid()
    sheen = 1 + look.contrast * (
        0.18 * np.exp(-(((u - 0.5 * look.light_x - 0.2 * v) / 0.25) ** 2)) - 0.16 * np.abs(u) - 0.08 * v
    )
    canvas.multiply(sheen.astype(np.float32))


def _animal(canvas: Canvas, look: Look, rng: np.random.Generator) -> None:
    a, fur = look.aspect, look.skin
    inner = mix(fur, (170, 160, 235), 0.6)
    for side in (-1, 1):
        if look.species in ("cat", "fox"):
            ear = np.array([(0.30, -a * 0.85), (0.98, -a - 0.55), (1.02, -a * 0.35)])
            canvas.paint(canvas.polygon_mask(ear * (side, 1), 0.01), fur)
            canvas.paint(canvas.polygon_mask((ear * 0.75 + (0.18, -0.25)) * (side, 1), 0.02), inner)
        elif look.species == "rabbit":
            canvas.paint(canvas.ellipse_mask(side * 0.42, -a - 0.35, 0.24, 0.65, 0.01), fur)
            canvas.paint(canvas.ellipse_mask(side * 0.42, -a - 0.32, 0.12, 0.48, 0.02), inner)
        elif look.species == "dog":
            canvas.paint(canvas.ellipse_mask(side * 1.05, -0.15, 0.28, 0.75, 0.01, -0.25 * side), shade(fur, 0.7))
        elif look.species == "bear":
            canvas.paint(canvas.ellipse_mask(side * 0.72, -a * 0.86, 0.34, 0.34, 0.01), fur)
            canvas.paint(canvas.ellipse_mask(side * 0.72, -a * 0.84, 0.18, 0.18, 0.02), inner)
        else:
            canvas.paint(canvas.ellipse_mask(side * 0.5, -a * 0.85, 0.36, 0.36, 0.01), fur)
    canvas.paint(canvas.polygon_mask(outline(look), 0.015), fur)
    pale = mix(fur, (235, 240, 245), 0.65)
    mouth = a * look.mouth_v
    canvas.tint(canvas.ellipse_mask(0, mouth - 0.02, 0.62, 0.46, 0.06), pale, 0.95)
    if look.species != "frog":
        canvas.paint(canvas.ellipse_mask(0, mouth - 0.34, 0.17, 0.11, 0.01), (35, 32, 40))
        canvas.tint(canvas.stroke_mask([(0, mouth - 0.25), (0, mouth - 0.04)], 0.03), (40, 40, 50), 0.9)
        hairs = noise(rng, canvas.height, canvas.width, canvas.scale * 0.12, canvas.scale * 0.03)
        canvas.multiply(1 + 0.07 * hairs)
    canvas.multiply(_shading(canvas, look))


def _puppet(canvas: Canvas, look: Look, rng: np.random.Generator) -> None:
    a = look.aspect
    for angle in np.linspace(np.pi * 1.15, 1.85 * np.pi, 11):  # a tuft
        tip = (0.5 * np.cos(angle) + 0.15 * rng.standard_normal(), -a - 0.28 - 0.1 * rng.random())
        canvas.paint(canvas.stroke_mask([(0.3 * np.cos(angle), -a * 0.9), tip], 0.10), look.hair)
    canvas.paint(canvas.polygon_mask(outline(look), 0.01), look.skin)
    canvas.paint(
        canvas.ellipse_mask(0, a * 0.26, look.nose * 1.2, look.nose * 1.1, 0.01),
        shade(mix(look.skin, (60, 60, 220), 0.45), 1.0),
    )
    felt = noise(rng, canvas.height, canvas.width, canvas.scale * 0.05, canvas.scale * 0.05)
    canvas.multiply(1 + 0.045 * felt)
    canvas.multiply(_shading(canvas, look, 0.9))
