"""OpenGL off screen: one context per process, the shader that lights heads, and light baked into vertices.

Rendering goes through EGL, so no display is needed; Mesa's llvmpipe does it on the CPU. Everything fine (lips, brows,
stubble, strands) is a colour per vertex, and so is the light on it: a head costs a few milliseconds.

View space: x right, y up, z towards the camera, in the model's units; the origin is the pivot of the head.
"""

from __future__ import annotations

import ctypes
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

REMEDY = "pip install moderngl; on Debian: apt-get install libegl1 libgl1-mesa-dri"

PLAIN, HAIR, EYE, TORSO, PROP = range(5)
"""What a vertex belongs to; it decides how it moves (`TORSO` and `PROP` do not turn with the head) and shines."""

_COMMON = """#version 330
uniform mat3 turn, stand; uniform vec3 pivot, torso, prop; uniform vec2 neck;
uniform vec2 scale, centre; uniform float distance, near, far, blink;
uniform vec3 key, key_colour, sky, ground; uniform vec2 rim; uniform float wrap;
vec4 projected(vec3 p) {
    float w = (distance - p.z) / distance;
    float depth = ((far + near) * w - 2.0 * far * near) / (far - near);
    // The picture's rows run downwards, so y is turned over here and what is read back needs no flip.
    return vec4(scale.x * p.x + centre.x * w, -scale.y * p.y + centre.y * w, depth, w);
}
vec3 developed(vec3 c) { // highlights roll off as in a camera
    c = max(c / (1.0 + 0.18 * c), 0.0);
    return pow(c, vec3(1.0 / 2.2));
}"""

# Vertices lie a few pixels apart at most, so light is computed for them and only interpolated between.
_VERTEX = (
    _COMMON
    + """
in vec3 pos; in vec3 normal; in vec4 paint; in vec4 light;
out vec3 v_colour;
void main() {
    int kind = int(light.w + 0.5);
    float follow = kind >= 3 ? 0.0 : smoothstep(neck.x, neck.y, pos.y);
    mat3 trunk = kind == 4 ? mat3(1.0) : stand;
    vec3 still = trunk * (pos - pivot) + (kind == 4 ? prop : torso);
    vec3 p = mix(still, turn * (pos - pivot), follow);
    gl_Position = projected(p);
    vec3 n = normalize(mix(trunk * normal, turn * normal, follow));
    vec3 view = normalize(vec3(0.0, 0.0, distance) - p);
    if (dot(n, view) < 0.0) n = -n;
    float facing = dot(n, view);
    vec3 l = normalize(key);
    float lambert = dot(n, l);
    vec3 spread = kind == 0 ? wrap * vec3(1.0, 0.55, 0.4) : vec3(kind == 1 ? 0.35 : 0.1);
    vec3 lit = max((lambert + spread) / (1.0 + spread), 0.0) * key_colour * light.y;
    vec3 around = mix(ground, sky, 0.5 + 0.5 * n.y) * light.x;
    vec3 half_way = normalize(l + view);
    float shine;
    if (kind == 1) { // strands shine in a band across them, not in a spot
        vec3 t = normalize(vec3(0.0, 1.0, 0.0) - n * n.y + vec3(1e-4));
        float th = dot(t, half_way);
        shine = paint.a * 0.35 * pow(max(1.0 - th * th, 0.0), 14.0) * max(lambert + 0.3, 0.0);
    } else {
        float fresnel = 0.35 + 0.65 * pow(1.0 - facing, 3.0);
        shine = paint.a * fresnel * pow(max(dot(n, half_way), 0.0), 14.0) * (lambert > 0.0 ? 1.0 : 0.0);
    }
    float edge = pow(1.0 - facing, 3.0) * max(dot(n, vec3(rim.x, 0.3, -0.2)), 0.0);
    v_colour = developed(paint.rgb * (lit + around) + shine * key_colour * light.y + edge * rim.y * light.x);
}"""
)

