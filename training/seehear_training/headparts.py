"""What a 3-D head wears: hair, hats, glasses, clothes, and things held in front of the chin, as coloured meshes.

Coordinates are the face model's: x to the right of the picture, y up, z forwards, about 7.6 units per half width of a
face; the eyes lie near (±3.2, 3.6, 9.6), the mouth near (0, -3.4, 11), the chin at y = -8, the crown at y = 14. Colours
are linear RGB.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from .headgl import HAIR, PLAIN, PROP, TORSO
from .looks import Colour, HeadLook

Floats = NDArray[np.float32]

SKULL_MIDDLE = np.array([0.0, 4.5, 0.5])
_TIPPED = 0.45  # the whorl lies behind the crown, radians

# The front limit of hair by height (y, z): hair grows where z is smaller.
_LIMIT_Y = (-7.5, -6.0, -2.0, -0.6, 0.6, 3.0, 5.5, 8.0, 9.6, 10.8, 12.2)
_LIMIT_Z = (-12.0, -3.5, -1.5, 0.5, 3.2, 4.4, 5.0, 6.4, 8.3, 9.6, 12.0)


@dataclass
class Part:
    """One mesh: positions and normals [N, 3], triangles [M, 3], albedo [N, 3], gloss [N], kind [N]."""

    positions: Floats
    normals: Floats
    triangles: NDArray[np.int32]
    albedo: Floats
    gloss: Floats
    kind: NDArray[np.int32]

    @staticmethod
    def of(
        positions: ArrayLike, triangles: ArrayLike, albedo: ArrayLike, gloss: ArrayLike = 0.0, kind: int = PLAIN
    ) -> Part:
        """A mesh whose normals are computed and whose colour and gloss may be the same everywhere."""
        p = np.ascontiguousarray(positions, np.float32)
        t = np.ascontiguousarray(triangles, np.int32)
        n = len(p)
        return Part(
            p,
            normals_of(p, t),
            t,
            np.ascontiguousarray(np.broadcast_to(np.asarray(albedo, np.float32), (n, 3))),
            np.ascontiguousarray(np.broadcast_to(np.asarray(gloss, np.float32), (n,))),
            np.full(n, kind, np.int32),
        )


def joined(parts: list[Part]) -> Part:
    """All parts as one mesh."""
    starts = np.cumsum([0, *(len(p.positions) for p in parts[:-1])])
    return Part(
        np.concatenate([p.positions for p in parts]),
        np.concatenate([p.normals for p in parts]),
        np.concatenate([p.triangles + s for p, s in zip(parts, starts, strict=True)]).astype(np.int32),
        np.concatenate([p.albedo for p in parts]),
        np.concatenate([p.gloss for p in parts]),
        np.concatenate([p.kind for p in parts]),
    )


def linear(colour: Colour) -> Floats:
    """(B, G, R) in 0..255 to linear RGB."""
    return (np.clip(np.array(colour[::-1], np.float32), 1, 255) / 255) ** 2.2


def smooth(x: ArrayLike, low: float, high: float) -> NDArray[np.floating]:
    """0 at `low`, 1 at `high` (which may be the smaller), smooth between."""
    part = np.clip((np.asarray(x) - low) / (high - low), 0, 1)
    return part * part * (3 - 2 * part)


def normals_of(positions: Floats, triangles: NDArray[np.int32]) -> Floats:
    """Normals [N, 3] of a mesh, each the mean of its triangles' weighted by area."""
    a, b, c = (positions[triangles[:, k]] for k in range(3))
    cross = np.cross(b - a, c - a)
    out = np.zeros((len(positions), 3), np.float32)
    corner = triangles.T.ravel()
    for axis in range(3):
        out[:, axis] = np.bincount(corner, np.tile(cross[:, axis], 3), len(positions))
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)


