"""The linear face model all heads are made of: read from a file, cut down to what is seen, at two levels of detail.

The model is USC-ICT FaceKit light ("Learning Formation of Physically-Based Face Attributes", Li et al., 2020): a mean
face, 100 identity shapes and 57 expression shapes, all added linearly; `make_face_model.py` makes the file from it. We
add a shape for the tongue, which FaceKit leaves still, and *linearise the normals* too: positions and normals are both
sums over expressions, with small errors nobody sees and no pass over the triangles in each frame.
"""

from __future__ import annotations

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from . import headgl
from .headgl import HeadsUnavailable
from .headparts import Floats, Skull, normals_of, smooth

MIDDLE_Y = 2.6
"""Halfway between chin and crown, model units."""

# Parts of FaceKit's mesh by vertex number, the same in every file made from it.
_FACE, _SCALP, _SOCKET = (0, 9409), (9409, 11248), (11248, 13294)
_EYE_SOCKETS, _GUMS, _TEETH = (13294, 14062), (14062, 17039), (17039, 21451)
_EYE_LEFT, _EYE_RIGHT = (21451, 22221), (23021, 23791)
_COUNT = 23791

EXPRESSIONS = (
    "jawOpen",
    "mouthFunnel",
    "mouthPucker",
    "mouthClose",
    "mouthRollLower",
    "mouthRollUpper",
    *(
        f"{name}_{side}"
        for name in (
            "mouthLowerDown",
            "mouthUpperUp",
            "mouthStretch",
            "mouthSmile",
            "mouthPress",
            "cheekSquint",
            "eyeBlink",
            "eyeLookDown",
            "browInnerUp",
            "browOuterUp",
        )
        for side in "LR"
    ),
)
"""The expressions used, in the order of `HeadMesh.shapes`; the tongue comes after them."""


class FaceModel:
    """The model as in its file; share one among all people."""

    def __init__(
        self,
        vertices: Floats,
        triangles: NDArray[np.int32],
        identity: NDArray[np.floating],
        expression: dict[str, NDArray[np.floating]],
    ) -> None:
        """Arrays as in the file, see `load`; expressions by name."""
        self.vertices, self.triangles = vertices, triangles
        self.identity, self.expression = identity, expression
        self._meshes: dict[bool, HeadMesh] = {}

    def mesh(self, half_width_px: float) -> HeadMesh:
        """The mesh for heads of about this size: every vertex costs time, and small heads do not need all."""
        fine = half_width_px > 64
        if fine not in self._meshes:
            self._meshes[fine] = HeadMesh(self, fine)
        return self._meshes[fine]

    @staticmethod
    def load(path: str | Path) -> FaceModel:
        """Read an .npz of FaceKit's light model with at least the first 23791 of its vertices, in its order.

        vertices float [V, 3], triangles int [T, 3], identity float [I, V, 3] and expression float [E, V, 3] (both
        offsets from `vertices`), expression_names str [E]. Units: centimetres or so, as in FaceKit.
        """
        remedy = "make it with make_face_model.py from FaceKit's FaceXModel folder"
        try:
            with np.load(path, allow_pickle=False) as file:
                data = {k: file[k] for k in ("vertices", "triangles", "identity", "expression", "expression_names")}
        except FileNotFoundError:
            raise HeadsUnavailable(f"face model {path}: no such file; {remedy}") from None
        except KeyError as error:
            raise HeadsUnavailable(f"face model {path}: {error.args[0]}; {remedy}") from None
        except (OSError, ValueError, BadZipFile) as error:
            raise HeadsUnavailable(f"face model {path}: not a readable .npz ({error}); {remedy}") from None
        vertices, names = data["vertices"], [str(n) for n in data["expression_names"]]
        count = len(vertices)
        shape = (count, 3)
        for key in ("identity", "expression"):
            if data[key].ndim != 3 or data[key].shape[1:] != shape:
                raise HeadsUnavailable(
                    f"face model {path}: {key} has shape {data[key].shape}, expected (N, {count}, 3); {remedy}"
                )
        missing = [n for n in EXPRESSIONS if n not in names]
        if missing:
            raise HeadsUnavailable(f"face model {path}: no expression {', '.join(missing)}; {remedy}")
        if count < _COUNT or data["triangles"].max() >= count or len(names) != len(data["expression"]):
            raise HeadsUnavailable(
                f"face model {path}: {count} vertices, expected FaceKit's first {_COUNT} or more; {remedy}"
            )
        headgl.check()  # last: what is wrong with the file can be told anywhere
        expression = {n: data["expression"][names.index(n)] for n in EXPRESSIONS}
        return FaceModel(vertices.astype(np.float32), data["triangles"].astype(np.int32), data["identity"], expression)


