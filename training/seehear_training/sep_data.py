"""What separation learns from: voices, and what an engine sees and hears of them; mixtures drawn from these.

A `Voice` is one person's sound alone, at 16 kHz, on the clock of their picture (a clip's own offset is taken off), with
the engine's embeddings: of the picture along their trajectory, nine cells around it, one set every 40 ms; of the sound,
where the picture would show it. Voices that were never filmed have only the latter. Generated scenes are made again
from their seed, because their sound tracks are mixtures: that the sound comes out the same to the bit is checked.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from . import evaluate, mel
from .engine import Engine, clip_mel
from .footage import SLOT, Clip
from .localise import embed
from .nets import STRIDE
from .recordings import Recordings
from .render import Rendering
from .scenes import OFF_SCREEN
from .speech import SAMPLE_RATE
from .spots import REFERENCE_FACE, Spot

Float = NDArray[np.float32]
CENTRE = 4
"""Of the nine cells around a trajectory, row by row."""
_MARGIN = 72
"""Pixels around a trajectory that the picture's network is shown."""


@dataclass
class Voice:
    """See the module."""

    name: str
    person: str
    """Voices of one person are never mixed with each other, nor on both sides of a split."""
    kind: str
    """`footage`, `scene`, `still` (a scene's person without a voice) or `sound` (nobody filmed)."""
    audio: NDArray[np.int16]
    """[640 n]."""
    seen: NDArray[np.float16]
    """[n, 9, dim], zeros where not visible; [0, 9, dim] where nobody was filmed."""
    heard: NDArray[np.float16]
    """[n, dim]: of the sound, at the time at which the picture agrees with it."""
    best: int = CENTRE
    """The cell that agrees best with the sound."""
    agreement: float = 0.0
    """Mean product of `heard` and the best cell where both are; -1 to 1."""
    offset_ms: float = 0.0
    """Taken off the sound."""

    @property
    def slots(self) -> int:
        """Length, 40 ms each."""
        return len(self.audio) // SLOT

    @property
    def visible(self) -> NDArray[np.bool_]:
        """[n]."""
        if not len(self.seen):
            return np.zeros(self.slots, bool)
        return np.abs(self.seen[:, CENTRE]).max(-1) > 0


# ---- making them ------------------------------------------------------------------------------------------------


def along(engine: Engine, video: NDArray[np.uint8], spots: Iterable[Spot], face: float = REFERENCE_FACE) -> Float:
    """Embeddings along trajectories, faces brought to `face` pixels: [n, 9, dim], zeros outside the spots.

    Only the surroundings of a trajectory are looked at.
    """
    out: NDArray[np.float32] | None = None
    height, width = video.shape[1:]
    for spot in spots:
        zoom = face / spot.face
        at = np.array([spot.centre(k + 0.5 - spot.begin + spot.begin) for k in range(spot.begin, spot.end)])
        margin = _MARGIN / zoom
        x0, y0 = np.maximum(0, np.floor(at.min(0) - margin)).astype(int)
        x1, y1 = np.minimum((width, height), np.ceil(at.max(0) + margin)).astype(int)
        size = tuple(max(3, round((b - a) * zoom / STRIDE)) * STRIDE for a, b in ((x0, x1), (y0, y1)))
        part = np.stack(
            [
                cv2.resize(np.ascontiguousarray(f), size, interpolation=cv2.INTER_AREA)
                for f in video[spot.begin : spot.end, y0:y1, x0:x1]
            ]
        )
        maps = embed(engine, part)
        path = (at - (x0, y0)) / (x1 - x0, y1 - y0) * (maps.shape[3], maps.shape[2])
        cells = evaluate.patch(maps, path[:, 0], path[:, 1])  # [n, dim, 3, 3]
        if out is None:
            out = np.zeros((len(video), 9, maps.shape[1]), np.float32)
        out[spot.begin : spot.end] = cells.reshape(*cells.shape[:2], 9).transpose(0, 2, 1)
    return np.zeros((0, 9, 1), np.float32) if out is None else out


def hear(engine: Engine, audio: NDArray[np.int16]) -> Float:
    """[n, dim], for each slot the sound that agrees with its picture: means of its four frames, unit vectors."""
    frames = engine.audio(clip_mel(audio))
    # The engine reads `zero_ms` where both are in sync: there the sound that matches slot k lies.
    shift = round(engine.zero_ms / 10)
    slots = len(audio) // SLOT
    at = mel.FRAMES_PER_SLOT * np.arange(slots)[:, None] + np.arange(-2, 2) + shift
    out = frames[:, np.clip(at, 0, frames.shape[1] - 1)].mean(-1).T
    return out / np.maximum(1e-6, np.linalg.norm(out, axis=1, keepdims=True))


def _face(name: str) -> float:
    """The height that this one's face is brought to: another for each, always the same."""
    return REFERENCE_FACE * float(np.random.default_rng(zlib.crc32(name.encode())).uniform(0.7, 1.2))