def texture(rng: np.random.Generator, points: NDArray[np.floating], cell: ArrayLike) -> Floats:
    """Smooth noise [N] with deviation about 0.6 at points [N, 3]; `cell` is its grain, one size or one per axis."""
    p = np.asarray(points, np.float64) / np.asarray(cell) + 64.0
    low = np.floor(p).astype(np.int64)
    part = p - low
    part = part * part * (3 - 2 * part)
    table = rng.standard_normal((32, 32, 32)).astype(np.float32)
    out = np.zeros(len(p), np.float32)
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, part, 1 - part), axis=1)
        x, y, z = ((low + corner) % 32).T
        out += (weight * table[x, y, z]).astype(np.float32)
    return out


def grid_triangles(rows: int, columns: int, closed: bool = False) -> NDArray[np.int32]:
    """Triangles of a grid of points stored row after row; `closed` joins the last column to the first."""
    r, c = np.meshgrid(np.arange(rows - 1), np.arange(columns if closed else columns - 1), indexing="ij")
    a, b = r * columns + c, r * columns + (c + 1) % columns
    quads = np.stack([a, b, b + columns, a, b + columns, a + columns], -1)
    return quads.reshape(-1, 3).astype(np.int32)


def tube(path: ArrayLike, radius: ArrayLike, sides: int = 6, closed: bool = False) -> tuple[Floats, NDArray[np.int32]]:
    """A round bar along a path [N, 3]."""
    p = np.asarray(path, np.float64)
    ahead = np.roll(p, -1, 0) - np.roll(p, 1, 0)
    if not closed:
        ahead[0], ahead[-1] = p[1] - p[0], p[-1] - p[-2]
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    side = np.cross(ahead, np.where(np.abs(ahead[:, 1:2]) < 0.9, (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)))
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    up = np.cross(side, ahead)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    r = np.broadcast_to(np.asarray(radius, np.float64), (len(p),))[:, None, None]
    ring = p[:, None] + r * (np.cos(angle)[None, :, None] * side[:, None] + np.sin(angle)[None, :, None] * up[:, None])
    points = ring.reshape(-1, 3)
    triangles = grid_triangles(len(p), sides, closed=True)
    if closed:
        last = (len(p) - 1) * sides + np.arange(sides)
        first = np.arange(sides)
        after = np.roll(first, -1), np.roll(last, -1)
        triangles = np.concatenate(
            [triangles, np.stack([last, after[1], after[0]], 1), np.stack([last, after[0], first], 1)]
        )
    return points.astype(np.float32), triangles.astype(np.int32)


def blob(centre: ArrayLike, radii: ArrayLike, rows: int = 12, columns: int = 18) -> tuple[Floats, NDArray[np.int32]]:
    """An ellipsoid."""
    polar = np.linspace(0.02, np.pi - 0.02, rows)[:, None]
    azimuth = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None, :]
    unit = np.stack([np.sin(polar) * np.sin(azimuth), np.cos(polar) + 0 * azimuth, np.sin(polar) * np.cos(azimuth)], -1)
    points = unit.reshape(-1, 3) * np.asarray(radii) + np.asarray(centre)
    return points.astype(np.float32), grid_triangles(rows, columns, closed=True)


# ---- the skull as a grid ------------------------------------------------------------------------------------------


