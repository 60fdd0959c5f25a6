"""Everything about a person that moves except the mouth: head, eyes, lids, brows, and the camera's hand.

Every curve is a closed function of time, so a frame can be drawn at any instant, at any frame rate, in any order, and
memory does not grow with the length of the scene.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Wander:
    """Smooth aimless motion: a sum of sines with random phases; mean 0, standard deviation `deviation`."""

    def __init__(self, rng: np.random.Generator, deviation: float, period_s: float, terms: int = 6) -> None:
        """Periods are spread an octave to either side of `period_s`, amplitudes fall with frequency."""
        self._hz = 2.0 ** rng.uniform(-1, 1, terms) / period_s
        self._phase = rng.uniform(0, 2 * np.pi, terms)
        amplitude = self._hz[0] / self._hz
        self._amplitude = deviation * amplitude / np.sqrt(0.5 * np.sum(amplitude**2))

    def at(self, time_s: float) -> float:
        """Value at `time_s`."""
        return float(np.sum(self._amplitude * np.sin(2 * np.pi * self._hz * time_s + self._phase)))


class Pulses:
    """Events at random times, each with the same smooth rise and fall; used for blinks, nods and glances."""

    def __init__(self, rng: np.random.Generator, duration_s: float, every_s: float, length_s: float) -> None:
        """Intervals are exponential with mean `every_s` after a dead time of one `length_s`."""
        count = int(3 * duration_s / every_s) + 8
        starts = np.cumsum(rng.exponential(every_s, count) + length_s) - every_s * float(rng.uniform(0, 1))
        self.starts_s: NDArray[np.float64] = starts[starts < duration_s + length_s]
        self.length_s = length_s

    def at(self, time_s: float) -> float:
        """0 at rest, 1 at the height of an event."""
        i = int(np.searchsorted(self.starts_s, time_s)) - 1
        if i < 0:
            return 0.0
        part = (time_s - self.starts_s[i]) / self.length_s
        # Fast in, slower out, as lids and glances do.
        return float(np.sin(np.pi * part**0.7) ** 1.5) if 0 < part < 1 else 0.0


class HeadMotion:
    """Pose of one head over time, in units of the head's half width and radians; livelier while speaking."""

    def __init__(self, rng: np.random.Generator, duration_s: float, calm: float = 1.0) -> None:
        """`calm` scales all motion: 0.3 is a newsreader, 1.5 a fidget."""
        u = rng.uniform
        self.x = Wander(rng, calm * u(0.03, 0.12), 5.0)
        self.y = Wander(rng, calm * u(0.015, 0.06), 4.0)
        self.scale = Wander(rng, calm * 0.012, 6.0)
        self.roll = Wander(rng, calm * u(0.02, 0.07), 4.5)
        self.yaw = Wander(rng, calm * u(0.03, 0.13), 4.0)
        self.pitch = Wander(rng, calm * u(0.02, 0.07), 3.0)
        self._nod = Wander(rng, calm * 0.035, 0.9)
        self._shake = Wander(rng, calm * 0.025, 1.3)
        self.blink = Pulses(rng, duration_s, every_s=float(u(2.2, 4.5)), length_s=float(u(0.16, 0.26)))
        self.brow = Pulses(rng, duration_s, every_s=float(u(3.0, 7.0)), length_s=float(u(0.6, 1.2)))
        self.gaze_x = Wander(rng, 0.25, 2.5)
        self.gaze_y = Wander(rng, 0.12, 3.0)
        self.yaw_bias = float(u(-0.22, 0.22))

    def pose(self, time_s: float, speaking: float) -> dict[str, float]:
        """Pose at `time_s`; `speaking` 0..1 blends in the small nods that go with speech."""
        return {
            "x": self.x.at(time_s),
            "y": self.y.at(time_s),
            "scale": 1.0 + self.scale.at(time_s),
            "roll": self.roll.at(time_s) + 0.5 * speaking * self._shake.at(time_s),
            "yaw": float(np.clip(self.yaw_bias + self.yaw.at(time_s) + speaking * self._shake.at(time_s), -0.5, 0.5)),
            "pitch": float(np.clip(self.pitch.at(time_s) + speaking * self._nod.at(time_s), -0.3, 0.3)),
            "blink": self.blink.at(time_s),
            "brow": self.brow.at(time_s) * (0.4 + 0.6 * speaking),
            "gaze_x": float(np.clip(self.gaze_x.at(time_s), -0.6, 0.6)),
            "gaze_y": float(np.clip(self.gaze_y.at(time_s), -0.4, 0.4)),
        }
