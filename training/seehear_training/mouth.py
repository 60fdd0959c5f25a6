"""Phonemes to lips: visemes blended by dominance functions, ahead of the sound.

Each phoneme pulls the mouth towards its viseme with a weight that rises and falls around the phoneme's centre; the
mouth is the weighted mean of all pulls (Cohen and Massaro, "Modeling coarticulation in synthetic visual speech", 1993).
So a rounded vowel rounds the consonants before it, and a short schwa hardly opens between two consonants. Where we
differ: closures (p, b, m) multiply the opening instead of joining the mean, because lips that merely come near each
other are the one mistake every viewer sees.

Lips are in place before the sound they make is heard. A speaker's `lead_s` is that anticipation: at time t the mouth
has the shape belonging to the sound at t + lead_s. It is part of natural speech, hence **zero A/V offset includes it**.
Published and measured values lie about 60 to 100 ms; `DEFAULT_LEAD_S` is the middle.

A mouth shape is float32 [4]: opening (0 lips touch, 1 widest, below 0 pressed), width (0.5 at rest, 0 narrow, 1
spread), rounding (0..1 pursed), tongue (0 down, 1 at the upper teeth).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .speech import Phoneme

DEFAULT_LEAD_S = 0.08
LEAD_RANGE_S = (0.06, 0.10)
"""Speakers differ: the range from which scenes draw."""

REST = np.array([0.0, 0.5, 0.0, 0.0], np.float32)
GRID_HZ = 200
"""Trajectories are laid down at this rate and interpolated: lips do not move appreciably in 5 ms."""


@dataclass(frozen=True)
class Viseme:
    """A target shape, how strongly it insists, and whether the lips must shut."""

    opening: float
    width: float
    rounding: float
    tongue: float = 0.0
    strength: float = 1.0
    closure: bool = False


_BILABIAL = Viseme(-0.05, 0.48, 0.06, strength=1.6, closure=True)
_LABIODENTAL = Viseme(0.07, 0.56, 0.0, strength=1.8)
_DENTAL = Viseme(0.24, 0.58, 0.0, tongue=1.0)
_ALVEOLAR = Viseme(0.22, 0.58, 0.05, tongue=0.8, strength=0.8)
_SIBILANT = Viseme(0.13, 0.68, 0.05, tongue=0.3, strength=1.1)
_POSTALVEOLAR = Viseme(0.18, 0.32, 0.55, tongue=0.3, strength=1.2)
_VELAR = Viseme(0.30, 0.52, 0.05, strength=0.5)
_RHOTIC = Viseme(0.24, 0.40, 0.35, tongue=0.3, strength=0.7)
_GLIDE_W = Viseme(0.12, 0.12, 0.95, strength=1.5)
_GLIDE_J = Viseme(0.20, 0.88, 0.0)
_GLOTTAL = Viseme(0.40, 0.52, 0.0, strength=0.2)

_OPEN = Viseme(1.0, 0.58, 0.0, strength=1.2)
_NEAR_OPEN = Viseme(0.85, 0.74, 0.0, strength=1.2)
_OPEN_MID = Viseme(0.62, 0.66, 0.0)
_CLOSE_MID = Viseme(0.42, 0.78, 0.0)
_CLOSE_FRONT = Viseme(0.24, 0.96, 0.0)
_NEAR_CLOSE_FRONT = Viseme(0.30, 0.76, 0.0, strength=0.9)
_SCHWA = Viseme(0.36, 0.52, 0.05, strength=0.6)
_CENTRAL = Viseme(0.58, 0.52, 0.08)
_OPEN_BACK_ROUND = Viseme(0.78, 0.34, 0.40)
_MID_BACK_ROUND = Viseme(0.52, 0.22, 0.72)
_CLOSE_BACK_ROUND = Viseme(0.24, 0.14, 0.95)
_MID_FRONT_ROUND = Viseme(0.42, 0.30, 0.75)
_CLOSE_FRONT_ROUND = Viseme(0.22, 0.20, 0.92)

VOWELS: dict[str, Viseme] = {
    **dict.fromkeys("aɑɐ", _OPEN),
    **dict.fromkeys("æ", _NEAR_OPEN),
    **dict.fromkeys("ɛ", _OPEN_MID),
    **dict.fromkeys("e", _CLOSE_MID),
    **dict.fromkeys("i", _CLOSE_FRONT),
    **dict.fromkeys("ɪɨᵻɯ", _NEAR_CLOSE_FRONT),
    **dict.fromkeys("əɚ", _SCHWA),
    **dict.fromkeys("ʌɜɝ", _CENTRAL),
    **dict.fromkeys("ɔɒ", _OPEN_BACK_ROUND),
    **dict.fromkeys("oɵ", _MID_BACK_ROUND),
    **dict.fromkeys("uʊʉ", _CLOSE_BACK_ROUND),
    **dict.fromkeys("øœ", _MID_FRONT_ROUND),
    **dict.fromkeys("yʏ", _CLOSE_FRONT_ROUND),
}
CONSONANTS: dict[str, Viseme] = {
    **dict.fromkeys("pbm", _BILABIAL),
    **dict.fromkeys("fvʋɱβ", _LABIODENTAL),
    **dict.fromkeys("θð", _DENTAL),
    **dict.fromkeys("tdnlɫɾɲʎcɟ", _ALVEOLAR),
    **dict.fromkeys("sz", _SIBILANT),
    **dict.fromkeys("ʃʒɕʑç", _POSTALVEOLAR),
    **dict.fromkeys("kɡgŋxɣʁq", _VELAR),
    **dict.fromkeys("rɹɻʀ", _RHOTIC),
    **dict.fromkeys("wɥʍ", _GLIDE_W),
    **dict.fromkeys("jʝ", _GLIDE_J),
    **dict.fromkeys("hɦʔ", _GLOTTAL),
}


def visemes(ipa: str) -> list[Viseme]:
    """The shapes a phoneme passes through: two for a diphthong or an affricate, none for bare modifiers (ː, ʲ)."""
    return [VOWELS.get(symbol) or CONSONANTS[symbol] for symbol in ipa if symbol in VOWELS or symbol in CONSONANTS]


class MouthTrack:
    """A speaker's mouth over a whole scene, readable at any time; times are seconds of the *sound's* clock."""

    def __init__(
        self,
        phonemes: Iterable[Phoneme],
        duration_s: float,
        lead_s: float = DEFAULT_LEAD_S,
        effort: float = 1.0,
        recorded: Iterable[tuple[NDArray[np.float64], NDArray[np.float32]]] = (),
    ) -> None:
        """`effort` scales how far the mouth moves from rest (0.6 mumbling, 1.2 theatrical).

        `recorded`: times [n] and shapes [n, 4] of whatever is said without known phonemes (see `articulation`).
        """
        self.lead_s = lead_s
        count = int((duration_s + 1.0) * GRID_HZ) + 2
        weight = np.full(count, 0.06, np.float32)  # rest always pulls a little, so it wins in pauses
        shape = np.tile(REST * 0.06, (count, 1)).astype(np.float32)
        shut = np.zeros(count, np.float32)
        for phoneme in phonemes:
            shapes = visemes(phoneme.ipa)
            for k, viseme in enumerate(shapes):
                length_s = (phoneme.end_s - phoneme.start_s) / len(shapes)
                centre_s = phoneme.start_s + (k + 0.5) * length_s
                reach_s = 0.5 * length_s + 0.02
                low = max(0, int((centre_s - 4 * reach_s) * GRID_HZ))
                high = min(count, int((centre_s + 4 * reach_s) * GRID_HZ) + 2)
                if low >= high:
                    continue
                distance = np.abs(np.arange(low, high) / GRID_HZ - centre_s) / reach_s
                pull = viseme.strength * np.exp(-(distance**1.5)).astype(np.float32)
                weight[low:high] += pull
                target = np.array([viseme.opening, viseme.width, viseme.rounding, viseme.tongue], np.float32)
                shape[low:high] += pull[:, None] * target
                if viseme.closure:
                    # Flat top, so the lips stay shut for a while even at low frame rates.
                    hold = np.exp(-((distance / 1.15) ** 4)).astype(np.float32)
                    np.maximum(shut[low:high], hold, out=shut[low:high])
        shape /= weight[:, None]
        shape = REST + effort * (shape - REST)
        shape[:, 0] = shape[:, 0] * (1.0 - shut) - 0.05 * shut
        grid_s = np.arange(count) / GRID_HZ
        for times, known in recorded:
            if not len(times):
                continue
            # To rest and back within a tenth of a second, should the first or last shape be another.
            ends = np.concatenate([[times[0] - 0.1], times, [times[-1] + 0.1]])
            away = np.pad(known - REST, ((1, 1), (0, 0)))
            for i in range(4):
                shape[:, i] += effort * np.interp(grid_s, ends, away[:, i])
        self._shape = shape

    def at(self, time_s: float | NDArray[np.float64]) -> NDArray[np.float32]:
        """The mouth as seen at `time_s` (scalar: [4]; array [N]: [N, 4])."""
        times = np.atleast_1d(np.asarray(time_s, np.float64)) + self.lead_s
        position = np.clip(times * GRID_HZ, 0, len(self._shape) - 1.001)
        index = position.astype(np.int64)
        part = (position - index).astype(np.float32)[:, None]
        shape = self._shape[index] * (1 - part) + self._shape[index + 1] * part
        return shape[0] if np.ndim(time_s) == 0 else shape


IDLE_KINDS = ("still", "lively", "chew", "smile", "mutter", "lick")


class IdleMouth:
    """What a mouth does without speaking: the motion that must *not* be taken for speech.

    still: nothing. lively: small slow movements. chew: open and shut at 1 to 1.6 Hz with a sideways roll. smile:
    spreads and relaxes. mutter: quick syllable-like movements that belong to no sound at all. lick: the tongue, rarely.
    """

    def __init__(self, rng: np.random.Generator, kind: str, amount: float = 1.0) -> None:
        if kind not in IDLE_KINDS:
            raise ValueError(f"idle mouth {kind!r}: expected one of {', '.join(IDLE_KINDS)}")
        self.kind, self.amount = kind, amount
        self._rate_hz = float(rng.uniform(1.0, 1.6))
        self._phase = rng.uniform(0, 2 * np.pi, 6)
        self._slow_hz = rng.uniform(0.1, 0.4, 3)
        self._syllable_hz = np.array([2.3, 3.7, 5.1]) * float(rng.uniform(0.8, 1.2))

    def at(self, time_s: float) -> NDArray[np.float32]:
        """The mouth at `time_s`, [4]."""
        shape = REST.copy()
        slow = np.sin(2 * np.pi * self._slow_hz * time_s + self._phase[:3])
        if self.kind == "lively":
            shape += np.array([max(0.0, 0.06 * slow[0]), 0.08 * slow[1], 0.05 * max(0.0, slow[2]), 0.0]) * self.amount
        elif self.kind == "chew":
            beat = 2 * np.pi * self._rate_hz * time_s + self._phase[3] + 0.8 * slow[0]
            pause = 0.5 + 0.5 * np.tanh(4 * (slow[1] + 0.6))  # chewers stop now and then
            shape[0] += self.amount * pause * 0.22 * max(0.0, np.sin(beat)) ** 1.5
            shape[1] += self.amount * pause * 0.14 * np.sin(beat + 1.2)
            shape[2] += self.amount * pause * 0.18 * max(0.0, np.sin(beat + 2.0))
        elif self.kind == "smile":
            shape[1] += self.amount * 0.35 * (0.5 + 0.5 * slow[0])
            shape[0] += self.amount * max(0.0, 0.15 * slow[0] + 0.05 * slow[1])
        elif self.kind == "mutter":
            quick = np.sin(2 * np.pi * self._syllable_hz * time_s + self._phase[3:])
            gate = 0.5 + 0.5 * np.tanh(3 * (slow[0] + slow[1]))
            shape[0] += self.amount * gate * max(0.0, 0.30 + 0.25 * quick[0] + 0.2 * quick[1])
            shape[1] += self.amount * gate * 0.2 * quick[2]
            shape[2] += self.amount * gate * max(0.0, 0.3 * quick[1])
        elif self.kind == "lick":
            gate = max(0.0, slow[0] - 0.75) * 4
            shape[0] += self.amount * 0.2 * gate
            shape[3] += gate
        return shape
