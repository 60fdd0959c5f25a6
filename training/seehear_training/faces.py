"""Drawn faces that move: eyes and mouth redrawn in every frame, then the whole head bent into its pose.

All features are drawn on the frontal portrait. A coarse mesh then maps each pixel of the picture back to the portrait:
the head is a shallow relief (a dome with a nose), so turning it slides near parts further than far ones; the chin is
pulled down with the jaw; roll, size and place follow. One `cv2.remap` per layer does it all, so a frame costs the same
whatever the head does. Pixels are (x, y) of the picture, origin top left.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from .canvas import fixed, mix, shade
from .looks import Colour, Look
from .portraits import EYE_V, HEAD_BOX, TORSO_BOX, outline, paint

_MESH_PX = 12  # picture pixels between mesh points
_SUPER = 2  # supersampling of eyes and mouth
_SHIFT = 4


@dataclass(frozen=True)
class Pose:
    """Where a head is in one frame: centre and half width in pixels, angles in radians, lids and brows 0..1."""

    x: float
    y: float
    half_width_px: float
    roll: float = 0.0
    yaw: float = 0.0
    """> 0: towards the right of the picture."""
    pitch: float = 0.0
    """> 0: down."""
    blink: float = 0.0
    brow: float = 0.0
    gaze_x: float = 0.0
    gaze_y: float = 0.0
    torso_x: float = 0.0
    torso_y: float = 0.0
    """Centre of the head to which the torso belongs: shoulders move less than heads."""
    time_s: float = 0.0
    """For what moves by itself, such as a hand held up."""


class Face:
    """One person, ready to be drawn at about `half_width_px`."""

    def __init__(self, look: Look, half_width_px: float) -> None:
        self.look = look
        # Small faces are painted larger than needed: eyes and lips of a few pixels cannot be drawn well.
        self.scale = max(half_width_px * 1.05, 36.0)
        portrait = paint(look, self.scale)
        self._head, self._torso, self._back = portrait.head, portrait.torso, portrait.hair_back
        self._over = _crop_alpha(portrait.over)
        self._work = np.empty_like(self._head)
        mouth_v = look.aspect * look.mouth_v
        row = int((mouth_v + 0.25 - HEAD_BOX[1]) * self.scale)
        sample = portrait.head[row, portrait.head.shape[1] // 2, :3].astype(float)
        # The mouth is drawn without shading, so it takes its brightness from the painted skin around it.
        self._light = float(np.clip(sample.mean() / max(20.0, float(np.mean(look.skin))), 0.6, 1.2))
        self._contour = outline(look, count=32)

    # ---- geometry -------------------------------------------------------------------------------------------------

    def _relief(self, u: NDArray[np.floating], v: NDArray[np.floating]) -> NDArray[np.floating]:
        """Height of the face's surface towards the viewer, head units."""
        a = self.look.aspect
        dome = 0.75 * np.exp(-0.9 * (u**2 + (v / a) ** 2))
        return dome + 0.12 * np.exp(-((u / 0.2) ** 2) - ((v - 0.3 * a) / 0.22) ** 2)

    def _jaw_shift(self, v: NDArray[np.floating], jaw: float) -> NDArray[np.floating]:
        """How far a point at height v is pulled down when the chin drops by `jaw`."""
        top = self.look.aspect * self.look.mouth_v - 0.05
        part = np.clip((v - top) / (self.look.aspect - top), 0, 1)
        return jaw * part * part * (3 - 2 * part)

    def jaw(self, mouth: NDArray[np.float32]) -> float:
        """Drop of the chin, head units."""
        look = self.look
        if look.kind == "robot" and look.robot_mouth != "flap":
            return 0.0
        return look.jaw_drop * look.mouth_open * max(0.0, float(mouth[0])) * 0.8

    def to_picture(self, points: ArrayLike, pose: Pose, jaw: float = 0.0) -> NDArray[np.float64]:
        """Head units [N, 2] to picture pixels [N, 2]."""
        p = np.asarray(points, np.float64).reshape(-1, 2)
        u, v = p[:, 0], p[:, 1] + self._jaw_shift(p[:, 1], jaw)
        z = self._relief(u, v)
        x, y = u + z * np.sin(pose.yaw), v + z * np.sin(pose.pitch)
        c, s = np.cos(pose.roll), np.sin(pose.roll)
        return np.stack(
            [pose.x + pose.half_width_px * (c * x - s * y), pose.y + pose.half_width_px * (s * x + c * y)], 1
        )

    def box(self, pose: Pose, mouth: NDArray[np.float32]) -> tuple[float, float, float, float]:
        """The face (crown to chin, cheek to cheek, without hair) as x, y, w, h in pixels."""
        p = self.to_picture(self._contour, pose, self.jaw(mouth))
        (x0, y0), (x1, y1) = p.min(0), p.max(0)
        return float(x0), float(y0), float(x1 - x0), float(y1 - y0)

    def mouth_point(self, pose: Pose, mouth: NDArray[np.float32]) -> tuple[float, float]:
        """Middle of the mouth in pixels."""
        v = self.look.aspect * self.look.mouth_v + 0.25 * self.look.mouth_open * max(0.0, float(mouth[0]))
        x, y = self.to_picture([(0.0, v)], pose, self.jaw(mouth))[0]
        return float(x), float(y)

    # ---- drawing --------------------------------------------------------------------------------------------------

    def draw(self, frame: NDArray[np.uint8], pose: Pose, mouth: NDArray[np.float32]) -> None:
        """Draw the person into `frame` (uint8 BGR, changed in place)."""
        jaw = self.jaw(mouth)
        mapping = self._mapping(frame.shape, pose, jaw)
        if self._back is not None and mapping is not None:
            _compose(frame, self._back, mapping)
        self._draw_torso(frame, pose)
        if mapping is None:
            return
        np.copyto(self._work, self._head)
        self._eyes(self._work, pose)
        self._mouth(self._work, mouth)
        if self._over is not None:
            x, y, layer = self._over
            _over(self._work[y : y + layer.shape[0], x : x + layer.shape[1]], layer)
        _compose(frame, self._work, mapping)

    def _mapping(
        self, shape: tuple[int, ...], pose: Pose, jaw: float
    ) -> tuple[int, int, NDArray[np.float32], NDArray[np.float32]] | None:
        """Where each picture pixel of the head's region comes from: x0, y0, map_x, map_y; None if not in sight."""
        u0, v0, u1, v1 = HEAD_BOX
        corners = np.array([(u0, v0), (u1, v0), (u1, v1), (u0, v1)])
        c, s = np.cos(pose.roll), np.sin(pose.roll)
        px = np.stack([c * corners[:, 0] - s * corners[:, 1], s * corners[:, 0] + c * corners[:, 1]], 1)
        px = px * pose.half_width_px + (pose.x, pose.y)
        step = _MESH_PX
        x0, y0 = (np.floor(px.min(0) / step).astype(int)) * step
        nx, ny = (np.ceil((px.max(0) - (x0, y0)) / step).astype(int)) + 1
        gx = (x0 + (np.arange(nx) + 0.5) * step - 0.5 - pose.x) / pose.half_width_px
        gy = (y0 + (np.arange(ny) + 0.5) * step - 0.5 - pose.y) / pose.half_width_px
        x, y = gx[None, :] * c + gy[:, None] * s, -gx[None, :] * s + gy[:, None] * c
        sin_yaw, sin_pitch = np.sin(pose.yaw), np.sin(pose.pitch)
        u, v = x, y
        for _ in range(4):  # the relief is shallow, so the fixed point is reached quickly
            z = self._relief(u, v)
            u, v = x - z * sin_yaw, y - z * sin_pitch
        still = v
        for _ in range(3):
            v = still - self._jaw_shift(v, jaw)
        # The mesh is blown up to pixels; its points sit at cell centres, as cv2.resize assumes.
        size = (int(nx) * step, int(ny) * step)
        map_x = cv2.resize(((u - u0) * self.scale - 0.5).astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
        map_y = cv2.resize(((v - v0) * self.scale - 0.5).astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
        left, top = max(0, -int(x0)), max(0, -int(y0))
        right, bottom = min(size[0], shape[1] - int(x0)), min(size[1], shape[0] - int(y0))
        if left >= right or top >= bottom:
            return None
        return int(x0) + left, int(y0) + top, map_x[top:bottom, left:right], map_y[top:bottom, left:right]

    def _draw_torso(self, frame: NDArray[np.uint8], pose: Pose) -> None:
        ratio = pose.half_width_px / self.scale
        x0 = pose.torso_x + TORSO_BOX[0] * pose.half_width_px
        y0 = pose.torso_y + TORSO_BOX[1] * pose.half_width_px
        height, width = frame.shape[:2]
        left, top = max(0, int(np.floor(x0))), max(0, int(np.floor(y0)))
        right = min(width, int(np.ceil(x0 + self._torso.shape[1] * ratio)))
        bottom = height  # small people end below the painted torso: its last row goes on down
        if left >= right or top >= bottom:
            return
        matrix = np.array([[ratio, 0, x0 - left], [0, ratio, y0 - top]])
        layer = cv2.warpAffine(
            self._torso, matrix, (right - left, bottom - top), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        _over_opaque(frame[top:bottom, left:right], layer)

    def _patch(self, layer: NDArray[np.uint8], u0: float, v0: float, u1: float, v1: float) -> _Patch:
        return _Patch(layer, self.scale, u0, v0, u1, v1)

    def _eyes(self, layer: NDArray[np.uint8], pose: Pose) -> None:
        look = self.look
        lid = max(pose.blink, 0.0)
        for side in (-1, 1):
            reach = look.eye_size * 1.7
            patch = self._patch(
                layer, side * look.eye_gap - reach, EYE_V - 0.52, side * look.eye_gap + reach, EYE_V + reach
            )
            centre = np.array([side * look.eye_gap, EYE_V])
            if look.kind == "robot":
                glow: Colour = shade(mix(look.eyes, (255, 240, 120), 0.7), 1.0)
                patch.ellipse(centre, look.eye_size * 1.15, look.eye_size * 1.15, (40, 38, 36))
                patch.ellipse(centre, look.eye_size * 0.8, look.eye_size * 0.8 * (1 - 0.9 * lid), glow)
                patch.finish()
                continue
            if look.kind == "human":
                self._human_eye(patch, centre, side, pose, lid)
            else:
                r = look.eye_size * (1.05 if look.kind == "puppet" else 0.9)
                if lid > 0.5:
                    x = np.linspace(-1, 1, 9)
                    patch.line(centre + np.stack([x * r, 0.25 * r * (1 - x**2)], 1), 0.05, shade(look.skin, 0.4))
                else:
                    open_ = 1 - lid
                    patch.ellipse(centre, r, r * 1.15 * open_, (248, 248, 248), (40, 36, 36))
                    pupil = centre + (0.4 * r * pose.gaze_x / 0.6, 0.25 * r * pose.gaze_y / 0.4)
                    patch.ellipse(pupil, r * 0.5, r * 0.55 * open_, (24, 22, 22))
                    patch.ellipse(pupil + (-0.15 * r, -0.2 * r), r * 0.14, r * 0.14 * open_, (255, 255, 255))
            if look.kind in ("human", "cartoon"):
                lift = 0.26 + 0.10 * pose.brow
                x = np.linspace(-1, 1, 9)
                arch = EYE_V - lift - 0.07 * (1 - x**2) + 0.05 * np.clip(x * side, 0, 1)
                half = look.brow * (0.75 - 0.35 * np.clip(x * side, -0.2, 1)) * 0.75
                brow_u = centre[0] + x * 0.27 + 0.02 * side
                upper, lower = np.stack([brow_u, arch - half], 1), np.stack([brow_u, arch + half * 0.6], 1)
                patch.polygon(np.concatenate([upper, lower[::-1]]), mix(shade(look.hair, 0.75), look.skin, 0.18))
            patch.finish()

    def _human_eye(self, patch: _Patch, centre: NDArray[np.float64], side: int, pose: Pose, lid: float) -> None:
        look, w = self.look, self.look.eye_size
        x = np.linspace(-1, 1, 17)
        lower = 0.34 * w * (1 - x**2)
        raised = -0.52 * w * (1 - np.abs(x) ** 2.2) * (1 - 0.12 * x * side)
        upper = raised + (lower - raised) * min(1.0, lid * 1.05)
        tilt = -0.06 * w * x * side  # outer corners a little higher
        top = centre + np.stack([x * w, upper + tilt], 1)
        bottom = centre + np.stack([x * w, lower + tilt], 1)
        lid_skin = shade(look.skin, 0.80 * self._light)
        crease = centre + np.stack([x * w * 1.05, raised * 1.35 - 0.01 + tilt], 1)
        patch.polygon(np.concatenate([crease, bottom[::-1]]), lid_skin)
        opening = np.concatenate([top, bottom[::-1]])
        if lid < 0.92:
            with patch.clip(opening):
                patch.polygon(opening, (222, 226, 232))
                iris = centre + (0.45 * w * pose.gaze_x, 0.25 * w * pose.gaze_y - 0.03 * w)
                patch.ellipse(iris, 0.44 * w, 0.44 * w, shade(look.eyes, 0.55))
                patch.ellipse(iris, 0.37 * w, 0.37 * w, shade(look.eyes, 1.15))
                patch.ellipse(iris, 0.18 * w, 0.18 * w, (16, 14, 14))
                patch.line(top + (0, 0.05 * w), 0.10 * w, (150, 150, 165))  # the lid's shadow on the eyeball
                patch.ellipse(iris + (0.12 * w * np.sign(look.light_x), -0.14 * w), 0.08 * w, 0.08 * w, (255, 255, 255))
        patch.line(top, 0.11 * w, shade(look.skin, 0.25))
        patch.line(bottom, 0.03 * w, shade(look.skin, 0.55))

    def _mouth(self, layer: NDArray[np.uint8], mouth: NDArray[np.float32]) -> None:
        look = self.look
        opening, width, rounding, tongue = (float(m) for m in mouth)
        mouth_v = look.aspect * look.mouth_v
        w = look.mouth_width * (0.72 + 0.56 * width) * (1 - 0.42 * rounding)
        gap = look.mouth_open * max(0.0, opening)
        reach = look.mouth_width * 1.35 + 0.1
        patch = self._patch(layer, -reach, mouth_v - 0.32, reach, mouth_v + 0.9 * look.mouth_open * 1.25 + 0.32)
        if look.kind == "robot":
            self._robot_mouth(patch, mouth_v, opening, width)
            patch.finish()
            return
        x = np.linspace(-1, 1, 23)
        arch = 1 - x**2
        corner = look.smile * (0.05 - 0.15 * x**2 * (0.6 + 0.8 * width))
        upper_in = mouth_v - 0.22 * gap * arch**0.8 + corner
        lower_in = mouth_v + 0.78 * gap * arch**0.55 + corner
        inner = np.concatenate([np.stack([x * w * 0.93, upper_in], 1), np.stack([x * w * 0.93, lower_in], 1)[::-1]])
        lips = look.kind == "human"
        if lips:
            pressed = 1 + 4 * min(0.0, opening)  # lips pressed together grow thin
            plump = look.lip * pressed * (1 + 0.35 * rounding) * (1 - 0.18 * max(0.0, width - 0.5))
            cupid = 1 - 0.25 * np.exp(-((x / 0.14) ** 2)) + 0.10 * np.exp(-(((np.abs(x) - 0.3) / 0.2) ** 2))
            upper_out = upper_in - 0.85 * plump * arch**0.6 * cupid
            lower_out = lower_in + 1.05 * plump * arch**0.5
            red = mix(shade(look.skin, 0.80), (75, 62, 175), 0.25 + 0.5 * look.lip_red)
            red = shade(red, self._light * min(1.0, 0.55 + np.mean(look.skin) / 330))
            top_lip = np.concatenate([np.stack([x * w, upper_out], 1), np.stack([x * w * 0.93, upper_in], 1)[::-1]])
            low_lip = np.concatenate([np.stack([x * w * 0.93, lower_in], 1), np.stack([x * w, lower_out], 1)[::-1]])
            patch.polygon(top_lip, shade(red, 0.82))
            patch.polygon(low_lip, red)
            gleam = np.stack([x[6:-6] * w * 0.7, (lower_in + 0.45 * plump * arch)[6:-6]], 1)
            patch.line(gleam, 0.25 * plump, mix(red, (235, 235, 255), 0.16))
        if gap > 0.012:
            self._cavity(patch, inner, x, w, upper_in, lower_in, gap, tongue)
            if not lips:
                patch.line(inner, 0.045, shade(look.skin, 0.30), closed=True)
        else:
            seam = np.stack([x * w * 0.96, mouth_v + corner], 1)
            patch.line(seam, 0.028 if lips else 0.05, shade(look.skin, 0.28))
        patch.finish()

    def _cavity(
        self,
        patch: _Patch,
        inner: NDArray[np.float64],
        x: NDArray[np.float64],
        w: float,
        upper: NDArray[np.float64],
        lower: NDArray[np.float64],
        gap: float,
        tongue: float,
    ) -> None:
        """The inside of an open mouth: dark, with teeth behind the lips and the tongue on the floor or at the teeth."""
        look = self.look
        middle = float(upper[len(x) // 2])
        floor = float(lower[len(x) // 2])
        with patch.clip(inner):
            patch.polygon(inner, (30, 18, 62) if look.kind == "puppet" else (22, 16, 40))
            flesh: Colour = (92, 84, 190)
            rest = np.array([0.0, floor + 0.02])
            patch.ellipse(rest, w * 0.62, min(0.16, 0.45 * gap), shade(flesh, 0.85 * self._light))
            if tongue > 0.3:
                patch.ellipse(
                    np.array([0.0, middle + 0.55 * gap]),
                    w * 0.42,
                    0.32 * gap * tongue + 0.01,
                    shade(flesh, self._light),
                )
            if look.kind != "puppet" and look.species != "frog":
                shine = 255 * look.teeth * (0.6 + 0.4 * self._light)
                white: Colour = (shine * 0.93, shine * 0.97, shine)
                depth = min(0.095, 0.55 * gap)
                row = np.linspace(-0.82, 0.82, 15)
                behind = np.interp(row, x, upper)
                edge = np.stack([row * w, behind + depth * (1 - 0.3 * row**2)], 1)
                patch.polygon(np.concatenate([np.stack([row * w, behind - 0.06], 1), edge[::-1]]), white)
                if gap > 0.16:
                    row = row * 0.8
                    edge = np.stack([row * w, floor - 0.28 * (gap - 0.14) - 0.02 + 0.03 * row**2], 1)
                    below = np.stack([row * w, np.full_like(row, floor + 0.1)], 1)
                    patch.polygon(np.concatenate([edge, below[::-1]]), shade(white, 0.80))

    def _robot_mouth(self, patch: _Patch, mouth_v: float, opening: float, width: float) -> None:
        look, level = self.look, max(0.0, opening)
        dark: Colour = (34, 30, 30)
        w = look.mouth_width * 1.25
        if look.robot_mouth == "bars":
            patch.rect(-w, mouth_v - 0.24, w, mouth_v + 0.24, dark)
            for k in range(7):
                height = 0.02 + 0.21 * level * (1 - 0.22 * abs(k - 3)) * (1 + 0.3 * (width - 0.5) * (-1) ** k)
                u = (k - 3) * w / 3.7
                patch.rect(u - w * 0.09, mouth_v - height, u + w * 0.09, mouth_v + height, (120, 235, 140))
        elif look.robot_mouth == "flap":
            gap = look.mouth_open * level
            patch.rect(-w * 0.9, mouth_v - 0.03, w * 0.9, mouth_v + 0.03 + gap, dark)
        else:
            gap = 0.03 + 0.5 * look.mouth_open * level
            w *= 0.7 + 0.5 * width
            patch.rect(-w, mouth_v - gap, w, mouth_v + gap, dark)
            patch.rect(-w * 0.9, mouth_v - gap * 0.4, w * 0.9, mouth_v + gap * 0.4, (90, 200, 240))


class _Patch:
    """A supersampled window on a layer, in head units; drawn back by `finish`."""

    def __init__(self, layer: NDArray[np.uint8], scale: float, u0: float, v0: float, u1: float, v1: float) -> None:
        self._x0 = max(0, int((u0 - HEAD_BOX[0]) * scale))
        self._y0 = max(0, int((v0 - HEAD_BOX[1]) * scale))
        self._x1 = min(layer.shape[1], int((u1 - HEAD_BOX[0]) * scale) + 1)
        self._y1 = min(layer.shape[0], int((v1 - HEAD_BOX[1]) * scale) + 1)
        self._layer, self._scale = layer, scale
        roi = layer[self._y0 : self._y1, self._x0 : self._x1]
        self._image = cv2.resize(roi, None, fx=_SUPER, fy=_SUPER, interpolation=cv2.INTER_LINEAR)
        self._under: NDArray[np.uint8] | None = None
        self._clip: NDArray[np.float64] | None = None

    def _px(self, points: ArrayLike) -> NDArray[np.int32]:
        p = (np.asarray(points, np.float64).reshape(-1, 2) - HEAD_BOX[:2]) * self._scale - (self._x0, self._y0)
        return fixed(p * _SUPER - 0.5)

    def polygon(self, points: ArrayLike, colour: Colour) -> None:
        cv2.fillPoly(self._image, [self._px(points)], (*colour, 255), cv2.LINE_AA, _SHIFT)

    def line(self, points: ArrayLike, width: float, colour: Colour, closed: bool = False) -> None:
        px = max(1, round(width * self._scale * _SUPER))
        cv2.polylines(self._image, [self._px(points)], closed, (*colour, 255), px, cv2.LINE_AA, _SHIFT)

    def ellipse(self, centre: ArrayLike, ru: float, rv: float, colour: Colour, edge: Colour | None = None) -> None:
        angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
        points = np.asarray(centre) + np.stack([ru * np.cos(angle), rv * np.sin(angle)], 1)
        self.polygon(points, colour)
        if edge is not None:
            self.line(points, 0.035, edge, closed=True)

    def rect(self, u0: float, v0: float, u1: float, v1: float, colour: Colour) -> None:
        self.polygon([(u0, v0), (u1, v0), (u1, v1), (u0, v1)], colour)

    def clip(self, points: ArrayLike) -> _Patch:
        """`with patch.clip(polygon):` what is drawn inside stays inside the polygon."""
        self._clip = np.asarray(points)
        return self

    def __enter__(self) -> _Patch:
        self._under = self._image.copy()
        return self

    def __exit__(self, *_: object) -> None:
        if self._under is None or self._clip is None:
            return
        mask = np.zeros(self._image.shape[:2], np.uint8)
        cv2.fillPoly(mask, [self._px(self._clip)], 255, cv2.LINE_8, _SHIFT)
        cv2.copyTo(self._image, mask, self._under)
        self._image, self._under = self._under, None

    def finish(self) -> None:
        """Write the window back, averaged down."""
        size = (self._x1 - self._x0, self._y1 - self._y0)
        self._layer[self._y0 : self._y1, self._x0 : self._x1] = cv2.resize(
            self._image, size, interpolation=cv2.INTER_AREA
        )


def _crop_alpha(layer: NDArray[np.uint8] | None) -> tuple[int, int, NDArray[np.uint8]] | None:
    """A layer cut to where it is not empty: x, y, pixels."""
    if layer is None:
        return None
    x, y, w, h = cv2.boundingRect(layer[..., 3])
    return (x, y, np.ascontiguousarray(layer[y : y + h, x : x + w])) if w and h else None


def _over(below: NDArray[np.uint8], above: NDArray[np.uint8]) -> None:
    """Premultiplied "over", both BGRA, in place."""
    rest = cv2.bitwise_not(above[..., 3])
    below[:] = cv2.add(cv2.multiply(below, cv2.merge((rest, rest, rest, rest)), scale=1 / 255), above)


def _over_opaque(frame: NDArray[np.uint8], above: NDArray[np.uint8]) -> None:
    """Premultiplied "over" onto an opaque BGR picture, in place."""
    b, g, r, alpha = cv2.split(above)
    rest = cv2.bitwise_not(alpha)
    frame[:] = cv2.add(cv2.multiply(frame, cv2.merge((rest, rest, rest)), scale=1 / 255), cv2.merge((b, g, r)))


def _compose(
    frame: NDArray[np.uint8],
    layer: NDArray[np.uint8],
    mapping: tuple[int, int, NDArray[np.float32], NDArray[np.float32]],
) -> None:
    x, y, map_x, map_y = mapping
    bent = cv2.remap(layer, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    _over_opaque(frame[y : y + bent.shape[0], x : x + bent.shape[1]], bent)
