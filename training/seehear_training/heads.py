"""3-D heads that talk: a linear face model, bent by expressions, lit and rendered in every frame.

A person's identity is added to the model's mean face once. In a frame the mouth and the pose become weights of
expressions, and one draw call renders the whole person. A `Head` can be used wherever a `faces.Face` can.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import headgl, headpaint
from .faces import Pose
from .headgl import EYE, PLAIN, HeadsUnavailable
from .headmodel import EXPRESSIONS, MIDDLE_Y, FaceModel
from .headparts import Floats, Part, glasses, hair, hairiness, hat, joined, linear, normals_of, prop, smooth, torso
from .looks import HeadLook
from .motion import Wander

__all__ = ["FaceModel", "Head", "HeadsUnavailable"]

UNITS = 7.6
"""Model units in half the width of a face."""
_PIVOT = np.array([0.0, MIDDLE_Y, 2.0], np.float32)
_NECK = (-12.0, -6.5)  # below the first the neck stays with the torso, above the second it turns with the head


class Head:
    """One person, ready to be drawn at about `half_width_px`; the same interface as `faces.Face`."""

    def __init__(self, model: FaceModel, look: HeadLook | int, half_width_px: float) -> None:
        """`look` may be the seed of one."""
        self.model = model = model.mesh(half_width_px)
        self.look = look = HeadLook.random(np.random.default_rng(look)) if isinstance(look, int) else look
        # Small heads are rendered larger and averaged down; large ones have enough pixels.
        self._super = 2 if half_width_px < 120 else 1
        rng = np.random.default_rng([look.seed, 3])
        weights = np.zeros(len(model.identity), np.float32)
        given = look.identity[: len(weights)]
        weights[: len(given)] = given
        identity = _weighted(weights, model.identity.astype(np.float32))
        base = model.vertices + identity
        self._prop_sway = Wander(rng, 1.3, 2.2), Wander(rng, 1.0, 1.6)
        self._prop_when = Wander(rng, 1.0, 5.0)
        self._prop_rest = np.array([float(rng.uniform(-2.5, 2.5)), float(rng.uniform(-9.0, -6.6)), 0.0])
        mesh = self._mesh(base, rng)
        self._base = np.concatenate([mesh.positions, mesh.normals], 1)[: model.moving].reshape(-1).astype(np.float32)
        self._eyes = np.stack([self._eyeball(mesh.positions, side) for side in ("eye_left", "eye_right")])
        self._light = self._key()
        stage = headgl.stage()
        self._stage = stage
        baked = self._bake(stage, mesh)
        static = np.concatenate(
            [mesh.albedo, mesh.gloss[:, None], baked, np.zeros((len(baked), 1)), mesh.kind[:, None]], 1
        ).astype(np.float32)
        whole = np.concatenate([mesh.positions, mesh.normals], 1).astype(np.float32)
        self._buffer = stage.context.buffer(whole.tobytes(), dynamic=True)
        # Eyes come first in the order of triangles: they have a program of their own.
        is_eye = (mesh.kind[mesh.triangles] == EYE).all(1)
        order = np.argsort(~is_eye, kind="stable")
        self._eye_corners = 3 * int(is_eye.sum())
        paint = stage.context.buffer(static.tobytes())
        index = stage.context.buffer(np.ascontiguousarray(mesh.triangles[order]).tobytes())
        self._array, self._eye_array = (
            stage.context.vertex_array(
                program, [(self._buffer, "3f 3f", "pos", "normal"), (paint, "4f 4f", "paint", "light")], index
            )
            for program in (stage.program, stage.eye_program)
        )
        top = mesh.positions[mesh.kind < headgl.TORSO]
        self._reach_top = float(np.linalg.norm(top - _PIVOT, axis=1).max())
        self._reach_side = float(np.abs(mesh.positions[mesh.kind != headgl.PROP, 0]).max())

    # ---- the person -----------------------------------------------------------------------------------------------

    def _mesh(self, base: Floats, rng: np.random.Generator) -> Part:
        look, model = self.look, self.model
        spans, rest = model.spans, model.vertices
        count = len(base)
        albedo, gloss = np.zeros((count, 3), np.float32), np.zeros(count, np.float32)
        kind = np.full(count, PLAIN, np.int32)
        behind = hairiness(rest[spans["skin"]], look.hairline)
        albedo[spans["skin"]], gloss[spans["skin"]], beard = headpaint.skin(
            look, rest[spans["skin"]], model.lids, behind, rng
        )
        for part in ("socket", "gums", "teeth"):
            albedo[spans[part]], gloss[spans[part]] = headpaint.inside(look, rest[spans[part]], part, rng)
        for part in ("eye_left", "eye_right"):
            albedo[spans[part]] = (0.72, 0.68, 0.65)
            kind[spans[part]] = EYE
        normals = normals_of(base, model.triangles)
        base = base.copy()
        base[spans["skin"]] += beard[:, None] * normals[spans["skin"]]
        triangles = model.triangles
        if look.hat == "scarf":  # ears are under it
            triangles = triangles[~model.ears[triangles].any(1)]
        face = Part(base, normals_of(base, model.triangles), triangles, albedo, gloss, kind)
        eyes = np.stack([self._eyeball(base, side) for side in ("eye_left", "eye_right")])
        nose = np.flatnonzero((np.abs(rest[:, 0]) < 0.4) & (np.abs(rest[:, 1] - 3.0) < 0.5) & (rest[:, 2] > 10))
        parts = [face, *hair(look, model.skull, base, rng), *hat(look, model.skull, base, rng)]
        parts += [*glasses(look, eyes, base[nose].max(0)), torso(look, model.skull.fine, rng), *prop(look, rng)]
        return joined(parts)

    def _eyeball(self, positions: NDArray[np.floating], side: str) -> NDArray[np.floating]:
        """Centre of the ball; the cornea bulges, so the depth is taken from the back."""
        p = positions[self.model.spans[side]]
        low, high = p.min(0), p.max(0)
        radius = (high[0] - low[0]) / 2
        return np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2] + radius])

    def _key(self) -> NDArray[np.float64]:
        light = np.array(self.look.light, np.float64)
        return light / np.linalg.norm(light)

    def _bake(self, stage: headgl.Stage, mesh: Part) -> Floats:
        """How much light from all around, and from the key light, reaches each vertex [N, 2] in the usual pose.

        The mouth is baked half open, else its inside would be black for ever.
        """
        positions = mesh.positions.copy()
        ajar = self.weights(Pose(0, 0, 1), np.array([0.45, 0.5, 0.0, 0.0], np.float32))
        moving = self.model.moving
        positions[:moving] += _weighted(ajar, self.model.shapes)
        solid = mesh.triangles[(mesh.kind[mesh.triangles] != headgl.PROP).all(1)]
        turn = _turn(self.look.turn, self.look.tilt, 0.0).astype(np.float64)
        k = np.arange(28)
        height = 1 - 1.5 * (k + 0.5) / len(k)  # little comes from below
        spin = k * np.pi * (3 - np.sqrt(5))
        flat = np.sqrt(np.clip(1 - height**2, 0, 1))
        sphere = np.stack([flat * np.sin(spin), height, flat * np.cos(spin)], 1)
        right = np.cross((0.0, 1.0, 0.0), self._light)
        up = np.cross(self._light, right)
        lamp = [self._light + 0.14 * (np.cos(a) * right + np.sin(a) * up) for a in np.linspace(0, 2 * np.pi, 7)[:-1]]
        directions = np.concatenate([sphere, np.array(lamp)]) @ turn  # into the head's own space
        seen = stage.visibility(positions, mesh.normals, solid, directions)
        facing = np.clip(mesh.normals @ directions[: len(k)].T.astype(np.float32), 0.0, 1.0) + 0.02
        around = (seen[: len(k)] * facing.T).sum(0) / facing.sum(1)
        around = 0.22 + 0.78 * np.clip(around * 1.15, 0, 1)
        key = seen[len(k) :].mean(0)
        eyes = mesh.kind == EYE
        around[eyes], key[eyes] = np.maximum(around[eyes], 0.45), np.maximum(key[eyes], 0.35)
        held = mesh.kind == headgl.PROP
        around[held], key[held] = 0.85, 0.9
        inner = slice(self.model.spans["socket"].start, moving)
        key[inner] *= 0.8
        around[inner] = np.maximum(around[inner], 0.32)
        return np.stack([around, key], 1).astype(np.float32)

    # ---- motion ---------------------------------------------------------------------------------------------------

    def weights(self, pose: Pose, mouth: NDArray[np.float32]) -> Floats:
        """Weights of the expressions in `EXPRESSIONS`, and of the tongue's shape after them."""
        look = self.look
        opening, width, rounding, tongue = (float(m) for m in mouth)
        effort = look.articulation
        gap = max(0.0, opening) * effort
        pressed = min(1.0, max(0.0, -opening) * 10)
        parted = min(1.0, gap * 4)
        spread, narrow = max(0.0, width - 0.5) * 2 * effort, max(0.0, 0.5 - width) * 2
        show = 0.35 + 0.65 * look.lip_show
        pursed = max(0.0, rounding) * min(1.15, effort)
        value = dict.fromkeys(EXPRESSIONS, 0.0)
        value["jawOpen"] = 0.46 * gap
        value["mouthFunnel"] = pursed * (0.25 + 0.55 * min(1.0, gap * 2.2)) * (1 - 0.8 * pressed)
        value["mouthPucker"] = 0.75 * pursed * (1 - 0.35 * min(1.0, gap)) + 0.28 * narrow * (1 - pursed)
        value["mouthClose"] = 0.06 * (1 - min(1.0, gap * 5))  # at rest FaceKit's lips barely touch
        value["mouthRollLower"] = 0.28 * pressed
        value["mouthRollUpper"] = 0.22 * pressed
        low = (0.55 * gap + 0.30 * spread * parted) * show
        up = (0.30 * gap + 0.22 * spread * parted) * show * (1 - 0.4 * pursed)
        smiling = look.smile * (1 - 0.5 * pursed) + 0.30 * spread
        for side, sign in (("L", 1.0), ("R", -1.0)):
            more = 1 + sign * look.asymmetry
            value[f"mouthLowerDown_{side}"] = low * more
            value[f"mouthUpperUp_{side}"] = up * more
            value[f"mouthStretch_{side}"] = 0.45 * spread * more
            value[f"mouthSmile_{side}"] = smiling * (1 + 2 * sign * look.asymmetry)
            value[f"mouthPress_{side}"] = 0.8 * pressed
            value[f"cheekSquint_{side}"] = 0.5 * smiling
            value[f"eyeBlink_{side}"] = min(1.0, max(0.0, pose.blink))
            value[f"eyeLookDown_{side}"] = 1.1 * max(0.0, pose.gaze_y) * (1 - pose.blink)
            value[f"browInnerUp_{side}"] = 0.75 * pose.brow
            value[f"browOuterUp_{side}"] = 0.75 * pose.brow
        return np.array([*value.values(), min(1.0, max(0.0, tongue)) * min(1.0, 0.25 + 2 * gap)], np.float32)

    def _turn(self, pose: Pose) -> Floats:
        yaw = float(np.clip(pose.yaw + self.look.turn, -1.25, 1.25))
        return _turn(yaw, pose.pitch + self.look.tilt, pose.roll)

    def _project(self, points: ArrayLike, pose: Pose) -> NDArray[np.float64]:
        """Points of the head [N, 3], model units, to picture pixels [N, 2]."""
        p = (np.asarray(points, np.float64) - _PIVOT) @ self._turn(pose).T.astype(np.float64)
        distance = self.look.distance * UNITS
        scale = pose.half_width_px / UNITS * distance / (distance - p[:, 2])
        return np.stack([pose.x + scale * p[:, 0], pose.y - scale * p[:, 1]], 1)

    def _points(self, index: NDArray[np.integer], weights: Floats) -> NDArray[np.floating]:
        base = self._base.reshape(-1, 6)[index, :3]
        return base + _weighted(weights, self.model.shapes[:, index])

    def box(self, pose: Pose, mouth: NDArray[np.float32]) -> tuple[float, float, float, float]:
        """The face (crown to chin, cheek to cheek, without hair) as x, y, w, h in pixels."""
        p = self._project(self._points(self.model.contour, self.weights(pose, mouth)), pose)
        (x0, y0), (x1, y1) = p.min(0), p.max(0)
        return float(x0), float(y0), float(x1 - x0), float(y1 - y0)

    def mouth_point(self, pose: Pose, mouth: NDArray[np.float32]) -> tuple[float, float]:
        """Middle of the mouth in pixels."""
        index, lower = self.model.lip_points
        points = self._points(index, self.weights(pose, mouth))
        middle = (points[lower].mean(0) + points[~lower].mean(0)) / 2
        x, y = self._project(middle[None], pose)[0]
        return float(x), float(y)

    def _held(self, pose: Pose) -> tuple[float, float, float]:
        """Where the thing held up is, model units from the pivot; far below the picture most of the time."""
        raised = smooth(self._prop_when.at(pose.time_s), 0.1, 0.9)
        if self.look.prop == "microphone":
            raised = 0.45 + 0.55 * raised  # a microphone never goes far
        sway_x, sway_y = (s.at(pose.time_s) for s in self._prop_sway)
        x, y, _ = self._prop_rest
        return float(x + 0.5 * sway_x), float(y - MIDDLE_Y - 2.2 + 0.4 * sway_y - 26 * (1 - raised)), 12.5

    # ---- drawing --------------------------------------------------------------------------------------------------

    def draw(self, frame: NDArray[np.uint8], pose: Pose, mouth: NDArray[np.float32]) -> None:
        """Draw the person into `frame` (uint8 BGR, changed in place)."""
        unit = pose.half_width_px / UNITS
        distance = self.look.distance * UNITS
        near = distance / (distance - 13.0)  # the nearest parts grow most
        height, width = frame.shape[:2]
        left = max(0, int(np.floor(min(pose.x, pose.torso_x) - self._reach_side * unit * near)))
        right = min(width, int(np.ceil(max(pose.x, pose.torso_x) + self._reach_side * unit * near)))
        top = max(0, int(np.floor(pose.y - self._reach_top * unit * near)))
        bottom = min(height, int(np.ceil(pose.torso_y + 48 * unit)))
        if left >= right or top >= bottom:
            return
        w, h = (right - left) * self._super, (bottom - top) * self._super
        stage = self._stage
        weights = self.weights(pose, mouth)
        self._buffer.write(self._base + _weighted(weights, self.model.deltas))
        values = self._uniforms(pose, unit, distance)
        values["scale"] = (2 * unit / (right - left), 2 * unit / (bottom - top))
        values["centre"] = (2 * (pose.x - left) / (right - left) - 1, 2 * (pose.y - top) / (bottom - top) - 1)
        target = stage.picture(w, h)
        for program in (stage.program, stage.eye_program):
            for name, value in values.items():
                if name in program:
                    program[name].value = value
        self._eye_array.render(vertices=self._eye_corners)
        self._array.render(first=self._eye_corners, vertices=self._array.vertices - self._eye_corners)
        pixels = np.frombuffer(target.read(viewport=(0, 0, w, h), components=4), np.uint8).reshape(h, w, 4)
        if self._super > 1:
            pixels = cv2.resize(pixels, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        red, green, blue, alpha = cv2.split(pixels)
        rest = cv2.bitwise_not(alpha)
        region = frame[top:bottom, left:right]
        region[:] = cv2.add(
            cv2.multiply(region, cv2.merge((rest, rest, rest)), scale=1 / 255), cv2.merge((blue, green, red))
        )

    def _uniforms(self, pose: Pose, unit: float, distance: float) -> dict[str, Any]:
        """What the programs of `headgl` need to know, by name."""
        look = self.look
        shift_x, shift_y = (pose.torso_x - pose.x) / unit, -(pose.torso_y - pose.y) / unit
        held_x, held_y, held_z = self._held(pose)
        gaze = np.array([0.55 * pose.gaze_x, -0.45 * pose.gaze_y, 1.0])
        sky = look.exposure * 1.25 * look.ambient
        return {
            "turn": tuple(self._turn(pose).T.ravel().tolist()),
            # Who is filmed from the side stands sideways too; necks do not twist that far.
            "stand": tuple(_turn(0.75 * look.turn, 0.0, 0.0).T.ravel().tolist()),
            "pivot": tuple(_PIVOT.tolist()),
            "torso": (shift_x, shift_y, 0.0),
            "prop": (held_x + shift_x, held_y + shift_y + MIDDLE_Y, held_z + 2.0),
            "neck": _NECK,
            "blink": min(1.0, max(0.0, pose.blink)),
            "distance": distance,
            "near": (distance - 32) / distance,
            "far": (distance + 45) / distance,
            "key": tuple(self._light.tolist()),
            "key_colour": tuple((linear(look.light_colour) * look.exposure * 1.9 * (1 - look.ambient)).tolist()),
            "sky": (sky, sky, sky * 1.02),
            "ground": (sky * 0.6, sky * 0.55, sky * 0.5),
            "rim": (-float(np.sign(look.light[0]) or 1.0), look.rim * 1.5),
            "wrap": 0.35,
            "eye_left": tuple(self._eyes[0].tolist()),
            "eye_right": tuple(self._eyes[1].tolist()),
            "gaze": tuple((gaze / np.linalg.norm(gaze)).tolist()),
            "iris": tuple(linear(look.eyes).tolist()),
            "pupil": 0.20,
        }


def _weighted(weights: Floats, shapes: Floats) -> Floats:
    """Sum of shapes [K, ...] with weights [K]. Not by BLAS, whose threads cost far more than so small a sum."""
    return np.einsum("k,k...->...", weights, shapes)


def _turn(yaw: float, pitch: float, roll: float) -> Floats:
    """Rotation [3, 3]: yaw > 0 to the picture's right, pitch > 0 down, roll > 0 clockwise as seen."""
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return (about_z @ about_x @ about_y).astype(np.float32)
