"""Mixtures for separation: a few voices, a room, noise, and whom to listen for.

Every mixture is drawn from its own seed, so a resumed run sees what an uninterrupted one would have. Its truth is what
was added up: mixture = sum of all voices + noise, sample for sample.

What the network is told of a voice is what the engine saw of its face. Where nobody was filmed, it is what the engine
heard of the clean voice, hidden in another face's embeddings to the degree to which faces hide it: the engine's two
halves answer in one space.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from . import acoustics
from .footage import SLOT
from .sep_data import CENTRE, Float, Voice
from .separation import DIM, HOP
from .speech import SAMPLE_RATE

_LOUD = 0.15
"""A slot counts as speech from this share of the voice's level."""


@dataclass(frozen=True)
class Recipe:
    """Sizes and shares of what is drawn."""

    seconds: float = 3.2
    targets: int = 2
    """Of each mixture, whom to listen for."""
    counts: tuple[float, ...] = (0.08, 0.62, 0.30)
    """Shares of mixtures of one voice, two, three."""
    footage: float = 0.55
    scenes: float = 0.2
    """Shares of voices from footage and from scenes; the rest was never filmed."""
    sure: float = 0.15
    """Least agreement at which a clip counts as showing its talker."""
    silent: float = 0.12
    """Share of targets who say nothing in the mixture."""
    pauses: float = 0.3
    """Share of voices that are silent for a while."""
    room: float = 0.3
    noise: float = 0.5
    augment: bool = True


@dataclass
class Mixture:
    """One draw; T hops."""

    mixture: Float
    """[HOP T]."""
    voices: Float
    """[voices, HOP T], everything that speaks, on screen or not."""
    targets: Float
    """[targets, HOP T]; zeros for who is silent."""
    guides: Float
    """[targets, T, DIM]: unit vectors, or zeros where not visible."""
    people: list[str] = field(default_factory=list)
    """Whose voices are in it."""


@dataclass
class Parts:
    """Voices that many mixtures can be made of, each of another person."""

    audio: Float
    """[n, HOP T]."""
    guides: Float
    """[n, T, DIM]."""
    idle: Float
    """[m, T, DIM], of faces that say nothing."""
    beds: Float
    """[b, HOP T], noise and music, RMS 1."""


@dataclass
class _Part:
    voice: Voice
    start: float
    """Slots."""
    speed: float
    cell: int
    pause: tuple[int, int] = (0, 0)
    """Hops in which nothing is said."""
    audio: Float = field(default_factory=lambda: np.zeros(0, np.float32))


