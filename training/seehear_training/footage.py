"""Folders of video, decoded once into a cache that training reads at random.

A clip in the cache is a folder: `video.npy` uint8 [slots, height, width], grey, 25 a second, the shorter side `SIDE`
pixels; `audio.npy` int16 [samples] at 16 kHz, on the same clock (sample 640 k sounds when slot k is shown, as the
container's time stamps say); `clip.json` with its name, origin and cuts. What has no picture, no sound, or nothing
audible is listed and skipped.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .media import Unreadable, read, read_sound
from .speech import SAMPLE_RATE

SIDE = 288
FPS = 25
SLOT = SAMPLE_RATE // FPS
SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m4v")
_VERSION = 1
_SHORTEST_S = 1.5


class FootageError(Unreadable):
    """A file that cannot serve; the message says why."""


@dataclass(frozen=True)
class Clip:
    """One decoded file."""

    name: str
    """Path within its folder: the key under which anything is remembered of it."""
    person: str
    """Clips of one person never stand on both sides of a split."""
    folder: Path
    cuts: tuple[int, ...] = ()
    """Slots at which another shot begins."""
    notes: dict[str, str] = field(default_factory=dict)

    def video(self) -> NDArray[np.uint8]:
        """[slots, h, w], mapped, not read."""
        return np.load(self.folder / "video.npy", mmap_mode="r")

    def audio(self) -> NDArray[np.int16]:
        """[samples], mapped."""
        return np.load(self.folder / "audio.npy", mmap_mode="r")

    def shots(self) -> list[tuple[int, int]]:
        """[begin, end) of each shot, slots."""
        edges = [0, *self.cuts, len(self.video())]
        return [(a, b) for a, b in itertools.pairwise(edges) if b > a]


def split_of(person: str, parts: int = 5) -> str:
    """ "test" for one person in `parts`, else "train"; from the name alone, so that it never changes.

    A clip of several (`a,b`) is held back if one of them is: who is in a test may not be in training beside others.
    """
    names = person.split(",")
    return "test" if any(zlib.crc32(name.strip().encode()) % parts == 0 for name in names) else "train"


def list_files(folder: Path) -> list[Path]:
    """Everything that looks like a video, sorted, at any depth."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())


def read_catalogue(folder: Path) -> dict[str, dict[str, str]]:
    """An optional `catalogue.tsv` in the folder or above it: columns `file` and, of use here, `people`."""
    for place in (folder, folder.parent):
        path = place / "catalogue.tsv"
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
            return {str((place / row["file"]).resolve()): row for row in rows}
    return {}


def _size(path: Path) -> tuple[int, int]:
    """Displayed width and height (rotation and pixel aspect applied) when the shorter side is `SIDE`, even numbers."""
    text = read(
        ["ffprobe", "-v", "error", "-select_streams", "v:0", "-show_entries"]
        + ["stream=width,height,sample_aspect_ratio:stream_side_data=rotation", "-of", "json", str(path)]
    )
    streams = json.loads(text).get("streams", [])
    if not streams:
        raise FootageError("no picture")
    stream = streams[0]
    width, height = float(stream["width"]), float(stream["height"])
    aspect = stream.get("sample_aspect_ratio", "1:1").split(":")
    if len(aspect) == 2 and int(aspect[0]) > 0 and int(aspect[1]) > 0:
        width *= int(aspect[0]) / int(aspect[1])
    turns = [abs(int(d.get("rotation", 0))) for d in stream.get("side_data_list", [])]
    if any(t % 180 == 90 for t in turns):
        width, height = height, width
    scale = SIDE / min(width, height)
    return 2 * round(width * scale / 2), 2 * round(height * scale / 2)