def _voice(
    name: str, person: str, kind: str, audio: NDArray[np.int16], seen: Float, engine: Engine, offset_ms: float = 0.0
) -> Voice:
    audio = audio[: len(audio) // SLOT * SLOT]
    heard = hear(engine, audio)
    best, agreement = CENTRE, 0.0
    loud = np.abs(audio.reshape(-1, SLOT).astype(np.float32)).mean(1)
    use = loud > 0.2 * loud.mean()
    if len(seen):
        use = use & (np.abs(seen[:, CENTRE]).max(-1) > 0)
    if len(seen) and kind != "still" and use.any():
        agreements = np.einsum("tcd,td->c", seen[use], heard[use]) / use.sum()
        best, agreement = int(agreements.argmax()), float(agreements.max())
    return Voice(
        name, person, kind, audio, seen.astype(np.float16), heard.astype(np.float16), best, agreement, offset_ms
    )


def of_clip(engine: Engine, clip: Clip, spots: list[Spot], unseen: Iterable[tuple[int, int]] = ()) -> Voice:
    """The talker of a clip of footage; its own offset, as far as the engine can tell it, is taken off."""
    video, audio = np.asarray(clip.video()), np.asarray(clip.audio())
    seen = along(engine, video, spots, _face(clip.name))
    for begin, end in unseen:
        seen[begin:end] = 0
    item = evaluate.Embedded(
        clip, [seen.reshape(len(seen), 3, 3, -1).transpose(0, 3, 1, 2)], evaluate.hear(engine, audio)
    )
    offset = 0.0
    if item.slots >= 80:
        own = evaluate.curve(item, 15, item.slots - 15, engine)
        # Only where the peak stands out: a guess would do more harm than what cameras do.
        if own.max() - np.median(own) > 3:
            offset = evaluate.refine(own) - engine.zero_ms
    if abs(offset) > 400:
        offset = 0.0
    moved = evaluate.recut(audio, -round(offset * SAMPLE_RATE / 1000))
    return _voice(clip.name, clip.person, "footage", moved, seen, engine, offset)


def whole_spots(name: str, person: dict[str, Any]) -> list[Spot]:
    """A person's trajectory in every stretch of a scene in which they are visible, speaking or not."""
    visible = np.array([m is not None for m in person["mouth"]])
    edges = np.flatnonzero(np.diff(np.concatenate([[0], visible.astype(np.int8), [0]])))
    out = []
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if end - begin < 5:
            continue
        at = [*range(begin, end, Spot.STEP), end - 1]
        x, y = (tuple(float(person["mouth"][k][axis]) for k in at) for axis in (0, 1))
        face = float(np.median([person["box"][k][3] for k in range(begin, end)]))
        out.append(Spot(name, begin, end, x, y, face, known=True))
    return out


class Changed(ValueError):
    """A scene does not come out of its seed as it was stored."""


def of_scene(engine: Engine, clip: Clip, rendering: Rendering) -> list[Voice]:
    """Everybody in a stored scene, each with their own sound alone; raises `Changed` if `rendering` is another's."""
    stored = np.asarray(clip.audio())
    again: NDArray[np.int16] = np.round(np.clip(rendering.audio, -1, 1) * 32767).astype(np.int16)[: len(stored)]
    if not np.array_equal(again, stored):
        raise Changed(f"{clip.folder}: its seed sounds otherwise now: give the options with which it was made")
    video = np.asarray(clip.video())
    out = []
    for person in rendering.truth()["people"]:
        name = f"{clip.name}/{person['id']}"
        audio = np.round(np.clip(rendering.voices[person["id"]], -1, 1) * 32767).astype(np.int16)[: len(stored)]
        silent = np.abs(audio).max(initial=0) < 30
        seen = along(engine, video, whole_spots(clip.name, person), _face(name))
        if len(seen) or not silent:
            kind = "still" if silent else "scene" if len(seen) else "sound"
            seen = seen if len(seen) else seen.reshape(0, 9, 1)
            # The mouth's lead over the sound is part of the scene; zero offset is zero here.
            out.append(_voice(name, person["voice"], kind, audio, seen, engine))
    unseen = np.round(np.clip(rendering.voices[OFF_SCREEN], -1, 1) * 32767).astype(np.int16)[: len(stored)]
    if np.abs(unseen).max(initial=0) >= 30:
        out.append(
            _voice(f"{clip.name}/off", f"{clip.name}/off", "sound", unseen, np.zeros((0, 9, 1), np.float32), engine)
        )
    return out


def of_recordings(engine: Engine, recordings: Recordings) -> list[Voice]:
    """Everybody in a folder of recorded speech."""
    nobody = np.zeros((0, 9, 1), np.float32)
    out = []
    for recording in recordings.files:
        audio = np.round(np.clip(recordings.audio(recording), -1, 1) * 32767).astype(np.int16)
        out.append(_voice(recording.name, recording.speaker, "sound", audio, nobody, engine))
    return out


def save(folder: Path, voices: list[Voice], name: str) -> None:
    """All of one origin into one file, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {}
    facts = []
    for k, v in enumerate(voices):
        arrays |= {f"audio{k}": v.audio, f"seen{k}": v.seen, f"heard{k}": v.heard}
        about = {"name": v.name, "person": v.person, "kind": v.kind, "best": v.best}
        facts.append({**about, "agreement": v.agreement, "offset_ms": v.offset_ms})
    part = folder / f".{name}.part.npz"
    np.savez(part, facts=np.array(json.dumps(facts)), **arrays)
    os.replace(part, folder / f"{name}.npz")


def load(path: Path) -> list[Voice]:
    """What `save` wrote."""
    with np.load(path) as file:
        facts = json.loads(str(file["facts"]))
        return [
            Voice(audio=file[f"audio{k}"], seen=file[f"seen{k}"], heard=file[f"heard{k}"], **about)
            for k, about in enumerate(facts)
        ]
