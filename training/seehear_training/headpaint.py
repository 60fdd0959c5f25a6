"""Painting a 3-D head: one colour and gloss per vertex, by where the vertex lies on the face model's mean face.

So lips, brows and beards follow every identity and every expression by themselves. Coordinates: see `headparts`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .headparts import Floats, linear, mixed, smooth, texture
from .looks import HeadLook


def skin(
    look: HeadLook,
    rest: Floats,
    lids: NDArray[np.bool_],
    hairiness: NDArray[np.floating],
    rng: np.random.Generator,
) -> tuple[Floats, Floats, Floats]:
    """Albedo [N, 3], gloss [N] and beard height [N] of face, scalp and neck.

    `rest` [N, 3] are the mean face's positions, `lids` marks the rims of the eyelids, `hairiness` [N] is how far a
    point lies behind the hairline.
    """
    x, y, z = (rest[:, k].astype(np.float64) for k in range(3))
    ax = np.abs(x)
    tone = linear(look.skin)
    brightness = float(tone.mean())
    blotch = texture(rng, rest, 2.6) + 0.6 * texture(rng, rest, 0.9)
    albedo = tone * np.clip(1 + 0.10 * look.blotches * blotch, 0.6, 1.4)[:, None]
    gloss = look.gloss * (0.16 + 0.10 * np.exp(-((x / 1.2) ** 2) - ((y - 1.5) / 3.0) ** 2) * (z > 9))
    gloss = gloss + look.gloss * 0.08 * smooth(y, 6, 9) * (z > 6)

    # Blood shows on cheeks, nose, ears and lids; the jaw is a little cooler and darker.
    blush = np.exp(-(((ax - 4.6) / 2.0) ** 2) - ((y - 0.2) / 1.9) ** 2) * smooth(z, 3, 7)
    blush += 0.9 * np.exp(-((x / 1.3) ** 2) - ((y - 0.3) / 1.3) ** 2) * (z > 10.5) + 0.6 * smooth(ax, 8.2, 9.0) * (
        y > -2
    )
    red = tone * np.array([1.06, 0.62, 0.58], np.float32)
    albedo = mixed(albedo, red, look.redness * blush * (0.35 + 0.4 * smooth(brightness, 0.1, 0.5)))
    socket = np.exp(-(((ax - 3.2) / 2.0) ** 2) - ((y - 3.4) / 1.7) ** 2) * (z > 6)
    albedo = mixed(albedo, tone * np.array([0.66, 0.55, 0.55], np.float32), 0.45 * socket)
    crease = np.exp(-(((y + 3.4 + 0.0 * x) / 0.35) ** 2) - (((ax - 2.75) / 0.4) ** 2)) * (z > 9)
    albedo *= (1 - 0.35 * crease)[:, None]
    if look.freckles > 0:
        spots = texture(rng, rest, 0.32)
        where = np.exp(-((ax / 6.0) ** 2) - ((y - 1.0) / 3.5) ** 2) * (z > 6)
        albedo = mixed(
            albedo, tone * np.array([0.62, 0.45, 0.35], np.float32), look.freckles * where * smooth(spots, 0.5, 1.0)
        )

    lip = lips(rest)
    colour = linear(look.lips) * (1 + 0.06 * texture(rng, rest, (0.25, 1.0, 1.0)))[:, None]
    albedo = mixed(albedo, colour, lip * look.lip_strength)
    gloss = gloss + lip * (0.10 + 0.25 * look.make_up)
    # The seam between the lips and their inside are darker and redder.
    inner = np.exp(-(((y + 3.35) / 0.22) ** 2)) * (ax < 2.5) * (z > 9) * (z < 11.55)
    albedo = mixed(albedo, np.array([0.16, 0.05, 0.05], np.float32) * (0.4 + brightness), 0.5 * inner)

    # Brows, lashes, shadow on the lids.
    fine = texture(rng, rest, (0.3, 0.5, 0.5))
    line = 5.45 + 0.42 * np.sin(np.clip((ax - 1.2) / 4.6, 0, 1) * 2.4) - 0.35 * smooth(ax, 4.2, 6.0)
    half = (0.24 + 0.34 * look.brow) * np.interp(ax, (0.9, 1.6, 3.8, 5.9), (0.75, 1.0, 0.85, 0.25))
    brow = (
        smooth(np.abs(y - line + 0.06 * fine), half * 1.25, half * 0.55) * smooth(ax, 0.9, 1.4) * smooth(ax, 6.2, 5.4)
    )
    albedo = mixed(
        albedo, linear(look.brows), brow * (z > 5) * (0.55 + 0.35 * look.brow) * np.clip(0.9 + 0.25 * fine, 0, 1)
    )
    upper = y > 3.45 - 0.06 * (ax - 3.2)
    lash = lids * np.where(upper, 0.75 + 0.25 * look.make_up, 0.25 + 0.5 * look.make_up)
    albedo = mixed(albedo, np.array([0.02, 0.015, 0.012], np.float32), lash)
    shadow = np.exp(-(((ax - 3.3) / 1.5) ** 2) - ((y - 4.5) / 0.6) ** 2) * (z > 8)
    albedo = mixed(albedo, linear(look.lips) * 0.5, 0.45 * max(0.0, look.make_up - 0.3) * shadow)

    beard, grown = _beard(look, x, y, z, rng, rest)
    hair = linear(look.brows)
    strands = 1 + 0.35 * texture(rng, rest, (0.35, 0.9, 0.35))
    albedo = mixed(albedo, hair * np.clip(strands, 0.3, 2)[:, None], beard * (1 - 0.8 * lip))
    gloss = gloss * (1 - beard)
    if look.hair_style in ("bald", "buzz", "fringe_of_hair"):  # shaved, yet it shows
        shaved = smooth(hairiness - look.hairline, 0.0, 1.2) * (0.12 if look.hair_style == "bald" else 0.35)
        albedo = mixed(albedo, linear(look.hair) * 0.8 + tone * 0.2, shaved)
    elif look.hair_style != "bald":  # where strands end, skin is darkened by them
        albedo = mixed(albedo, linear(look.hair), 0.85 * smooth(hairiness, 0.2, 1.4))
    if look.hat == "scarf":
        wrapped = smooth(y + 0.35 * (z - 8) * 0, -8.6, -9.2)
        albedo = mixed(albedo, linear(look.hat_colour), wrapped)
    return albedo.astype(np.float32), np.clip(gloss, 0, 1).astype(np.float32), grown.astype(np.float32)


def lips(rest: Floats) -> Floats:
    """1 on the red of the lips, soft at its border [N]."""
    x, y, z = rest[:, 0], rest[:, 1], rest[:, 2]
    ax = np.abs(x)
    arch = np.clip(1 - (ax / 2.55) ** 2, 0, 1)
    bow = 0.16 * np.exp(-(((ax - 0.55) / 0.4) ** 2)) - 0.10 * np.exp(-((x / 0.25) ** 2))
    top = -3.38 + 1.22 * arch**0.65 + bow * arch
    bottom = -3.42 - 1.22 * arch**0.55
    soft = 0.13
    inside = smooth(y, bottom - soft, bottom + soft) * smooth(y, top + soft, top - soft)
    return (inside * smooth(ax, 2.6, 2.35) * (z > 9.2)).astype(np.float32)


def _beard(
    look: HeadLook,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    z: NDArray[np.float64],
    rng: np.random.Generator,
    rest: Floats,
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Strength 0..1 and height in model units."""
    if look.beard == "none":
        return np.zeros(len(x)), np.zeros(len(x))
    ax, ragged = np.abs(x), 0.25 * texture(rng, rest, 0.7)
    cheek = np.interp(ax, (0, 2.2, 3.2, 7.0, 9.5), (-4.4, -3.9, -3.4, 0.4, 1.2))
    jaw = smooth(cheek - y + ragged, -0.2, 0.7) * smooth(y, -10.2, -8.6) * smooth(z, 0.5, 2.5)
    moustache = smooth(np.abs(y + 1.95 + 0.16 * ax + ragged * 0.3), 0.75, 0.4) * smooth(ax, 3.4, 2.6) * (z > 9.6)
    ring = smooth(np.hypot(x / 3.3, (y + 4.3) / 3.2) + 0.15 * ragged, 1.05, 0.9) * (z > 8) * smooth(y, -1.2, -1.7)
    chin = ring * smooth(np.hypot(x / 2.5, (y + 3.3) / 1.3), 0.95, 1.1)
    if look.beard == "moustache":
        area, strength, height = moustache, 0.92, 0.35
    elif look.beard == "goatee":
        area, strength, height = np.maximum(chin, moustache), 0.88, 0.35
    elif look.beard == "stubble":
        area, strength, height = np.maximum(np.maximum(jaw, moustache), 0.9 * chin), 0.38, 0.0
    else:
        area, strength, height = np.maximum(np.maximum(jaw, moustache), chin), 0.93, 0.75
    # Between the nose and the lip height would close the mouth's view; hair there lies flat.
    return area * strength, height * area * smooth(np.hypot(x / 3.0, (y + 3.3) / 1.7), 0.8, 1.5)