class HeadMesh:
    """What of a `FaceModel` is seen, numbered anew; `fine` keeps every vertex."""

    def __init__(self, model: FaceModel, fine: bool) -> None:
        vertices, triangles = model.vertices, model.triangles
        kept = np.zeros(len(vertices), bool)
        for low, high in (_FACE, _SCALP, _SOCKET, _GUMS, _TEETH, _EYE_LEFT, _EYE_RIGHT):
            kept[low:high] = True
        kept[_GUMS[0] : _GUMS[1]] &= vertices[_GUMS[0] : _GUMS[1], 2] > 3.0  # the throat, the back teeth
        kept[_TEETH[0] : _TEETH[1]] &= vertices[_TEETH[0] : _TEETH[1], 2] > 6.0
        # Shoulders are under clothes.
        x, y, z = vertices.T
        kept &= (y > -14.0) & ~((y < -10.0) & (np.abs(x) > 5.9)) & ~((y < -9.2) & (z < -5.8))
        rims = [
            np.unique(triangles[((triangles >= low) & (triangles < high)).any(1)])
            for low, high in ((_SOCKET[0], _SOCKET[1]), _EYE_SOCKETS)
        ]
        on_mouth, on_lid = (np.isin(np.arange(len(vertices)), rim[rim < _FACE[1]]) for rim in rims)
        used = triangles[kept[triangles].all(1)]
        if not fine:
            half_open = vertices + 0.4 * model.expression["jawOpen"]
            stands_for = _clusters(half_open, normals_of(vertices, triangles), kept, 2 * on_mouth + on_lid)
            used = stands_for[used]
            used = used[(used[:, 0] != used[:, 1]) & (used[:, 1] != used[:, 2]) & (used[:, 2] != used[:, 0])]
            kept = np.isin(np.arange(len(vertices)), used)
        self.indices = old = np.flatnonzero(kept)
        number = np.full(len(vertices), -1, np.int32)
        number[old] = np.arange(len(old), dtype=np.int32)
        self.vertices: Floats = np.ascontiguousarray(vertices[old], np.float32)
        self.triangles: NDArray[np.int32] = number[used].astype(np.int32)
        self.identity: Floats = model.identity[:, old].astype(np.float16)
        self.spans = {
            name: slice(int(np.searchsorted(old, low)), int(np.searchsorted(old, high)))
            for name, (low, high) in {
                "skin": (_FACE[0], _SCALP[1]),
                "face": _FACE,
                "socket": _SOCKET,
                "gums": _GUMS,
                "teeth": _TEETH,
                "eye_left": _EYE_LEFT,
                "eye_right": _EYE_RIGHT,
            }.items()
        }
        self.moving = self.spans["teeth"].stop
        """Vertices below this number change with the expression; the eyeballs after them do not."""
        self.lids = np.zeros(self.spans["skin"].stop, bool)
        self.lids[number[kept & on_lid]] = True
        self.mouth_rim = number[kept & on_mouth]
        shapes = [model.expression[name][old].astype(np.float32) for name in EXPRESSIONS]
        shapes.append(self._tongue(shapes[0]))
        self.shapes: Floats = np.stack(shapes)[:, : self.moving]
        rest = normals_of(self.vertices, self.triangles)
        bent = [normals_of(self.vertices + 0.6 * s, self.triangles) - rest for s in shapes]
        self._normal_shapes = np.stack(bent)[:, : self.moving] / np.float32(0.6)
        # Position and normal of a vertex lie side by side, as the card reads them.
        self.deltas: Floats = np.concatenate([self.shapes, self._normal_shapes], 2).reshape(len(shapes), -1)
        v = self.vertices
        ear = (np.abs(v[:, 0]) > 7.7) & (np.abs(v[:, 1] - 1.0) < 5.0) & (v[:, 2] < 4.5)
        self.ears = ear
        outside = np.zeros(len(v), bool)
        outside[self.spans["skin"]] = True
        outside &= (
            ~ear & (v[:, 1] > -9.5) & ~((np.abs(v[:, 1] + 3.4) < 1.2) & (np.abs(v[:, 0]) < 2.4) & (v[:, 2] < 10.9))
        )
        self.skull = Skull(v, np.flatnonzero(outside), fine)
        front = np.flatnonzero(
            (v[:, 2] > 1.5) & (v[:, 1] > -8.7) & (np.arange(len(v)) < self.spans["face"].stop) & ~ear
        )
        # What lies outermost when seen from anywhere between profile and profile.
        yaw, around = np.meshgrid(np.linspace(-1.2, 1.2, 9), np.linspace(0, 2 * np.pi, 24, endpoint=False))
        outwards = np.stack([np.cos(yaw) * np.sin(around), np.cos(around), -np.sin(yaw) * np.sin(around)], -1)
        place = (v[front] - (0.0, MIDDLE_Y, 3.0)) @ outwards.reshape(-1, 3).T
        self.contour = np.unique(front[place.argmax(0)])
        lower = v[self.mouth_rim, 1] < -3.4
        central = np.abs(v[self.mouth_rim, 0]) < 0.6
        self.lip_points = self.mouth_rim[central], lower[central]

    def _tongue(self, jaw: Floats) -> Floats:
        """A shape that lifts the tongue to the upper teeth: what drops with the jaw and is not near a tooth."""
        v, gums, teeth = self.vertices, self.spans["gums"], self.spans["teeth"]
        flesh, ivory = v[gums], v[teeth][::6]
        near = np.array([np.min(np.sum((ivory - p) ** 2, 1)) for p in flesh])
        drop = np.linalg.norm(jaw[gums], axis=1)
        soft = smooth(np.sqrt(near), 0.1, 0.5) * smooth(drop, 0.4, 0.9) * smooth(np.abs(flesh[:, 0]), 2.0, 1.2)
        soft = soft * smooth(flesh[:, 1], -5.2, -4.5) * smooth(flesh[:, 2], 9.8, 9.5)
        out = np.zeros_like(v)
        tip = smooth(flesh[:, 2], 4.5, 9.0)
        out[gums] = (soft * (0.3 + 0.7 * tip))[:, None] * np.array([0.0, 1.8, 1.35], np.float32)
        return out