class Skull:
    """The skull sampled in directions around its middle, whorl to nape: from it caps of hair and hats are grown."""

    def __init__(self, vertices: Floats, candidates: NDArray[np.int64], fine: bool) -> None:
        """`candidates`: indices of the vertices that may lie on the skull's outside, without ears."""
        self.fine = fine
        self.rows, self.columns = (52, 128) if fine else (30, 76)
        polar = np.linspace(0.015, 2.75, self.rows)[:, None]
        azimuth = np.linspace(0, 2 * np.pi, self.columns, endpoint=False)[None, :]
        d = np.stack(
            [np.sin(polar) * np.sin(azimuth), np.cos(polar) + 0 * azimuth, np.sin(polar) * np.cos(azimuth)], -1
        )
        c, s = np.cos(_TIPPED), np.sin(_TIPPED)
        x, y, z = d[..., 0], d[..., 1], d[..., 2]
        self.directions = np.stack([x, y * c + z * s, z * c - y * s], -1).reshape(-1, 3)
        self.polar = np.repeat(polar[:, 0], self.columns)
        self.azimuth = np.tile(azimuth[0], self.rows)
        self.triangles = grid_triangles(self.rows, self.columns, closed=True)
        away = vertices[candidates].astype(np.float64) - SKULL_MIDDLE
        unit = away / np.linalg.norm(away, axis=1, keepdims=True)
        nearness = self.directions @ unit.T
        self._index = np.argpartition(-nearness, 5, axis=1)[:, :6]
        near = np.take_along_axis(nearness, self._index, 1)
        weight = 1.0 / (2.0 - 2.0 * near + 4e-4)
        self._weight = weight / weight.sum(1, keepdims=True)
        self._candidates = candidates
        self.rest = self.points(vertices)

    def points(self, vertices: Floats) -> NDArray[np.float64]:
        """The grid [rows * columns, 3] on one person's skull."""
        radius = np.linalg.norm(vertices[self._candidates] - SKULL_MIDDLE, axis=1)
        radius = (radius[self._index] * self._weight).sum(1).reshape(self.rows, self.columns).astype(np.float32)
        wrapped = np.concatenate([radius[:, -6:], radius, radius[:, :6]], 1)
        radius = cv2.GaussianBlur(wrapped, (0, 0), 1.0)[:, 6:-6].reshape(-1, 1)
        return SKULL_MIDDLE + self.directions * radius


def hairiness(rest: NDArray[np.floating], hairline: float) -> NDArray[np.float64]:
    """How far points [N, 3] of the mean face lie behind the hairline, model units; < 0: bare skin. Ears are bare."""
    x, y, z = (rest[:, k].astype(np.float64) for k in range(3))
    front = smooth(y, 5.0, 8.0)
    temple = np.exp(-(((np.abs(x) - 4.5) / 2.0) ** 2))  # hair recedes there first
    behind = np.interp(y, _LIMIT_Y, _LIMIT_Z) - z - front * hairline * (0.8 + 1.4 * temple)
    return np.where((np.abs(x) > 7.9) & (y < 4.5) & (z < 4.0), np.minimum(behind, -1.0), behind)


def _strands(rng: np.random.Generator, skull: Skull, wavy: float) -> Floats:
    """Noise along strands [rows * columns], about -1..1: fine across, long down."""
    coarse = rng.standard_normal((4, skull.columns)).astype(np.float32)
    fine = cv2.resize(coarse, (skull.columns, skull.rows), interpolation=cv2.INTER_CUBIC)
    shift = np.round(wavy * 3 * np.sin(np.linspace(0, 7, skull.rows) + rng.uniform(0, 6))).astype(int)
    out = np.stack([np.roll(row, s) for row, s in zip(fine, shift, strict=True)])
    return (0.6 * out).reshape(-1).astype(np.float32)


