"""A folder of recorded voices: what real people sound like, for scenes whose lips `articulation` moves.

Any audio or video file that ffmpeg reads will do, one voice each and not much else in it; transcripts are not needed.
Files whose names agree up to the first "-" (LibriSpeech's habit: reader-chapter-sentence) are one speaker, any other
file is a speaker of its own. Each file is decoded once into a cache folder: `KEY.npy`, int16 at 16 kHz; `KEY.json`, its
utterance-like segments, or why it cannot serve; `KEY.MODEL.mouth.npy`, the estimated mouth, when first asked for.
KEY follows the file's place, size and time, so a changed file is decoded anew.

Times are seconds of the recording unless a name says otherwise.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from . import articulation, mel
from .media import MediaError, Unreadable, read_sound
from .speech import SAMPLE_RATE, resample

SUFFIXES = tuple(
    ".wav .flac .opus .ogg .oga .mp3 .m4a .aac .wma .aif .aiff .au .sph .amr .caf .mka .webm .mp4 .mkv .mov".split()
)
SEGMENT_S = (1.0, 6.0)
"""Shortest and longest segment."""
SPEEDS = (0.9, 1.12)
"""Played this much faster, pitch and formants rise and everything shortens: another person, as it were."""
_COMFORTABLE_S = 3.5  # phrases are joined up to this length
_VERSION = 1


@dataclass(frozen=True)
class Excerpt:
    """[start_s, end_s) of a decoded recording, played `speed` times faster: all that a line of a scene needs."""

    name: str
    """Path within its folder."""
    file: str
    """The decoded file in the cache."""
    start_s: float
    end_s: float
    speed: float = 1.0

    @property
    def duration_s(self) -> float:
        """How long it sounds."""
        return _samples(self) / SAMPLE_RATE

    def audio(self) -> NDArray[np.float32]:
        """float32 [N] at `SAMPLE_RATE`, faded over 10 ms at either end."""
        return _excerpt_audio(self)

    def mouth(self) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Times [n], seconds from the excerpt's first sample as played, and the mouth [n, 4] belonging to the sound
        at these times (lead 0, effort 1)."""
        shape = _mouth(self.file)
        low, high = (round(t * articulation.RATE_HZ) for t in (self.start_s, self.end_s))
        times = (np.arange(low, min(high, len(shape))) + 0.5) / articulation.RATE_HZ
        return (times - self.start_s) / self.speed, np.asarray(shape[low:high], np.float32)


@dataclass(frozen=True)
class RecordedVoice:
    """One speaker, perturbed by `speed`."""

    speaker: str
    speed: float
    excerpts: tuple[Excerpt, ...]
    """All there is of them, in order."""

    def pick(self, rng: np.random.Generator, longest_s: float, spoken: set[Excerpt]) -> Excerpt:
        """Something to say within about `longest_s`, if possible not `spoken` yet; it is added there."""
        fitting = [x for x in self.excerpts if x.duration_s <= longest_s]
        fitting = fitting or [min(self.excerpts, key=lambda x: x.duration_s)]
        fresh = [x for x in fitting if x not in spoken] or fitting
        chosen = fresh[int(rng.integers(len(fresh)))]
        spoken.add(chosen)
        return chosen


@dataclass(frozen=True)
class Recording:
    """A decoded file."""

    name: str
    speaker: str
    file: str
    duration_s: float
    segments: tuple[tuple[float, float], ...]


