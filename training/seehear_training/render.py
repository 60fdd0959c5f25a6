"""A scene's frames, audio and truth.

Frames come one at a time and each depends only on its own time, so memory does not grow with the scene's length. The
audio is made whole. The truth is computed from the same poses and voices that were rendered, never from the result.
`../TRUTH.md` describes the truth's format.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from . import acoustics
from .backgrounds import Clutter, paint_background
from .faces import Face, Pose
from .heads import FaceModel, Head, HeadsUnavailable
from .looks import Look
from .motion import HeadMotion, Wander
from .mouth import REST, IdleMouth, MouthTrack
from .scenes import OFF_SCREEN, Line, Person, Scene
from .speech import SAMPLE_RATE, Phoneme

SLOT_MS = 40
_SLOT = SAMPLE_RATE * SLOT_MS // 1000
_VOICE_DB = -24.0  # dry level of a line with gain 0, dB full scale
_CLOSE_SLOTS = 5  # pauses up to 200 ms within speech still count as speaking


class _Actor:
    """One person's state over time: pose and mouth at any instant, and the face that is drawn."""

    def __init__(self, person: Person, lines: list[Line], scene: Scene, model: FaceModel | None) -> None:
        self.person, self.lines = person, sorted(lines, key=lambda x: x.start_s)
        rng = np.random.default_rng([scene.seed, person.seed])
        self._motion = HeadMotion(rng, scene.duration_s, person.calm)
        if person.yaw is not None:
            self._motion.yaw_bias = person.yaw
        self.turn_deg = math.degrees(self._motion.yaw_bias + getattr(person.look, "turn", 0.0))
        self._idles = [(i, IdleMouth(rng, i.kind, i.amount)) for i in person.idles]
        phonemes = [
            Phoneme(line.start_s + p.start_s, line.start_s + p.end_s, p.ipa)
            for line in self.lines
            for p in line.utterance().phonemes
        ]
        recorded = [
            (line.start_s + times, shapes)
            for line in self.lines
            if line.recording is not None
            for times, shapes in [line.recording.mouth()]
        ]
        self._spans = [(line.start_s - person.lead_s, line.end_s - person.lead_s) for line in self.lines]
        self._track = MouthTrack(phonemes, scene.duration_s, person.lead_s, person.effort, recorded)
        half = person.half_width_px * max(s.zoom for s in scene.shots)
        self.face: Face | Head
        if isinstance(person.look, Look):
            self.face = Face(person.look, half)
        elif model is None:
            raise HeadsUnavailable(f"scene {scene.seed} has 3-D heads: give a face model (--face-model FILE)")
        else:
            self.face = Head(model, person.look, half)

    def talking(self, time_s: float) -> float:
        """0..1: whether the lips speak (heard or not), with soft edges of 150 ms."""
        return max((_gate(time_s, a, b) for a, b in self._spans if a - 1 < time_s < b + 1), default=0.0)

    def mouth(self, time_s: float) -> NDArray[np.float32]:
        """Shape of the mouth, see `mouth`; idle motion gives way to speech."""
        shape = self._track.at(time_s)
        free = 1.0 - self.talking(time_s)
        if free > 0:
            for span, idle in self._idles:
                gate = _gate(time_s, span.start_s + 0.15, span.end_s - 0.15)
                if gate > 0:
                    shape = shape + free * gate * (idle.at(time_s) - REST)
        return np.clip(shape, -0.1, 1.25)

    def pose(self, time_s: float, zoom: float, shake: tuple[float, float]) -> Pose:
        """Pose in picture pixels."""
        p = self.person
        m = self._motion.pose(time_s, self.talking(time_s))
        x, y, w, h = p.cell
        half = p.half_width_px * zoom
        base_x = x + w / 2 + (p.x - x - w / 2) * zoom + shake[0]
        base_y = y + h / 2 + (p.y - y - h / 2) * zoom + shake[1]
        return Pose(
            x=base_x + m["x"] * half,
            y=base_y + m["y"] * half,
            half_width_px=half * m["scale"],
            roll=m["roll"],
            yaw=m["yaw"],
            pitch=m["pitch"],
            blink=m["blink"],
            brow=m["brow"],
            gaze_x=m["gaze_x"],
            gaze_y=m["gaze_y"],
            torso_x=base_x + 0.5 * m["x"] * half,
            torso_y=base_y + 0.6 * m["y"] * half,
            time_s=time_s,
        )


def _gate(time_s: float, start_s: float, end_s: float, edge_s: float = 0.15) -> float:
    part = min((time_s - start_s) / edge_s + 1, (end_s - time_s) / edge_s + 1)
    part = min(1.0, max(0.0, part))
    return part * part * (3 - 2 * part)