def hair(look: HeadLook, skull: Skull, vertices: Floats, rng: np.random.Generator) -> list[Part]:
    """The hair of one person; nothing for bald heads (`heads` paints stubble) and below scarves."""
    style, volume = look.hair_style, look.hair_volume
    if style == "bald" or look.hat == "scarf":
        return []
    colour = linear(look.hair)
    base = skull.points(vertices)
    rest = skull.rest
    strands = _strands(rng, skull, 0.3 + volume)
    up = smooth(rest[:, 1], 3.0, 13.0)
    hairline = look.hairline
    inside = hairiness(rest, 0.6 + hairline if style == "fringe_of_hair" else hairline)
    side = np.sign(np.sin(look.seed)) or 1.0
    bump = np.zeros(len(rest), np.float32)
    if style == "buzz":
        thick = np.full(len(rest), 0.22)
    elif style == "short":
        thick = 0.45 + (0.4 + 0.8 * volume) * up
    elif style in ("parted", "swept"):
        thick = 0.55 + (0.5 + 0.9 * volume) * up
        if style == "parted":
            part_x = 2.2 * side
            groove = np.exp(-(((rest[:, 0] - part_x) / 0.6) ** 2)) * smooth(rest[:, 1], 9.0, 12.0) * (rest[:, 2] > -3)
            thick = thick * (1 - 0.75 * groove)
        else:
            thick = thick + 1.0 * volume * smooth(rest[:, 2], 0.0, 8.0) * up
    elif style == "fringe":
        thick = 0.55 + (0.3 + 0.6 * volume) * up
        low = np.interp(np.abs(rest[:, 0]), (0, 4, 6.5, 8), (6.6, 6.2, 5.0, 2.0)) + 0.9 * strands + 0.8 * hairline
        inside = np.maximum(inside, np.where(rest[:, 2] > 2.0, (rest[:, 1] - low) * 0.8, -9.0))
    elif style in ("curly", "afro"):
        thick = (0.7 + 1.1 * volume + 0.5 * up) if style == "curly" else (2.0 + 2.2 * volume + 0.8 * up)
        bump = texture(rng, base, 1.3) + 0.6 * texture(rng, base, 0.7)
        thick = thick + (0.35 if style == "curly" else 0.25) * bump
    elif style == "bun":
        thick = 0.35 + 0.3 * up
    elif style == "fringe_of_hair":
        thick = np.full(len(rest), 0.2 + 0.35 * volume)
        inside = np.minimum(inside, 7.6 + 0.4 * strands - rest[:, 1])
    else:  # bob, long
        thick = 0.7 + (0.4 + 0.6 * volume) * up
    if look.hat in ("beanie", "cap"):
        thick = np.where(rest[:, 1] > 7.0, np.minimum(thick, 0.35), np.minimum(thick, 1.4))
    soft = 0.5 if style == "buzz" else 1.3 if style in ("short", "fringe", "fringe_of_hair", "bun") else 2.2
    edge = inside + 0.22 * strands
    height = thick * smooth(edge, 0.0, soft) ** 0.6 - 0.35 * (1 - smooth(edge, -0.35, 0.15))
    grain = 0.07 if style in ("buzz", "bun") else 0.16
    points = base + skull.directions * (height + grain * strands * smooth(edge, 0.0, 1.0))[:, None]
    tone = 1 + (0.10 if style == "buzz" else 0.28) * strands + 0.25 * bump
    albedo = colour * np.clip(tone, 0.35, 1.9)[:, None]
    if style == "buzz":  # skin shows through
        albedo = albedo * 0.75 + 0.25 * linear(look.skin)
    keep = np.ones(len(skull.triangles), bool)
    keep[:] = (edge[skull.triangles] > -1.0).any(1)
    gloss = 0.02 if style in ("buzz", "curly", "afro") else 0.10 + 0.25 * (1 - volume)
    parts = [Part.of(points, skull.triangles[keep], albedo, gloss, HAIR)]
    if style in ("bob", "long"):
        parts.append(_curtain(look, colour, skull, vertices, rng))
    if style == "bun":
        high = rng.random() < 0.5
        centre, size = ((0, 15.2, -5.0), 3.0) if high else ((0, 6.5, -11.0), 3.2)
        points, triangles = blob(centre, (size, size * 0.9, size * 0.85), 16, 28)
        tone = 1 + 0.3 * texture(rng, points, (0.5, 3.0, 0.5))
        parts.append(Part.of(points, triangles, colour * np.clip(tone, 0.4, 1.8)[:, None], gloss, HAIR))
    return parts