def decode(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
    """Picture and sound of a file on one clock that begins where the file's does.

    Raises `FootageError` if there is nothing to learn from.
    """
    width, height = _size(path)
    if max(width, height) > 4 * SIDE:
        raise FootageError(f"{width}x{height} is no picture of people")
    # fps fills gaps and starts at zero; aresample puts the sound where its time stamps say.
    raw = read(
        ["ffmpeg", "-nostdin", "-v", "error", "-i", str(path)]
        + ["-map", "0:v:0", "-vf", f"fps={FPS}:start_time=0,scale={width}:{height}:flags=area,format=gray"]
        + ["-f", "rawvideo", "-"]
    )
    video = np.frombuffer(raw, np.uint8).reshape(-1, height, width)
    try:
        audio = read_sound(path, f"aresample={SAMPLE_RATE}:async=1:first_pts=0")
    except Unreadable as error:
        raise FootageError(f"no sound that can be read ({error})") from error
    slots = min(len(video), len(audio) // SLOT)
    if slots < _SHORTEST_S * FPS:
        raise FootageError(f"{slots / FPS:.1f} s of picture and sound together: at least {_SHORTEST_S} s are needed")
    video, audio = video[:slots], audio[: slots * SLOT]
    if np.abs(audio.astype(np.int32)).max() < 100:
        raise FootageError("silent")
    return video, audio


def find_cuts(video: NDArray[np.uint8]) -> tuple[int, ...]:
    """Slots that begin another shot: the small picture's change stands out from its neighbours' and is large."""
    step = max(1, min(video.shape[1:]) // 18)
    small = video[:, step // 2 :: step, step // 2 :: step].astype(np.int16)
    change = np.abs(np.diff(small, axis=0)).mean((1, 2))
    cuts = []
    for k, here in enumerate(change):
        around = np.concatenate([change[max(0, k - 6) : k], change[k + 1 : k + 7]])
        if here > 14 and (not len(around) or here > 3.0 * float(np.median(around)) + 4):
            cuts.append(k + 1)
    return tuple(cuts)


def store(folder: Path, video: NDArray[np.uint8], audio: NDArray[np.int16], facts: dict[str, object]) -> None:
    """Write a clip into the cache: whole or not at all, and where two do so at once, one of them."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        part = Path(temporary) / folder.name
        part.mkdir()
        np.save(part / "video.npy", video)
        np.save(part / "audio.npy", audio)
        (part / "clip.json").write_text(json.dumps(facts))
        shutil.rmtree(folder, ignore_errors=True)
        try:
            os.replace(part, folder)
        except OSError:
            if not (folder / "clip.json").is_file():
                raise


def _key(path: Path) -> str:
    stat = path.stat()
    text = f"{_VERSION} {SIDE} {path.resolve()} {stat.st_size} {stat.st_mtime_ns}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass
class Collection:
    """The clips of some folders, and what was left out."""

    clips: list[Clip]
    skipped: list[tuple[str, str]]


def collect(folders: Iterable[Path], cache: Path, progress: object = None) -> Collection:
    """Decode what is not in the cache yet; `progress` is called with (done, total, name)."""
    todo = [(folder, path) for folder in folders for path in list_files(folder)]
    clips, skipped = [], []
    for k, (folder, path) in enumerate(todo):
        if callable(progress):
            progress(k, len(todo), path.name)
        facts = read_catalogue(folder).get(str(path.resolve()), {})
        place = cache / _key(path)
        try:
            if not (place / "clip.json").is_file():
                video, audio = decode(path)
                store(place, video, audio, {"source": str(path), "cuts": find_cuts(video)})
            cuts = json.loads((place / "clip.json").read_text())["cuts"]
        except Unreadable as error:
            skipped.append((str(path), str(error)))
            continue
        name = f"{folder.name}/{path.relative_to(folder)}"
        clips.append(Clip(name, facts.get("people") or name, place, tuple(cuts), facts))
    return Collection(clips, skipped)


def of_split(clips: Iterable[Clip], split: str) -> Iterator[Clip]:
    """The clips whose person is on that side ("all": every clip)."""
    return (c for c in clips if split == "all" or split_of(c.person) == split)