class Rendering:
    """`audio`, `voices`, `truth()` and `frames()` of one scene."""

    def __init__(self, scene: Scene, face_model: FaceModel | None = None) -> None:
        self.scene = scene
        self._actors = [
            _Actor(p, [x for x in scene.lines if x.who == i], scene, face_model) for i, p in enumerate(scene.people)
        ]
        rng = np.random.default_rng([scene.seed, 1 << 20])
        self._shake = (Wander(rng, scene.picture.shake_px, 1.5), Wander(rng, scene.picture.shake_px, 1.1))
        self._flicker = Wander(rng, scene.picture.flicker, 0.8)
        self._clutter = [Clutter(rng, scene.width, scene.height) for _ in range(scene.picture.clutter)]
        self._noise = self._noise_tiles(rng)
        self.dry, self.voices, self.audio = self._sound()
        """float32 [samples] at `SAMPLE_RATE`: each heard voice (key: person, -1 off-screen) dry, and as it sounds in
        the mix before the offset; and the sound track, after it."""

    # ---- sound ----------------------------------------------------------------------------------------------------

    def _sound(self) -> tuple[dict[int, NDArray[np.float32]], dict[int, NDArray[np.float32]], NDArray[np.float32]]:
        scene, sound = self.scene, self.scene.sound
        length = round(scene.duration_s * SAMPLE_RATE)
        rng = np.random.default_rng([scene.seed, 1 << 21])
        dry = {i: np.zeros(length, np.float32) for i in (*range(len(scene.people)), OFF_SCREEN)}
        for line in scene.lines:
            if line.heard:
                acoustics.add_at(
                    dry[line.who], line.start_s, acoustics.at_level(line.utterance().audio, _VOICE_DB + line.gain_db)
                )
        wet = {i: voice.copy() for i, voice in dry.items()}
        if sound.decay_s > 0:
            for i in wet:  # each stands at another place in the room; the unseen speaker further away
                response = acoustics.room_response(
                    rng, sound.decay_s, sound.wetness * (1.5 if i == OFF_SCREEN else 1.0)
                )
                wet[i] = acoustics.convolve(dry[i], response)
        mix = np.sum(list(wet.values()), axis=0).astype(np.float32)
        if sound.noise_db is not None:
            mix += acoustics.noise_bed(rng, sound.noise, length) * acoustics.db_to_gain(_VOICE_DB + sound.noise_db)
        if sound.music_db is not None:
            mix += acoustics.music_bed(rng, length) * acoustics.db_to_gain(_VOICE_DB + sound.music_db)
        level, peak = acoustics.rms(mix), float(np.abs(mix).max(initial=0.0))
        gain = min(acoustics.db_to_gain(sound.level_db) / max(level, 1e-9), 0.95 / max(peak, 1e-9))
        return (
            dry,
            {i: v * np.float32(gain) for i, v in wet.items()},
            acoustics.shift(mix * np.float32(gain), scene.offset_ms),
        )

    # ---- picture --------------------------------------------------------------------------------------------------

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """All frames in order, uint8 BGR [height, width, 3]; each is a fresh array."""
        for k in range(self.scene.frame_count):
            yield self.frame(k)

    def frame(self, index: int) -> NDArray[np.uint8]:
        """The frame shown at index / fps."""
        scene = self.scene
        time_s = index / scene.fps
        shot_index = self._shot_at(time_s)
        shot = scene.shots[shot_index]
        shake = self._shake_at(time_s)
        frame = self._background(shot_index, shake)
        for clutter in self._clutter:
            clutter.draw(frame, time_s)
        for i in shot.visible:
            actor = self._actors[i]
            pose = actor.pose(time_s, shot.zoom, shake)
            mouth = actor.mouth(time_s)
            x, y, w, h = actor.person.cell
            x1 = x + w
            if not scene.grid:  # shoulders may reach into the neighbour's air, but not below the picture
                x, x1 = 0, scene.width
            moved = _moved(pose, -x, -y)
            actor.face.draw(frame[y : y + h, x:x1], moved, mouth)
        return self._develop(frame, index, time_s, shot.brightness)

    def mouth(self, who: int, time_s: float) -> NDArray[np.float32]:
        """Shape of a person's mouth as drawn at `time_s`, [4]; see `mouth`."""
        return self._actors[who].mouth(time_s)

    def _shot_at(self, time_s: float) -> int:
        return max(0, bisect_right([s.start_s for s in self.scene.shots], time_s + 1e-9) - 1)

    def _shake_at(self, time_s: float) -> tuple[float, float]:
        if self.scene.grid:
            return 0.0, 0.0  # the cells of a video call stand still
        return self._shake[0].at(time_s), self._shake[1].at(time_s)

    @lru_cache(maxsize=2)  # noqa: B019 - dies with the rendering, which is short-lived
    def _still(self, shot_index: int) -> NDArray[np.uint8]:
        scene, shot = self.scene, self.scene.shots[shot_index]
        margin = self._margin()
        if not scene.grid:
            return paint_background(
                shot.background, shot.background_seed, scene.width + 2 * margin, scene.height + 2 * margin
            )
        still = np.full((scene.height + 2 * margin, scene.width + 2 * margin, 3), 30, np.uint8)
        for i, person in enumerate(scene.people):
            x, y, w, h = person.cell
            still[margin + y : margin + y + h, margin + x : margin + x + w] = paint_background(
                shot.background, shot.background_seed + i, w, h
            )
        return still

    def _margin(self) -> int:
        return 0 if self.scene.grid else int(np.ceil(3.5 * self.scene.picture.shake_px))

    def _background(self, shot_index: int, shake: tuple[float, float]) -> NDArray[np.uint8]:
        still, margin = self._still(shot_index), self._margin()
        if margin == 0:
            return still.copy()
        matrix = np.array([[1, 0, shake[0] - margin], [0, 1, shake[1] - margin]])
        size = (self.scene.width, self.scene.height)
        return cv2.warpAffine(still, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def _noise_tiles(self, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
        """Noise to add and to subtract; larger than the picture, so each frame uses another part of it."""
        deviation = self.scene.picture.noise
        if deviation <= 0:
            return None
        shape = (self.scene.height + 61, self.scene.width + 67, 3)
        grain = np.round(rng.standard_normal(shape, np.float32) * deviation)
        return np.clip(grain, 0, 255).astype(np.uint8), np.clip(-grain, 0, 255).astype(np.uint8)

    def _develop(self, frame: NDArray[np.uint8], index: int, time_s: float, brightness: float) -> NDArray[np.uint8]:
        """Exposure, gamma, blur, sensor noise."""
        picture = self.scene.picture
        gain = brightness * (1 + self._flicker.at(time_s))
        if abs(gain - 1) > 1e-6 or abs(picture.gamma - 1) > 1e-6:
            ramp = np.clip(np.arange(256) / 255 * gain, 0, 1) ** picture.gamma
            frame = cv2.LUT(frame, np.round(ramp * 255).astype(np.uint8))
        if picture.blur_px > 0.25:
            frame = cv2.GaussianBlur(frame, (0, 0), picture.blur_px)
        if self._noise is not None:
            # Coprime steps walk through all placements; no random state, so any frame can be drawn alone.
            y, x = (index * 23) % 61, (index * 41) % 67
            for tile, combine in zip(self._noise, (cv2.add, cv2.subtract), strict=True):
                frame = combine(frame, tile[y : y + frame.shape[0], x : x + frame.shape[1]])
        return frame

    # ---- truth ----------------------------------------------------------------------------------------------------

    def truth(self) -> dict[str, Any]:
        """The truth as plain JSON types; format: `../TRUTH.md`."""
        scene = self.scene
        slots = int(scene.duration_s * 1000 + 1e-6) // SLOT_MS
        loud = {i: _slot_rms(v, slots) for i, v in self.dry.items()}
        total = _slot_rms(np.sum(list(self.dry.values()), axis=0), slots)
        threshold = max(0.1 * float(np.percentile(total, 95)) if slots else 0.0, 1e-4)
        seen = [self._seen(k * SLOT_MS / 1000) for k in range(slots)]
        people = []
        for i, actor in enumerate(self._actors):
            box: list[list[float] | None] = []
            mouth_at: list[list[float] | None] = []
            for k in range(slots):
                if i not in seen[k]:
                    box.append(None)
                    mouth_at.append(None)
                    continue
                time_s = k * SLOT_MS / 1000
                pose = actor.pose(time_s, scene.shots[self._shot_at(time_s)].zoom, self._shake_at(time_s))
                shape = actor.mouth(time_s)
                box.append([round(b, 1) for b in actor.face.box(pose, shape)])
                mouth_at.append([round(p, 1) for p in actor.face.mouth_point(pose, shape)])
            people.append(
                {
                    "id": i,
                    "kind": actor.person.look.kind,
                    "voice": actor.person.recorded or f"{actor.person.voice.language}+{actor.person.voice.variant}",
                    "lead_ms": round(actor.person.lead_s * 1000, 1),
                    "turn_deg": round(actor.turn_deg, 1),
                    "visible": self._visible(i),
                    "box": box,
                    "mouth": mouth_at,
                    "speaking": _close(loud[i] > threshold).astype(int).tolist(),
                }
            )
        return {
            "width": scene.width,
            "height": scene.height,
            "fps": scene.fps,
            "duration_ms": round(scene.duration_s * 1000),
            "seed": scene.seed,
            "cells": [list(p.cell) for p in scene.people],
            "turns": self._turns(),
            "voiced": (total > threshold).astype(int).tolist(),
            "offset_ms": scene.offset_ms,
            "people": people,
            "lines": [
                {
                    "who": x.who,
                    "start_ms": round(x.start_s * 1000),
                    "end_ms": round(min(x.end_s, scene.duration_s) * 1000),
                    "heard": x.heard,
                    "text": x.text,
                }
                for x in scene.lines
                if x.start_s < scene.duration_s
            ],
            "cuts_ms": [round(s.start_s * 1000) for s in scene.shots[1:]],
        }

    def _seen(self, time_s: float) -> tuple[int, ...]:
        return self.scene.shots[self._shot_at(time_s)].visible

    def _visible(self, who: int) -> list[list[int]]:
        """Spans [start_ms, end_ms] in which the person is in the picture."""
        ends = [*(s.start_s for s in self.scene.shots[1:]), self.scene.duration_s]
        spans: list[list[int]] = []
        for shot, end_s in zip(self.scene.shots, ends, strict=True):
            if who in shot.visible:
                start = round(shot.start_s * 1000)
                if spans and spans[-1][1] == start:
                    spans[-1][1] = round(end_s * 1000)
                else:
                    spans.append([start, round(end_s * 1000)])
        return spans

    def _turns(self) -> list[dict[str, int | None]]:
        """Who has the floor, without gaps or overlap from 0 to the end; a speaker out of the picture is off-screen."""
        end = round(self.scene.duration_s * 1000)
        floor: list[int | None] = [None] * end  # one entry per millisecond keeps the rules readable
        for line in sorted((x for x in self.scene.lines if x.heard), key=lambda x: x.start_s, reverse=True):
            # Written latest first: who began earlier keeps the floor until done.
            for ms in range(max(0, round(line.start_s * 1000)), min(end, round(line.end_s * 1000))):
                floor[ms] = line.who
        _bridge(floor, 400)
        cut_to = {round(s.start_s * 1000): s.visible for s in self.scene.shots}
        visible: tuple[int, ...] = ()
        for ms in range(end):
            visible = cut_to.get(ms, visible)
            who = floor[ms]
            if who is not None and who != OFF_SCREEN and who not in visible:
                floor[ms] = OFF_SCREEN
        turns: list[dict[str, int | None]] = []
        for ms, who in enumerate(floor):
            if not turns or turns[-1]["who"] != who:
                turns.append({"start_ms": ms, "end_ms": ms, "who": who})
            turns[-1]["end_ms"] = ms + 1
        return turns


def _bridge(floor: list[int | None], longest_ms: int) -> None:
    """Short silences belong to the turn before them; in place."""
    ms = 0
    while ms < len(floor):
        if floor[ms] is None:
            end = ms
            while end < len(floor) and floor[end] is None:
                end += 1
            if 0 < ms and end < len(floor) and end - ms <= longest_ms:
                floor[ms:end] = [floor[ms - 1]] * (end - ms)
            ms = end
        else:
            ms += 1


def _slot_rms(audio: NDArray[np.float32], slots: int) -> NDArray[np.float64]:
    return np.sqrt(np.mean(np.square(audio[: slots * _SLOT].reshape(slots, _SLOT), dtype=np.float64), axis=1))


def _close(active: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill pauses of at most `_CLOSE_SLOTS` slots between active ones."""
    out = active.copy()
    on = np.flatnonzero(active)
    for a, b in pairwise(on):
        if b - a - 1 <= _CLOSE_SLOTS:
            out[a:b] = True
    return out


def _moved(pose: Pose, dx: float, dy: float) -> Pose:
    values = {**pose.__dict__, "x": pose.x + dx, "y": pose.y + dy}
    return Pose(**{**values, "torso_x": pose.torso_x + dx, "torso_y": pose.torso_y + dy})


def render(scene: Scene, face_model: FaceModel | None = None) -> Rendering:
    """Prepare a scene for rendering: the audio is made at once, frames when they are asked for.

    `face_model` is needed for scenes with 3-D heads.
    """
    return Rendering(scene, face_model)