class Mixer:
    """Draws mixtures of voices."""

    def __init__(self, voices: list[Voice], recipe: Recipe, seed: int = 0) -> None:
        """The voices are kept, not copied; `seed`: of the beds of noise."""
        self.recipe, self.voices = recipe, voices
        self.hops = round(recipe.seconds * SAMPLE_RATE / HOP)
        self._loud = {id(v): _loud(v) for v in voices}
        self._levels = {id(v): max(1e-4, float(v.audio.astype(np.float32).std()) / 32768) for v in voices}
        # A voice is played faster by as much as makes its length easy to transform.
        length = self.hops * HOP
        self._lengths = [n for n in range(round(0.88 * length), round(1.14 * length)) if _smooth(n)]
        speaking = [v for v in voices if v.kind != "still" and self._loud[id(v)].any()]
        self.seen = {
            kind: [v for v in speaking if v.kind == kind and v.agreement >= recipe.sure]
            for kind in ("footage", "scene")
        }
        shown = {id(v) for vs in self.seen.values() for v in vs}
        self.unseen = [v for v in speaking if id(v) not in shown]
        self.idle = [x for v in voices for x in self._idle(v)]
        if not (self.seen["footage"] or self.seen["scene"] or self.unseen):
            raise ValueError("no voices to mix")
        rng = np.random.default_rng([seed, 7])
        self._beds = self._make_beds(rng, speaking) if recipe.noise > 0 else []

    def summary(self) -> str:
        """One line: what there is to draw from."""
        people = len({v.person for v in self.voices if v.kind != "still"})
        filmed = ", ".join(f"{len(v)} of {k}" for k, v in self.seen.items())
        return f"{people} people: {filmed}, {len(self.unseen)} only heard; {len(self.idle)} idle stretches"

    # ---- what there is --------------------------------------------------------------------------------------------

    def _idle(self, voice: Voice) -> list[NDArray[np.float16]]:
        """Stretches in which a face is seen and says nothing, [n, DIM]."""
        quiet = voice.visible & ~_grown(self._loud[id(voice)], 8)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], quiet.astype(np.int8), [0]])))
        pairs = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
        return [voice.seen[a:b, voice.best] for a, b in pairs if b - a >= 12]

    def _make_beds(self, rng: np.random.Generator, speaking: list[Voice], count: int = 24) -> list[Float]:
        """Ten seconds each, RMS 1: coloured noise, music, many voices at once."""
        length = 10 * SAMPLE_RATE
        beds = []
        for k in range(count):
            kind = acoustics.NOISE_KINDS[k % len(acoustics.NOISE_KINDS)]
            beds.append(acoustics.noise_bed(rng, kind, length))
        for _ in range(count // 2):
            beds.append(acoustics.music_bed(rng, length))
        for _ in range(count // 2):
            bed = np.zeros(length, np.float32)
            for k in rng.integers(0, len(speaking), 7):
                audio = speaking[int(k)].audio.astype(np.float32)
                bed += np.resize(audio / max(1.0, float(audio.std())), length)
            beds.append(bed / max(1e-9, acoustics.rms(bed)))
        return [b.astype(np.float32) for b in beds]

    # ---- drawing --------------------------------------------------------------------------------------------------

    def draw(self, seed: tuple[int, ...], ease: float = 0.0) -> Mixture:
        """The mixture of that seed. `ease`, 0 to 1: how much of what is told is the voice's own, not the face's."""
        rng, r = np.random.default_rng(seed), self.recipe
        count = int(rng.choice(len(r.counts), p=np.array(r.counts) / sum(r.counts))) + 1
        parts: list[_Part] = []
        for _ in range(count):
            parts.append(self._part(self._pick(rng, {p.voice.person for p in parts}), rng))
        for part in parts:
            self._sound(part, rng)
        voices = np.stack([p.audio for p in parts])
        order = rng.permutation(count)[: r.targets].tolist() if r.augment else list(range(min(count, r.targets)))
        targets, guides = [], []
        for k in range(r.targets):
            if k < len(order) and rng.random() >= r.silent:
                part = parts[order[k]]
                targets.append(part.audio)
                guides.append(self._guide(part, rng, ease))
            else:
                targets.append(np.zeros_like(parts[0].audio))
                guides.append(self._silent(rng, {p.voice.person for p in parts}, ease))
        mixture = voices.sum(0)
        if self._beds and rng.random() < r.noise:
            bed = self._beds[int(rng.integers(len(self._beds)))]
            first = int(rng.integers(0, len(bed) - len(mixture) + 1))
            gain = acoustics.rms(mixture) * acoustics.db_to_gain(-float(rng.uniform(3, 30)))
            mixture = mixture + bed[first : first + len(mixture)] * np.float32(gain)
        level = float(rng.uniform(-40, -14)) if r.augment else -24.0
        gain = acoustics.db_to_gain(level) / max(1e-6, acoustics.rms(mixture))
        gain = np.float32(min(gain, 0.99 / max(1e-6, float(np.abs(mixture).max()))))
        people = [p.voice.person for p in parts]
        return Mixture(mixture * gain, voices * gain, np.stack(targets) * gain, np.stack(guides), people)

    def parts(self, seed: tuple[int, ...], count: int, ease: float = 0.0) -> Parts:
        """Voices to be mixed by the one who asks; `ease` as in `draw`."""
        rng = np.random.default_rng(seed)
        parts: list[_Part] = []
        for _ in range(count):
            parts.append(self._part(self._pick(rng, {p.voice.person for p in parts}), rng))
            self._sound(parts[-1], rng)
        guides = [self._guide(p, rng, ease) for p in parts]
        idle = [self.idle_guide(rng) for _ in range(4)] if self.idle else [np.zeros_like(guides[0])]
        length, beds = self.hops * HOP, []
        for _ in range(3 if self._beds else 0):
            bed = self._beds[int(rng.integers(len(self._beds)))]
            first = int(rng.integers(0, len(bed) - length + 1))
            beds.append(bed[first : first + length])
        return Parts(
            np.stack([p.audio for p in parts]),
            np.stack(guides),
            np.stack(idle),
            np.stack(beds) if beds else np.zeros((0, length), np.float32),
        )

    def _pick(self, rng: np.random.Generator, without: set[str]) -> Voice:
        r = self.recipe
        u = rng.random()
        kinds = [self.seen["footage"], self.seen["scene"], self.unseen]
        first = 0 if u < r.footage else 1 if u < r.footage + r.scenes else 2
        for pool in (kinds[first], *kinds):
            # A long clip is drawn more often, but not in proportion: people matter more than minutes.
            if not pool:
                continue
            weights = np.array([min(v.slots, 1500) ** 0.5 for v in pool])
            weights /= weights.sum()
            for _ in range(8):
                voice = pool[int(rng.choice(len(pool), p=weights))]
                if voice.person not in without:
                    return voice
        raise ValueError(f"too few people to mix {len(without) + 1} of them")

    def _part(self, voice: Voice, rng: np.random.Generator) -> _Part:
        """Where in the voice, how fast, from which cell: a stretch in which something is said."""
        speed = 1.0
        if self.recipe.augment and rng.random() < 0.7:
            speed = float(self._lengths[int(rng.integers(len(self._lengths)))] / (self.hops * HOP))
        length = self.hops * HOP / SLOT * speed
        loud = self._loud[id(voice)]
        # Of a few places the one with most speech, of those that are seen where there is a choice.
        places = [float(rng.uniform(0, max(0.0, voice.slots - length))) for _ in range(3)]
        said = [
            float((loud[int(p) : int(p + length)] * (0.1 + self._shown(voice)[int(p) : int(p + length)])).mean())
            for p in places
        ]
        start = places[int(np.argmax(said))]
        u = rng.random() if self.recipe.augment else 0.0
        cell = voice.best if u < 0.7 else CENTRE if u < 0.85 else int(rng.integers(9))
        part = _Part(voice, start, speed, cell)
        if rng.random() < self.recipe.pauses:
            size = int(rng.uniform(0.2, 0.6) * self.hops)
            first = int(rng.integers(-size // 2, self.hops - size // 2))
            part.pause = (max(0, first), min(self.hops, first + size))
        return part

    def _shown(self, voice: Voice) -> NDArray[np.float64]:
        return voice.visible.astype(float) if len(voice.seen) else np.ones(voice.slots)

    def _sound(self, part: _Part, rng: np.random.Generator) -> None:
        """The part's audio, [HOP T], about RMS 1 where it speaks."""
        length = self.hops * HOP
        first = round(part.start * SLOT)
        size = round(length * part.speed)
        audio = part.voice.audio[first : first + size].astype(np.float32) / 32768
        audio = np.pad(audio, (0, size - len(audio)))
        if size != length:  # the ends wrap around, a few milliseconds that nobody minds
            spectrum = np.fft.rfft(audio)[: length // 2 + 1] * np.float32(length / size)
            audio = np.fft.irfft(spectrum, length).astype(np.float32)
        if part.pause[1] > part.pause[0]:
            audio = audio * _hush(length, part.pause[0] * HOP, part.pause[1] * HOP)
        audio = audio / self._levels[id(part.voice)] * acoustics.db_to_gain(float(np.clip(rng.normal(0, 3.5), -8, 8)))
        if self.recipe.augment:
            if rng.random() < self.recipe.room:
                response = acoustics.room_response(rng, float(rng.uniform(0.12, 0.6)), float(rng.uniform(0.2, 0.7)))
                audio = acoustics.convolve(audio, response)
            if rng.random() < 0.3:  # another microphone: a tilt of the spectrum
                a = float(rng.uniform(-0.4, 0.5))
                audio = audio - a * np.pad(audio[:-1], (1, 0))
        part.audio = audio.astype(np.float32)

    def _guide(self, part: _Part, rng: np.random.Generator, ease: float) -> Float:
        """[T, DIM]: what is told of a part."""
        voice, augment = part.voice, self.recipe.augment
        late = float(rng.uniform(-1, 1)) if augment and rng.random() < 0.5 else 0.0  # slots
        filmed = len(voice.seen) and voice.agreement >= self.recipe.sure
        source = voice.seen[:, part.cell] if filmed else voice.heard
        out = self._at(source, part.start + late, part.speed)
        told = float(rng.uniform(0, ease)) if ease > 0 else 0.0
        # An engine agrees better with the faces it has learned from than with anybody's (0.4 and 0.28).
        if not filmed:
            out = self._hidden(out, max(told, float(rng.uniform(0.22, 0.5))), rng)
        elif augment and rng.random() < 0.7:
            out = self._hidden(out, float(rng.uniform(0.55, 1.0)), rng)
        if filmed and told > 0:
            out = (1 - told) * out + told * self._at(voice.heard, part.start + late, part.speed)
            out /= np.maximum(1e-6, np.linalg.norm(out, axis=1, keepdims=True))
        if part.pause[1] > part.pause[0] and self.idle:
            a, b = part.pause
            out[a:b] = self.idle_guide(rng)[: b - a]
        if augment and rng.random() < 0.15:  # turned away for a while, and still speaking
            size = int(rng.integers(5, self.hops // 2))
            first = int(rng.integers(0, self.hops - size))
            out[first : first + size] = 0
        return out

    def _silent(self, rng: np.random.Generator, present: set[str], ease: float) -> Float:
        """[T, DIM] of somebody who is not heard: mostly idle; sometimes their lips say something else."""
        if self.idle and rng.random() < 0.65:
            return self.idle_guide(rng)
        if rng.random() < 0.15:
            return np.zeros((self.hops, DIM), np.float32)
        return self._guide(self._part(self._pick(rng, present), rng), rng, ease)

    def idle_guide(self, rng: np.random.Generator) -> Float:
        """[T, DIM]: a face that says nothing; an idle stretch, to and fro for as long as it takes."""
        idle = self.idle[int(rng.integers(len(self.idle)))].astype(np.float32)
        back = np.concatenate([idle, idle[::-1]])
        at = (np.arange(self.hops) * HOP / SLOT + float(rng.uniform(0, len(back)))).astype(int)
        return back[at % len(back)]

    def _at(self, source: NDArray[np.float16], start: float, speed: float) -> Float:
        """Slots to hops: the slot that a hop's window centre falls into; the last stands still beyond the end."""
        at = np.floor(np.arange(self.hops) * (HOP / SLOT * speed) + start).astype(int)
        return source[np.clip(at, 0, len(source) - 1)].astype(np.float32)

    def _hidden(self, told: Float, share: float, rng: np.random.Generator) -> Float:
        """Embeddings among those of a stranger's face, of which `share` is left."""
        pool = self.seen["footage"] or self.seen["scene"]
        if pool:
            voice = pool[int(rng.integers(len(pool)))]
            start, speed = float(rng.uniform(0, voice.slots)), float(rng.choice([1.0, -1.0]))
            face = self._at(voice.seen[:, int(rng.integers(9))], start, speed)
        else:
            face = rng.standard_normal(told.shape, np.float32)
        face = face - (face * told).sum(-1, keepdims=True) * told
        face /= np.maximum(1e-6, np.linalg.norm(face, axis=-1, keepdims=True))
        there = np.linalg.norm(told, axis=-1, keepdims=True) > 0.5
        return (there * (share * told + np.sqrt(1 - share**2) * face)).astype(np.float32)


def _smooth(n: int) -> bool:
    """Whether 2, 3 and 5 are its only prime factors, and it is even."""
    even = n % 2 == 0
    for p in (2, 3, 5):
        while n % p == 0:
            n //= p
    return even and n == 1


def _loud(voice: Voice) -> NDArray[np.bool_]:
    """[slots]: speech, by its level."""
    level = np.sqrt(np.mean(np.square(voice.audio.reshape(-1, SLOT).astype(np.float32)), 1))
    return level > max(10.0, _LOUD * float(np.percentile(level, 90)))


def _grown(active: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    """Also what is within `by` of an active one."""
    return np.convolve(active, np.ones(2 * by + 1), "same") > 0.5


def _hush(length: int, first: int, last: int, fade: int = 160) -> Float:
    """1, but 0 in [first, last), with edges of 10 ms."""
    inside = np.clip(np.minimum(np.arange(length) - first, last - np.arange(length)) / fade, 0, 1)
    return (1 - inside).astype(np.float32)