def _clusters(
    positions: NDArray[np.floating], normals: Floats, kept: NDArray[np.bool_], rim: NDArray[np.int64]
) -> NDArray[np.int64]:
    """For each vertex the one that stands for all within its cell; cells are small where a face is looked at.

    Parts are kept apart, and surfaces that face different ways, and `rim` against the rest: so lips stay two lips.
    """
    x, y, z = (positions[:, k] for k in range(3))
    ax = np.abs(x)
    cell = np.full(len(positions), 1.1)
    cell[(ax < 7.0) & (y > -9.0) & (y < 8.0) & (z > 6.0)] = 0.62
    cell[(ax < 6.4) & (y > 4.4) & (y < 6.6) & (z > 6.0)] = 0.45  # brows
    cell[(np.hypot(ax - 3.2, (y - 3.6) * 1.2) < 2.1) & (z > 6.0)] = 0.42  # lids
    cell[(np.hypot(x, (y + 3.6) * 0.8) < 3.0) & (z > 8.5)] = 0.30  # lips
    part = np.zeros(len(positions), np.int64)
    for k, (low, high) in enumerate((_FACE, _SCALP, _SOCKET, _GUMS, _TEETH, _EYE_LEFT, _EYE_RIGHT), 1):
        part[low:high] = k
    cell[_SOCKET[0] : _SOCKET[1]] = 0.8
    cell[_GUMS[0] : _TEETH[1]] = np.where(z[_GUMS[0] : _TEETH[1]] > 8.4, 0.3, 0.7)
    cell[_EYE_LEFT[0] : _EYE_RIGHT[1]] = 0.6
    key = np.concatenate(
        [
            np.round(positions / cell[:, None]).astype(np.int64),  # no cell border at x = 0, between the incisors
            (normals[:, 1:] > 0).astype(np.int64),
            np.stack([part, rim, np.round(cell * 100).astype(np.int64)], 1),
        ],
        1,
    )
    numbers = np.flatnonzero(kept)
    _, group = np.unique(key[numbers], axis=0, return_inverse=True)
    group = group.ravel()
    size = np.bincount(group)
    mean = np.stack([np.bincount(group, positions[numbers, k]) / size for k in range(3)], 1)
    away = np.sum((positions[numbers] - mean[group]) ** 2, 1)
    order = np.lexsort((away, group))
    first = order[np.searchsorted(group[order], np.arange(len(size)))]
    out = np.arange(len(positions))
    out[numbers] = numbers[first][group]
    return out