def _curtain(look: HeadLook, colour: Floats, skull: Skull, vertices: Floats, rng: np.random.Generator) -> Part:
    """Loose hair around the back and the sides, from above the ears down."""
    long = look.hair_style == "long"
    volume, rows, columns = look.hair_volume, skull.rows // 2, skull.columns
    width = float(np.abs(vertices[:, 0][vertices[:, 1] > 0]).max()) + 0.15
    opening = float(rng.uniform(0.95, 1.25))  # azimuth at which it begins, from the front
    azimuth = np.linspace(opening, 2 * np.pi - opening, columns)[None, :]
    t = np.linspace(0, 1, rows)[:, None]
    strands = cv2.resize(
        rng.standard_normal((3, columns)).astype(np.float32), (columns, rows), interpolation=cv2.INTER_CUBIC
    )
    end = (-17.5 if long else -7.0) + float(rng.uniform(-3, 2)) + 0.9 * strands[-1:]
    top = 9.0
    y = top + (end - top) * t
    # Follows the skull at the top, hangs freely from the temples on, and lies against the neck in between.
    swell = np.sin(np.clip((top - y) / 9.0, 0, 1) * np.pi / 2) ** 0.7
    flare = smooth(t, 0.45, 1.0) * (0.6 + 1.6 * volume) - 0.8 * np.exp(-(((y + 9) / 3) ** 2)) * long
    radius_x = (0.78 + 0.22 * swell) * (width + 0.2 + 0.6 * volume) + flare
    radius_back = (0.80 + 0.20 * swell) * 9.6 + 0.5 * volume - 2.2 * smooth(y, -3, -11) + 0.4 * flare
    radius_front = (0.85 + 0.15 * swell) * 5.5
    depth = np.where(np.cos(azimuth) > 0, radius_front, radius_back)
    wave = (0.15 + 0.35 * volume) * np.sin(t * (6 + 8 * volume) + 0.7 * strands)
    r = 1 + 0.025 * strands + 0.03 * wave
    points = np.stack([radius_x * np.sin(azimuth) * r, y + 0 * azimuth, 0.4 + depth * np.cos(azimuth) * r], -1)
    tone = (1 + 0.32 * strands) * (1.05 - 0.15 * t)
    return Part.of(
        points.reshape(-1, 3),
        grid_triangles(rows, columns),
        colour * np.clip(tone, 0.35, 1.8).reshape(-1, 1),
        0.12 + 0.2 * (1 - volume),
        HAIR,
    )


# ---- hats and glasses ---------------------------------------------------------------------------------------------


