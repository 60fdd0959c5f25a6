"""Where in a clip somebody is heard: what training crops around.

Synthetic scenes know it; footage is asked by the model itself (`localise.py`): the place, the size and the offset at
which picture and sound agree best. Nothing here knows what a face is.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .footage import FPS, SLOT, Clip, store
from .render import Rendering

REFERENCE_FACE = 75.0
"""Height of a face, pixels, in the middle of the range of sizes that the network is trained for."""


@dataclass(frozen=True)
class Spot:
    """A talker over a stretch of slots [begin, end) of one clip."""

    clip: str
    begin: int
    end: int
    x: tuple[float, ...]
    """Centre, cached pixels, one every `STEP` slots from `begin`."""
    y: tuple[float, ...]
    face: float
    """Height of the face (or of what moves with the voice), cached pixels."""
    known: bool
    """The picture's zero is known (synthetic); else the clip's offset is latent and learned."""
    offset_ms: float = 0.0
    """First guess of the offset, > 0 sound late; exact where `known`."""
    confidence: float = 1.0
    turn_deg: float | None = None
    """Where the head looks on the whole, degrees from the camera; None where nobody knows."""

    STEP = 5

    def centre(self, slot: float) -> tuple[float, float]:
        """Centre at a slot, interpolated."""
        k = (slot - self.begin) / self.STEP
        at = np.arange(len(self.x))
        return float(np.interp(k, at, self.x)), float(np.interp(k, at, self.y))


def save(path: Path, spots: list[Spot]) -> None:
    """One JSON list, whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps([asdict(s) for s in spots]))
    os.replace(part, path)


def load(path: Path) -> list[Spot]:
    """What `save` wrote."""
    return [Spot(**{**s, "x": tuple(s["x"]), "y": tuple(s["y"])}) for s in json.loads(path.read_text())]


def of_truth(name: str, truth: dict, shortest: int = 20) -> list[Spot]:
    """The spots of a rendered scene: stretches in which a visible person's own voice is heard."""
    out = []
    for person in truth["people"]:
        speaking = np.array(person["speaking"], bool) & np.array([m is not None for m in person["mouth"]])
        edges = np.flatnonzero(np.diff(np.concatenate([[0], speaking.astype(np.int8), [0]])))
        for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            if end - begin < shortest:
                continue
            at = [*range(begin, end, Spot.STEP), end - 1]
            heights = [person["box"][k][3] for k in range(begin, end)]
            out.append(
                Spot(
                    clip=name,
                    begin=begin,
                    end=end,
                    x=tuple(float(person["mouth"][k][0]) for k in at),
                    y=tuple(float(person["mouth"][k][1]) for k in at),
                    face=float(np.median(heights)),
                    known=True,
                    offset_ms=float(truth["offset_ms"]),
                    turn_deg=person["turn_deg"],
                )
            )
    return out


def store_scene(folder: Path, rendering: Rendering) -> list[Spot]:
    """Render a scene into the cache's format, with its spots beside it; returns them."""
    scene = rendering.scene
    if scene.fps != FPS:
        raise ValueError(f"a scene for training has {FPS} pictures a second, not {scene.fps}")
    weights = np.array([0.114, 0.587, 0.299], np.float32)
    video = np.stack([np.round(frame @ weights).astype(np.uint8) for frame in rendering.frames()])
    audio: NDArray[np.int16] = np.round(np.clip(rendering.audio, -1, 1) * 32767).astype(np.int16)
    slots = min(len(video), len(audio) // SLOT)
    truth = rendering.truth()
    cuts = [round(ms * FPS / 1000) for ms in truth["cuts_ms"]]
    store(folder, video[:slots], audio[: slots * SLOT], {"source": f"seed {scene.seed}", "cuts": cuts})
    spots = of_truth(folder.name, truth)
    save(folder / "spots.json", spots)
    return spots


def stored_scenes(folder: Path) -> tuple[list[Clip], list[Spot]]:
    """Every scene under `folder` that `store_scene` finished."""
    clips, spots = [], []
    for place in sorted(folder.iterdir()):
        if (place / "spots.json").is_file():
            cuts = json.loads((place / "clip.json").read_text())["cuts"]
            clips.append(Clip(place.name, place.name, place, tuple(cuts)))
            spots += load(place / "spots.json")
    return clips, spots