def inside(look: HeadLook, rest: Floats, part: str, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Albedo [N, 3] and gloss [N] of "socket", "gums" (with the tongue), or "teeth"."""
    y, z = rest[:, 1], rest[:, 2]
    deep = smooth(z, 3.5, 9.5)
    grain = 1 + 0.05 * texture(rng, rest, 0.6)
    if part == "teeth":
        ivory = np.array([0.90, 0.84, 0.72], np.float32) * look.teeth
        # Grows darker towards the back and the gum; each tooth differs a little.
        albedo = ivory * (0.35 + 0.65 * smooth(z, 6.0, 10.0) * grain)[:, None]
        return albedo.astype(np.float32), np.full(len(rest), 0.25, np.float32)
    if part == "gums":
        flesh = np.array([0.62, 0.22, 0.20], np.float32)
        albedo = flesh * (grain * (0.35 + 0.65 * deep))[:, None]
        return albedo.astype(np.float32), np.full(len(rest), 0.15, np.float32)
    dark = np.array([0.10, 0.025, 0.025], np.float32)
    lipwards = smooth(z, 9.3, 10.6) * smooth(np.abs(y + 3.4), 2.0, 0.8)
    albedo = dark * (0.3 + 0.7 * deep + 1.6 * lipwards)[:, None]
    return albedo.astype(np.float32), np.full(len(rest), 0.05, np.float32)