def hat(look: HeadLook, skull: Skull, vertices: Floats, rng: np.random.Generator) -> list[Part]:
    """What is worn on the head."""
    if look.hat == "none":
        return []
    colour = linear(look.hat_colour)
    base, rest = skull.points(vertices), skull.rest
    if look.hat == "headphones":
        return _headphones(colour, vertices)
    if look.hat == "scarf":
        y = rest[:, 1]
        inside = np.interp(y, (-8, -5, 0, 5, 8.5, 10.5, 12), (2.5, 4.2, 5.4, 6.0, 7.6, 9.4, 12)) - rest[:, 2]
        thick, edge = 0.55 + 0.35 * texture(rng, base, (4, 2, 4)), inside
    else:
        brim = 7.6 + 0.25 * (rest[:, 2] - 2.0) * (0.25 if look.hat == "beanie" else 0.1) - float(rng.uniform(0, 1))
        edge = rest[:, 1] - brim
        roll = np.exp(-(((edge - 0.9) / 0.8) ** 2)) * (0.35 if look.hat == "beanie" else 0.0)
        thick = 0.75 + roll + 0.05 * np.sin(skull.azimuth * 48) * (look.hat == "beanie")
    height = thick * smooth(edge, 0.0, 0.25) - 0.4 * (1 - smooth(edge, -0.3, 0.05))
    points = base + skull.directions * height[:, None]
    tone = 1 + 0.06 * texture(rng, base, 1.0)
    keep = (edge[skull.triangles] > -0.6).any(1)
    parts = [Part.of(points, skull.triangles[keep], colour * tone[:, None], 0.03)]
    if look.hat == "cap":
        u, v = np.meshgrid(np.linspace(-1, 1, 18), np.linspace(0, 1, 7))
        front = float(vertices[:, 2][(vertices[:, 1] > 7.5) & (vertices[:, 1] < 8.5)].max())
        x = 6.6 * u
        z = front * np.sqrt(np.clip(1 - (u * 0.86) ** 2, 0, 1)) * 0.95 + v * 5.2 * np.sqrt(np.clip(1 - u**2, 0, 1))
        y = 8.2 - 0.9 * u**2 - 1.1 * v + 0 * x
        visor = np.stack([x, y, z], -1).reshape(-1, 3)
        parts.append(Part.of(visor, grid_triangles(7, 18), colour * 0.8, 0.03))
    if look.hat == "scarf":
        rows, columns = 18, 72
        t, azimuth = np.linspace(0, 1, rows)[:, None], np.linspace(0, 2 * np.pi, columns, endpoint=False)[None, :]
        y = -5.0 - 2.6 * np.cos(azimuth) * (1 - t) - t * 10.0
        wide = 7.0 + 5.0 * t**1.5
        fold = 0.25 * np.sin(5 * azimuth + 9 * t) + 0.3 * np.sin(14 * t + 2 * np.cos(azimuth))
        x, z = (wide + fold) * np.sin(azimuth), 1.2 + (6.6 + 2.5 * t + fold) * np.cos(azimuth)
        drape = np.stack([x, y + 0 * azimuth, z], -1).reshape(-1, 3)
        parts.append(Part.of(drape, grid_triangles(rows, columns, closed=True), colour, 0.03))
    return parts


def _headphones(colour: Floats, vertices: Floats) -> list[Part]:
    wide = float(np.abs(vertices[:, 0][(vertices[:, 1] > 0) & (vertices[:, 1] < 4)]).max())
    parts = []
    for side in (-1, 1):
        points, triangles = blob((side * (wide + 0.2), 1.6, -0.6), (1.3, 3.1, 2.8))
        parts.append(Part.of(points, triangles, colour, 0.15))
    angle = np.linspace(-1.45, 1.45, 28)
    top = float(vertices[:, 1].max()) + 1.6
    path = np.stack([(wide + 0.5) * np.sin(angle), 2.5 + (top - 2.5) * np.cos(angle), -0.6 + 0 * angle], 1)
    points, triangles = tube(path, 0.6, 7)
    parts.append(Part.of(points, triangles, colour * 0.7, 0.1))
    return parts


def glasses(look: HeadLook, eyes: NDArray[np.floating], bridge: ArrayLike) -> list[Part]:
    """Rims, bridge and temples; `eyes` [2, 3] are the eyeballs' centres, `bridge` a point of the nose between them."""
    if look.glasses == "none":
        return []
    colour, parts = linear(look.glasses_colour), []
    bridge_z = float(np.asarray(bridge)[2])
    thick = 0.13 + 0.15 * ((look.seed >> 3) % 8) / 7
    angle = np.linspace(0, 2 * np.pi, 30, endpoint=False)
    power = 1.0 if look.glasses == "round" else 0.55
    ru, rv = (2.15, 2.0) if look.glasses == "round" else (2.45, 1.65)
    if look.glasses == "sun":
        ru, rv = 2.6, 2.0
    for eye in eyes:
        side = np.sign(eye[0])
        x = eye[0] + 0.1 * side + ru * np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power
        y = eye[1] - 0.25 + rv * np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** power
        z = bridge_z + 0.55 - 0.045 * x**2
        rim = np.stack([x, y, z], 1)
        points, triangles = tube(rim, thick, 6, closed=True)
        parts.append(Part.of(points, triangles, colour, 0.4))
        if look.glasses == "sun":
            disc = np.concatenate([rim, rim.mean(0, keepdims=True)])
            k = np.arange(len(rim))
            fan = np.stack([k, np.roll(k, -1), np.full(len(rim), len(rim))], 1)
            parts.append(Part.of(disc, fan, (0.012, 0.012, 0.014), 0.7))
        outer = rim[np.argmax(x * side)]
        path = [outer, (side * 8.0, outer[1] + 0.3, 5.5), (side * 8.6, outer[1] - 0.1, 0.0), (side * 8.6, 1.2, -1.8)]
        points, triangles = tube(path, thick, 6)
        parts.append(Part.of(points, triangles, colour, 0.3))
    inner = float(np.abs(eyes[:, 0]).mean()) - ru + 0.15
    u = np.linspace(-1, 1, 8)
    path = np.stack([u * inner, eyes[:, 1].mean() + 0.25 * (1 - u**2), bridge_z + 0.55 + 0.1 * (1 - u**2)], 1)
    points, triangles = tube(path, thick, 6)
    parts.append(Part.of(points, triangles, colour, 0.4))
    return parts


