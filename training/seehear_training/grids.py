"""Grid scenes of real talkers: several clips beside each other, everybody's lips move, one is heard at a time.

Nothing but the agreement of picture and sound tells who speaks there. Turns of 2 to 5 s, some of them silence or the
voice of somebody who is not in the picture. The truth is in the format of TRUTH.md (what of it can be known).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .footage import FPS, SLOT, Clip
from .media import write_video
from .speech import SAMPLE_RATE

SILENT, STRANGER = None, -1
_LEVEL = 0.06
_FADE = SAMPLE_RATE // 100


@dataclass(frozen=True)
class Grid:
    """Who is where, and who is heard when."""

    people: tuple[Clip, ...]
    stranger: Clip
    turns: tuple[tuple[int, int, int | None], ...]
    """Slots [begin, end) and who: an index into `people`, `STRANGER` or `SILENT`."""

    @property
    def cell(self) -> tuple[int, int]:
        """Width and height of each place."""
        return (640, 540) if len(self.people) == 2 else (640, 360)

    @property
    def size(self) -> tuple[int, int]:
        """Of the picture."""
        return 2 * self.cell[0], (len(self.people) + 1) // 2 * self.cell[1]

    @property
    def slots(self) -> int:
        """Length."""
        return self.turns[-1][1]

    def cells(self) -> list[list[int]]:
        """x, y, w, h of each place."""
        w, h = self.cell
        return [[k % 2 * w, k // 2 * h, w, h] for k in range(len(self.people))]

    @staticmethod
    def random(clips: list[Clip], slots: int, rng: np.random.Generator) -> Grid:
        """Two to four different people, and a fifth for the voice from elsewhere. Every clip is at least as long."""
        able = [c for c in clips if len(c.video()) >= slots]
        persons = sorted({c.person for c in able})
        count = int(rng.choice([2, 2, 3, 4]))
        if len(persons) <= count:
            raise ValueError(f"{len(persons)} people with clips of at least {slots / FPS:g} s: {count + 1} are needed")
        chosen = [
            able[int(rng.choice([k for k, c in enumerate(able) if c.person == p]))]
            for p in rng.permutation(persons)[: count + 1]
        ]
        turns: list[tuple[int, int, int | None]] = []
        begin = 0
        while begin < slots:
            end = min(slots, begin + int(rng.integers(2 * FPS, 5 * FPS)))
            draw = rng.random()
            who = SILENT if draw < 0.08 else STRANGER if draw < 0.18 else int(rng.integers(count))
            if turns and turns[-1][2] == who:
                turns[-1] = (turns[-1][0], end, who)
            else:
                turns.append((begin, end, who))
            begin = end
        return Grid(tuple(chosen[:-1]), chosen[-1], tuple(turns))

    def sound(self) -> NDArray[np.float32]:
        """Who has the turn is heard, at the same level as everybody, with short fades."""
        voices = [_voice(c, self.slots) for c in (*self.people, self.stranger)]
        out = np.zeros(self.slots * SLOT, np.float32)
        ramp = np.linspace(0, 1, _FADE, dtype=np.float32)
        for begin, end, who in self.turns:
            if who is not SILENT:
                part = voices[who][begin * SLOT : end * SLOT].copy()
                part[:_FADE] *= ramp
                part[-_FADE:] *= ramp[::-1]
                out[begin * SLOT : end * SLOT] = part
        return out

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """BGR pictures (of grey footage)."""
        width, height = self.size
        w, h = self.cell
        videos = [c.video() for c in self.people]
        for slot in range(self.slots):
            picture = np.full((height, width), 128, np.uint8)
            for (x, y, *_), video in zip(self.cells(), videos, strict=True):
                picture[y : y + h, x : x + w] = _fill(video[slot], w, h)
            yield cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)

    def truth(self, sound: NDArray[np.float32]) -> dict[str, Any]:
        """See TRUTH.md."""
        level = np.sqrt(np.square(sound.reshape(-1, SLOT)).mean(1))
        width, height = self.size
        ms = 1000 // FPS
        return {
            "width": width,
            "height": height,
            "fps": FPS,
            "duration_ms": self.slots * ms,
            "cells": self.cells(),
            "turns": [{"start_ms": a * ms, "end_ms": b * ms, "who": who} for a, b, who in self.turns],
            "voiced": (level > max(0.1 * float(np.percentile(level, 95)), 1e-4)).astype(int).tolist(),
            "offset_ms": 0,
            "people": [{"id": k, "kind": "footage", "voice": c.name} for k, c in enumerate(self.people)],
        }

    def write(self, path: Path) -> None:
        """The film, and its truth beside it."""
        sound = self.sound()
        write_video(path, self.frames(), sound, self.size, FPS)
        truth = path.with_suffix(".truth.json")
        part = truth.with_suffix(".part")
        part.write_text(json.dumps(self.truth(sound)))
        os.replace(part, truth)


def _voice(clip: Clip, slots: int) -> NDArray[np.float32]:
    """As loud as all others."""
    sound = clip.audio()[: slots * SLOT].astype(np.float32) / 32768
    return sound * np.float32(_LEVEL / (np.sqrt(np.mean(sound**2)) + 1e-9))


def _fill(picture: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Scaled to fill the place, the middle of what is too long."""
    h, w = picture.shape
    scale = max(width / w, height / h)
    big = cv2.resize(picture, (max(width, round(w * scale)), max(height, round(h * scale))))
    y, x = (big.shape[0] - height) // 2, (big.shape[1] - width) // 2
    return big[y : y + height, x : x + width]