_FRAGMENT = """#version 330
in vec3 v_colour; out vec4 colour;
void main() { colour = vec4(v_colour, 1.0); }"""

# Eyes are finer than their mesh: iris, pupil and highlight are drawn for each pixel.
_EYE_VERTEX = (
    _COMMON
    + """
in vec3 pos; in vec3 normal; in vec4 paint; in vec4 light;
out vec3 v_pos, v_normal, v_rest; out vec4 v_paint; out vec2 v_light;
void main() {
    vec3 p = pos - pivot;
    p.z -= 0.3 * blink; // lids of some identities would not cover the eyeball
    p = turn * p;
    v_pos = p; v_normal = turn * normal; v_rest = pos; v_paint = paint; v_light = light.xy;
    gl_Position = projected(p);
}"""
)

_EYE_FRAGMENT = (
    _COMMON
    + """
in vec3 v_pos, v_normal, v_rest; in vec4 v_paint; in vec2 v_light;
uniform vec3 eye_left, eye_right, gaze, iris; uniform float pupil;
out vec4 colour;
void main() {
    vec3 n = normalize(v_normal), l = normalize(key);
    vec3 view = normalize(vec3(0.0, 0.0, distance) - v_pos);
    vec3 d = normalize(v_rest - (v_rest.x > 0.0 ? eye_left : eye_right));
    float off = acos(clamp(dot(d, gaze), -1.0, 1.0));
    float soft = max(fwidth(off), 0.02);
    vec3 ring = iris * mix(1.15, 0.45, smoothstep(0.30, 0.50, off));
    ring = mix(vec3(0.008), ring, smoothstep(pupil - soft, pupil + soft, off));
    vec3 albedo = mix(ring, v_paint.rgb, smoothstep(0.50 - soft, 0.50 + soft, off));
    vec3 lit = max((dot(n, l) + 0.1) / 1.1, 0.0) * key_colour * v_light.y;
    vec3 around = mix(ground, sky, 0.5 + 0.5 * n.y) * v_light.x;
    float shine = 0.6 * pow(max(dot(n, normalize(l + view)), 0.0), 90.0);
    colour = vec4(developed(albedo * (lit + around) + shine * key_colour * v_light.y), 1.0);
}"""
)

_DEPTH_VERTEX = """#version 330
in vec3 pos; uniform mat3 turn; uniform vec3 middle; uniform float reach; out float depth;
void main() { vec3 p = turn * (pos - middle) / reach; depth = p.z; gl_Position = vec4(p.xy, -p.z, 1.0); }"""

_DEPTH_FRAGMENT = """#version 330
in float depth; out float value; void main() { value = depth; }"""


class HeadsUnavailable(RuntimeError):
    """3-D heads cannot be rendered here; the message says what is missing and how to get it."""


def check() -> None:
    """Raise `HeadsUnavailable` unless moderngl and EGL are installed. Opens no context, so a process may fork after."""
    try:
        import moderngl  # noqa: F401
    except ImportError as error:
        raise HeadsUnavailable(f"3-D heads need moderngl, which is not installed ({REMEDY})") from error
    try:
        ctypes.CDLL("libEGL.so.1")
    except OSError as error:
        raise HeadsUnavailable(f"3-D heads need EGL, and libEGL.so.1 was not found ({REMEDY})") from error