# ---- clothes and props --------------------------------------------------------------------------------------------


def torso(look: HeadLook, fine: bool, rng: np.random.Generator) -> Part:
    """Collar, shoulders, chest and back; open below."""
    rows, columns = (44, 90) if fine else (28, 54)
    t = np.linspace(0, 1, rows)[:, None]
    azimuth = np.linspace(-np.pi, np.pi, columns)[None, :]
    shoulder = 15.0 + 4.5 * look.build
    collar = -10.6 + (1.5 if look.top_style == 4 else 0.0)
    # Down the side: the collar stands, the trapezius slopes, the shoulder turns over, the arm hangs.
    at = (0, 0.08, 0.2, 0.45, 0.55, 0.65, 1)
    down = np.interp(t, at, (0, 0.9, 2.6, 6.0, 8.6, 12.0, 34.0))
    wide = np.interp(t, at, (6.1, 6.5, 8.6, 0.82 * shoulder, shoulder, shoulder + 1, shoulder + 2.2))
    deep = np.interp(t, at, (6.7, 7.0, 7.6, 8.6, 9.0, 9.6, 11.5))
    for profile in (down, wide, deep):
        profile[:] = cv2.GaussianBlur(profile.astype(np.float32), (1, 5), 1.0, borderType=cv2.BORDER_REPLICATE)
    sin, cos = np.sin(azimuth), np.cos(azimuth)
    square = 1.0 - 0.25 * smooth(t, 0.05, 0.3)
    x = wide * np.sign(sin) * np.abs(sin) ** square
    z = -1.3 + deep * np.sign(cos) * np.abs(cos) ** square
    # The collar is lower in front, and the chest falls away from it faster than the shoulders do.
    y = collar - down - 1.5 * cos - 2.6 * np.clip(cos, 0, 1) * smooth(t, 0.0, 0.25)
    points = np.stack([x, y + 0 * azimuth, z], -1).reshape(-1, 3)
    wrinkle = texture(rng, points, (3.5, 1.6, 3.5))
    points = (
        points + np.array([0, 0, 1.0]) * (0.16 * wrinkle * smooth(np.repeat(t, columns, 1).ravel(), 0.15, 0.4))[:, None]
    )
    cloth, second, skin = linear(look.top), linear(look.top_second), linear(look.skin)
    albedo = np.tile(cloth, (len(points), 1))
    px, py, front = points[:, 0], points[:, 1], points[:, 2] > 0
    if look.top_style == 1:
        albedo = mixed(albedo, skin, front * smooth(py - (-19.5 + 1.35 * np.abs(px)), -0.2, 0.2))
    elif look.top_style == 2:
        open_ = front * smooth(py - (-30 + 3.2 * np.abs(px)), -0.3, 0.3)
        albedo = mixed(albedo, second, open_)
        if look.seed % 2:
            albedo = mixed(albedo, linear(look.hat_colour) * 0.6, open_ * (np.abs(px) < 0.8 + 0.04 * (-py - 12)))
    elif look.top_style == 3:
        albedo = mixed(albedo, second, smooth(np.sin(py * (1.4 + look.build)), -0.2, 0.2))
    seam = smooth(np.repeat(t, columns, 1).ravel(), 0.11, 0.07)
    albedo = albedo * (1 - 0.25 * seam[:, None]) * np.clip(1 + 0.04 * wrinkle, 0.7, 1.3)[:, None]
    return Part.of(points, grid_triangles(rows, columns), albedo, 0.02, TORSO)