class Recordings:
    """The voices of a folder; files that cannot serve are in `skipped` with the reason."""

    def __init__(self, folder: Path | str, cache: Path | str, *, speeds: tuple[float, float] = SPEEDS) -> None:
        """Decode what the cache lacks; raises MediaError when nothing in the folder can serve."""
        self.folder, self.cache, self.speeds = Path(folder), Path(cache), speeds
        if not self.folder.is_dir():
            raise MediaError(f"{self.folder}: no such folder of recordings")
        self.cache.mkdir(parents=True, exist_ok=True)
        paths = sorted(p for p in self.folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        self.files: list[Recording] = []
        self.skipped: list[tuple[str, str]] = []
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:  # the work is ffmpeg's
            for path, facts in zip(paths, pool.map(self._decoded, paths), strict=True):
                name = path.relative_to(self.folder).as_posix()
                if "skipped" in facts:
                    self.skipped.append((name, facts["skipped"]))
                    continue
                segments = tuple((a, b) for a, b in facts["segments"])
                self.files.append(Recording(name, _speaker(name), facts["file"], facts["duration_s"], segments))
        if not self.files:
            raise MediaError(f"nothing to hear: {self.summary()}")
        self._speakers: dict[str, list[Recording]] = {}
        for recording in self.files:
            self._speakers.setdefault(recording.speaker, []).append(recording)

    @property
    def speakers(self) -> tuple[str, ...]:
        """Everybody, in order of name."""
        return tuple(sorted(self._speakers))

    def summary(self) -> str:
        """One line: what is here and what was skipped."""
        minutes = sum(x.duration_s for x in self.files) / 60
        speakers = len({x.speaker for x in self.files})
        text = f"{self.folder}: {len(self.files)} recordings of {speakers} speakers, {minutes:.0f} min"
        if self.skipped:
            shown = ", ".join(f"{name} ({why})" for name, why in self.skipped[:5])
            more = ", ..." if len(self.skipped) > 5 else ""
            text += f"; {len(self.skipped)} skipped: {shown}{more}"
        return text

    def audio(self, recording: Recording) -> NDArray[np.float32]:
        """All of it, float32 at `SAMPLE_RATE`."""
        return _samples_of(recording.file, 0, None)

    def draw(self, rng: np.random.Generator, without: Iterable[str] = ()) -> RecordedVoice:
        """A speaker, none of `without` while there are others, at a random speed."""
        without = set(without)
        names = [x for x in self.speakers if x not in without] or list(self.speakers)
        name = names[int(rng.integers(len(names)))]
        speed = round(float(rng.uniform(*self.speeds)), 3)
        return RecordedVoice(
            name,
            speed,
            tuple(Excerpt(x.name, x.file, a, b, speed) for x in self._speakers[name] for a, b in x.segments),
        )

    def _decoded(self, path: Path) -> dict:
        """Facts from the cache, made if missing."""
        stat = path.stat()
        key = hashlib.sha256(f"{_VERSION}|{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}".encode()).hexdigest()[:20]
        file, about = self.cache / f"{key}.npy", self.cache / f"{key}.json"
        if about.exists():
            facts = json.loads(about.read_text())
        else:
            facts = _decode(path, file)
            _whole(about, lambda part: part.write_text(json.dumps(facts)))
        return {**facts, "file": str(file.resolve())}


def _speaker(name: str) -> str:
    stem = Path(name).stem
    return stem.split("-")[0] if "-" in stem[1:] else name


def _decode(path: Path, file: Path) -> dict:
    """Write the samples; returns duration and segments, or why it is skipped."""
    try:
        samples = read_sound(path)
    except Unreadable as error:
        return {"skipped": f"unreadable: {error}"}
    if not len(samples):
        return {"skipped": "unreadable: no sound in it"}
    segments = split(samples.astype(np.float32) / 32768)
    if not segments:
        return {"skipped": "silent"}
    _whole(file, lambda part: np.save(part, samples))
    return {"duration_s": len(samples) / SAMPLE_RATE, "segments": segments}


def _whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write beside and rename, so that two processes may do the same at once and none sees half a file."""
    part = path.with_name(f".{os.getpid()}.{path.name}")
    write(part)
    os.replace(part, path)


def split(audio: NDArray[np.float32]) -> list[tuple[float, float]]:
    """Utterance-like segments, seconds: cut at pauses, joined to a comfortable length; too long a phrase is cut where
    it is softest."""
    rate = articulation.RATE_HZ
    shortest, longest, comfortable = (round(x * rate) for x in (*SEGMENT_S, _COMFORTABLE_S))
    gate = np.concatenate([articulation.speech_gate(audio[a:b])[c:d] for a, b, c, d in _blocks(len(audio))] or [[]])
    edges = np.flatnonzero(np.diff(np.pad(gate > 0.5, 1).astype(np.int8)))
    phrases = [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    joined: list[tuple[int, int]] = []
    for a, b in phrases:
        if joined and a - joined[-1][1] < 0.7 * rate and b - joined[-1][0] <= comfortable:
            joined[-1] = (joined[-1][0], b)
        else:
            joined.append((a, b))
    level = np.convolve(articulation.log_mel(audio).mean(1), np.ones(7) / 7, "same") if joined else gate
    out: list[tuple[int, int]] = []
    while joined:
        a, b = joined.pop(0)
        if b - a > longest:
            low, high = a + shortest + 50, min(a + longest, b - shortest)
            middle = low + int(np.argmin(level[low:high]))
            joined[:0] = [(a, middle), (middle, b)]
        elif b - a >= shortest:
            out.append((a, b))
    return [(a / rate, b / rate) for a, b in out]


def _blocks(samples: int) -> list[tuple[int, int, int, int]]:
    """Half minutes, for what takes a recording as constant: first and last sample with a second of margin, first and
    last row (of those) to keep."""
    hop, rate = mel.HOP, articulation.RATE_HZ
    rows = samples // hop
    out = []
    for k in range(max(1, round(rows / (25 * rate)))):
        a, b = (round(rows * j / max(1, round(rows / (25 * rate)))) for j in (k, k + 1))
        first, last = max(0, a - rate), min(rows, b + rate)
        out.append((first * hop, last * hop, a - first, b - first))
    return out


# Small caches: scenes come back to the same few recordings.


@lru_cache(maxsize=64)
def _mouth(file: str) -> NDArray[np.float32]:
    """The estimated mouth of a whole decoded file, float16 on disk."""
    path = Path(file)
    kept = path.with_name(f"{path.stem}.{articulation.fingerprint()}.mouth.npy")
    if not kept.exists():
        audio = _samples_of(file, 0, None)
        parts = [articulation.estimate(audio[a:b])[c:d] for a, b, c, d in _blocks(len(audio))]
        shape = np.concatenate(parts).astype(np.float16)
        _whole(kept, lambda part: np.save(part, shape))
    return np.load(kept).astype(np.float32)


def _samples_of(file: str, first: int, last: int | None) -> NDArray[np.float32]:
    return np.load(file, mmap_mode="r")[first:last].astype(np.float32) / 32768


def _span(excerpt: Excerpt) -> tuple[int, int]:
    return round(excerpt.start_s * SAMPLE_RATE), round(excerpt.end_s * SAMPLE_RATE)


def _samples(excerpt: Excerpt) -> int:
    first, last = _span(excerpt)
    return round((last - first) / excerpt.speed)


@lru_cache(maxsize=64)
def _excerpt_audio(excerpt: Excerpt) -> NDArray[np.float32]:
    audio = _samples_of(excerpt.file, *_span(excerpt))
    audio = resample(audio, SAMPLE_RATE * excerpt.speed, SAMPLE_RATE)[: _samples(excerpt)]
    fade = np.minimum(1, np.minimum(np.arange(len(audio)), np.arange(len(audio))[::-1]) / (0.01 * SAMPLE_RATE))
    return (audio * fade).astype(np.float32)