class Stage:
    """The context of this process with its programs and picture buffers; get it from `stage()`."""

    _BAKE_PX = 224

    def __init__(self) -> None:
        check()
        import moderngl

        # Scenes in parallel beat threads within one; must be set before Mesa's driver starts.
        os.environ.setdefault("LP_NUM_THREADS", "0")
        try:
            self.context = moderngl.create_context(standalone=True, backend="egl", require=330)
        except Exception as error:  # moderngl raises bare Exception
            raise HeadsUnavailable(f"EGL gave no OpenGL 3.3 context: {error} ({REMEDY})") from error
        self.context.gc_mode = "auto"  # a person's buffers go with the person
        self.context.enable_only(moderngl.DEPTH_TEST)
        self.program = self.context.program(vertex_shader=_VERTEX, fragment_shader=_FRAGMENT)
        self.eye_program = self.context.program(vertex_shader=_EYE_VERTEX, fragment_shader=_EYE_FRAGMENT)
        self._depth_program = self.context.program(vertex_shader=_DEPTH_VERTEX, fragment_shader=_DEPTH_FRAGMENT)
        self._target: Any = None
        self._size = (0, 0)
        side = (self._BAKE_PX, self._BAKE_PX)
        self._bake = self.context.framebuffer(
            [self.context.renderbuffer(side, 1, dtype="f4")], self.context.depth_renderbuffer(side)
        )

    def picture(self, width: int, height: int) -> Any:  # noqa: ANN401 - moderngl is imported late
        """A cleared frame buffer with its viewport at [0, width] x [0, height]; shared, so read it before the next."""
        if width > self._size[0] or height > self._size[1]:
            self._size = (max(width, self._size[0]), max(height, self._size[1]))
            self._target = self.context.framebuffer(
                [self.context.renderbuffer(self._size, 4)], self.context.depth_renderbuffer(self._size)
            )
        self._target.use()
        self._target.viewport = (0, 0, width, height)
        self._target.clear(0.0, 0.0, 0.0, 0.0, viewport=(0, 0, width, height))
        return self._target

    def visibility(
        self,
        positions: NDArray[np.float32],
        normals: NDArray[np.float32],
        triangles: NDArray[np.int32],
        directions: NDArray[np.float64],
    ) -> NDArray[np.float32]:
        """How much of the light from each direction [D, 3] reaches each vertex: float32 [D, N], 0 or 1, soft edges."""
        context, side = self.context, self._BAKE_PX
        middle = (positions.max(0) + positions.min(0)) / 2
        reach = float(np.linalg.norm(positions - middle, axis=1).max()) * 1.01
        array = context.vertex_array(
            self._depth_program,
            [(context.buffer(np.ascontiguousarray(positions).tobytes()), "3f", "pos")],
            context.buffer(np.ascontiguousarray(triangles).tobytes()),
        )
        self._depth_program["middle"].value = tuple(float(m) for m in middle)
        self._depth_program["reach"].value = reach
        out = np.empty((len(directions), len(positions)), np.float32)
        lifted = positions + 0.22 * normals
        for k, direction in enumerate(directions):
            d = direction / np.linalg.norm(direction)
            right = np.cross((0.0, 1.0, 0.0) if abs(d[1]) < 0.95 else (1.0, 0.0, 0.0), d)
            right /= np.linalg.norm(right)
            turn = np.stack([right, np.cross(d, right), d])
            self._depth_program["turn"].write(np.ascontiguousarray(turn.T, np.float32).tobytes())
            self._bake.use()
            self._bake.clear(-2.0, 0.0, 0.0, 0.0)
            array.render()
            depth = np.frombuffer(self._bake.read(components=1, dtype="f4"), np.float32).reshape(side, side)
            p = (lifted - middle) @ turn.T.astype(np.float32) / reach
            x = np.clip((p[:, 0] + 1) * side / 2 - 0.5, 0, side - 1.01)
            y = np.clip((p[:, 1] + 1) * side / 2 - 0.5, 0, side - 1.01)
            column, row = x.astype(int), y.astype(int)
            fx, fy = x - column, y - row
            limit = p[:, 2] + 0.25 / reach
            seen = [(depth[row + j, column + i] < limit) for j in (0, 1) for i in (0, 1)]
            out[k] = (seen[0] * (1 - fx) + seen[1] * fx) * (1 - fy) + (seen[2] * (1 - fx) + seen[3] * fx) * fy
        return out


_stages: dict[int, Stage] = {}


def stage() -> Stage:
    """The stage of this process. A context does not survive a fork, so a child makes its own."""
    process = os.getpid()
    if process not in _stages:
        _stages[process] = Stage()
    return _stages[process]