def prop(look: HeadLook, rng: np.random.Generator) -> list[Part]:
    """Something held up, around the origin; its top, which comes in front of the chin, near y = 2."""
    colour, skin = linear(look.prop_colour), linear(look.skin) * 0.95
    parts: list[Part] = []
    if look.prop == "none":
        return parts
    if look.prop == "microphone":
        points, triangles = blob((0, 0.6, 0), (1.7, 1.7, 1.7))
        parts.append(Part.of(points, triangles, np.clip(colour * 0.3, 0.01, 0.2), 0.2, PROP))
        points, triangles = tube([(0, -0.5, 0), (0.5, -9, 1.5)], (0.95, 0.7), 12)
        parts.append(Part.of(points, triangles, (0.02, 0.02, 0.022), 0.3, PROP))
        fingers = [(-2.2 + 0.15 * k, -4.4 - 1.25 * k, 0.8) for k in range(4)]
        for x, y, z in fingers:
            points, triangles = tube([(x, y, z - 1), (x + 1.2, y, z + 1.1), (x + 3.6, y - 0.2, z + 0.6)], 0.66, 8)
            parts.append(Part.of(points, triangles, skin, 0.1, PROP))
        points, triangles = blob((-1.6, -7, -0.8), (2.2, 3.6, 1.8))
    elif look.prop == "mug":
        angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
        rings = [(3.0, -5.5), (3.1, -2.0), (3.1, 1.6), (2.85, 1.6), (2.8, -1.0)]
        points = np.concatenate([np.stack([r * np.sin(angle), y + 0 * angle, r * np.cos(angle)], 1) for r, y in rings])
        parts.append(Part.of(points, grid_triangles(len(rings), 28, closed=True), colour, 0.35, PROP))
        for k in range(4):
            y = 0.4 - 1.3 * k
            points, triangles = tube([(3.4, y, -1.5), (3.2, y, 1.4), (1.0, y - 0.1, 3.3)], 0.68, 8)
            parts.append(Part.of(points, triangles, skin, 0.1, PROP))
        points, triangles = blob((4.0, -2, -1.5), (1.8, 3.4, 2.2))
    else:
        points, triangles = blob((0, -3.5, 0), (3.4, 3.4, 1.4))
        for k in range(4):
            x = -2.5 + 1.65 * k
            top = 2.6 - 0.35 * (k - 1.4) ** 2 + float(rng.uniform(-0.3, 0.3))
            bar, sides = tube([(x * 0.95, -2.5, 0), (x, top - 2, 0.6), (x * 1.02, top, 0.1)], (0.85, 0.78, 0.5), 8)
            parts.append(Part.of(bar, sides, skin, 0.1, PROP))
    parts.append(Part.of(points, triangles, skin, 0.1, PROP))
    points, triangles = tube([(1.0, -6, -0.5), (4.5, -18, 0.5)], (2.2, 3.4), 12)
    parts.append(Part.of(points, triangles, linear(look.top), 0.02, PROP))
    return parts


def mixed(a: NDArray[np.floating], b: NDArray[np.floating], part: NDArray[np.floating]) -> Floats:
    """`part` [N] of b, the rest a."""
    return (a + (b - a) * np.clip(part, 0, 1)[:, None]).astype(np.float32)
