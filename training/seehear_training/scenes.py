"""What happens in a scene: who is where, who says what when, what the room and the camera do.

A `Scene` is a complete specification, plain data with no pixels and no samples; `render.render` turns it into frames,
audio and truth. `Scene.random` draws one from a seed. The same seed and arguments give the same scene, and the same
scene the same bytes.

What scenes contain, and why: turns and overlap; voices from nobody in the picture, and speakers cut away from (somebody
else's lips may move meanwhile); people who chew, mutter, or speak *without their sound*, some of them saying the very
words that are heard, but too early or too late. So only the agreement of picture and sound in time tells who speaks.

Times are seconds from the first frame, on the picture's clock. `offset_ms` > 0 means the sound is late.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from . import acoustics, backgrounds
from .looks import HEAD, HeadLook, Look
from .mouth import DEFAULT_LEAD_S, LEAD_RANGE_S
from .recordings import Excerpt, RecordedVoice, Recordings
from .speech import Utterance, Voice, random_text, synthesise

OFF_SCREEN = -1
"""`Line.who` of a voice whose owner is not among the people."""


@dataclass(frozen=True)
class Line:
    """Something said: `who` is an index into the people or `OFF_SCREEN`; an unheard line only moves the lips.

    What is said is either `text` in a synthetic `voice`, or a `recording`; then `text` only names it.
    """

    who: int
    start_s: float
    text: str
    voice: Voice
    heard: bool = True
    gain_db: float = 0.0
    recording: Excerpt | None = None

    def utterance(self) -> Utterance:
        """Its sound and, unless it is a recording, its phonemes."""
        if self.recording is not None:
            return Utterance(self.recording.audio(), (), self.text)
        return synthesise(self.text, self.voice)

    @property
    def duration_s(self) -> float:
        """How long it sounds."""
        return self.recording.duration_s if self.recording is not None else self.utterance().duration_s

    @property
    def end_s(self) -> float:
        """When its sound ends."""
        return self.start_s + self.duration_s


@dataclass(frozen=True)
class Idle:
    """How a mouth behaves in [start_s, end_s) while its owner says nothing; kinds: `mouth.IDLE_KINDS`."""

    start_s: float
    end_s: float
    kind: str
    amount: float = 1.0


@dataclass(frozen=True)
class Person:
    """Somebody in the picture; pixels, origin top left."""

    look: Look | HeadLook
    cell: tuple[int, int, int, int]
    """x, y, w, h: the region that is theirs; no one else's face enters it."""
    x: float
    y: float
    """Centre of the head at rest."""
    half_width_px: float
    voice: Voice = field(default_factory=Voice)
    lead_s: float = DEFAULT_LEAD_S
    """How far the lips are ahead of the sound they make; natural, so not part of the A/V offset."""
    effort: float = 1.0
    calm: float = 1.0
    """Amount of head motion."""
    yaw: float | None = None
    """Where they look on the whole, radians, > 0 right; None: drawn from the seed."""
    idles: tuple[Idle, ...] = ()
    seed: int = 0
    recorded: str = ""
    """The recorded speaker whose voice they have; "": `voice` speaks for them."""


@dataclass(frozen=True)
class Shot:
    """One camera set-up, from `start_s` to the next shot. People not in `visible` are out of the picture."""

    start_s: float
    background: str
    background_seed: int
    visible: tuple[int, ...]
    zoom: float = 1.0
    brightness: float = 1.0


@dataclass(frozen=True)
class Picture:
    """What the camera does to the light."""

    shake_px: float = 0.0
    blur_px: float = 0.0
    """Standard deviation of the blur."""
    noise: float = 0.0
    """Standard deviation of the sensor noise, 8-bit steps."""
    gamma: float = 1.0
    flicker: float = 0.0
    """Relative deviation of the light's strength over time."""
    clutter: int = 0
    """Things that move in the background."""


@dataclass(frozen=True)
class Sound:
    """The room, the microphone and what else is heard; levels of beds are relative to the voices' (dB)."""

    level_db: float = -24.0
    """RMS of the whole sound track, dB full scale."""
    decay_s: float = 0.0
    """Reverberation time (-60 dB); 0: none."""
    wetness: float = 0.4
    noise: str = "pink"
    noise_db: float | None = None
    music_db: float | None = None


@dataclass(frozen=True)
class Scene:
    """A complete specification; see the module's docstring."""

    seed: int
    width: int
    height: int
    fps: float
    duration_s: float
    people: tuple[Person, ...]
    lines: tuple[Line, ...]
    shots: tuple[Shot, ...]
    picture: Picture = Picture()
    sound: Sound = Sound()
    offset_ms: float = 0.0
    grid: bool = False
    """Each cell is a picture of its own, as in a video call."""

    @property
    def frame_count(self) -> int:
        """Frames in the scene; frame k is shown at k / fps."""
        return round(self.duration_s * self.fps)

    @staticmethod
    def random(
        seed: int,
        *,
        duration_s: float = 10.0,
        size: tuple[int, int] = (256, 144),
        fps: float = 25.0,
        people: int | None = None,
        offset_ms: float = 0.0,
        kinds: tuple[str, ...] = (),
        recordings: Recordings | None = None,
        recorded_share: float = 0.7,
        heads: float = 0.0,
    ) -> Scene:
        """Draw a scene. `people` (1..6) and `kinds` (see `looks.KINDS`, and `looks.HEAD`) are drawn too unless given.

        With `recordings`, about `recorded_share` of the people, seen or not, speak with recorded voices; people, shots,
        picture and room are the same as without. About `heads` of the people are 3-D heads, for which `render.render`
        needs a face model.
        """
        for name, part in (("recorded_share", recorded_share), ("heads", heads)):
            if not 0 <= part <= 1:
                raise ValueError(f"{name} {part}: expected 0 to 1")
        if duration_s <= 0 or fps <= 0 or min(size) < 16:
            raise ValueError(
                f"{duration_s} s at {fps} fps, {size[0]}x{size[1]}: all must be positive, sides at least 16"
            )
        if people is not None and not 1 <= people <= 6:
            raise ValueError(f"{people} people: expected 1 to 6")
        # One stream of random numbers for each concern: a new trait then leaves everything else as it was.
        rng_cast, rng_talk, rng_shots, rng_look = (np.random.default_rng([seed, k]) for k in range(4))
        count = people or int(rng_cast.choice(6, p=[0.28, 0.36, 0.2, 0.1, 0.03, 0.03])) + 1
        grid = count > 3 or (count > 1 and bool(rng_cast.random() < 0.2))
        if HEAD in kinds:  # each kind given is as likely as the others
            heads = max(heads, 1 / len(set(kinds)))
            kinds = tuple(k for k in kinds if k != HEAD)
        cast = _heads(np.random.default_rng([seed, 41]), _cast(rng_cast, count, size, grid, kinds), heads)
        voices = _Voices(np.random.default_rng([seed, 40]), recordings, recorded_share, count)
        lines, cast = _conversation(rng_talk, cast, duration_s, voices)
        return Scene(
            seed=seed,
            width=size[0],
            height=size[1],
            fps=fps,
            duration_s=duration_s,
            people=cast,
            lines=lines,
            shots=_shots(rng_shots, count, duration_s),
            picture=_picture(rng_look, size[1]),
            sound=_sound(rng_look),
            offset_ms=offset_ms,
            grid=grid,
        )


def cells(count: int, width: int, height: int, grid: bool) -> list[tuple[int, int, int, int]]:
    """One region per person: side by side, or a grid of two rows."""
    rows = 2 if grid and count > 2 else 1
    columns = -(-count // rows)
    edges_x = [round(k * width / columns) for k in range(columns + 1)]
    edges_y = [round(k * height / rows) for k in range(rows + 1)]
    places = [(k % columns, k // columns) for k in range(count)]
    return [(edges_x[c], edges_y[r], edges_x[c + 1] - edges_x[c], edges_y[r + 1] - edges_y[r]) for c, r in places]


def _cast(
    rng: np.random.Generator, count: int, size: tuple[int, int], grid: bool, kinds: tuple[str, ...]
) -> tuple[Person, ...]:
    largest = float(rng.uniform(0.55, 1.0))  # people in one picture are of similar size
    cast = []
    for x, y, w, h in cells(count, *size, grid):
        half = min(0.29 * w, 0.27 * h) * largest * float(rng.uniform(0.85, 1.0))
        cast.append(
            Person(
                look=Look.random(rng, kinds),
                cell=(x, y, w, h),
                x=x + w * 0.5 + float(rng.uniform(-1, 1)) * max(0.0, 0.5 * w - 1.45 * half) * 0.6,
                y=y + h * float(rng.uniform(0.40, 0.52)),
                half_width_px=half,
                voice=Voice.random(rng),
                lead_s=float(rng.uniform(*LEAD_RANGE_S)),
                effort=float(rng.uniform(0.75, 1.2)),
                calm=float(rng.uniform(0.3, 1.4)),
                seed=int(rng.integers(1 << 31)),
            )
        )
    return tuple(cast)


def _heads(rng: np.random.Generator, cast: tuple[Person, ...], share: float) -> tuple[Person, ...]:
    """Gives that share of the people a 3-D head; from numbers of its own, so everything else stays as it was."""
    if share == 0:
        return cast
    return tuple(replace(p, look=HeadLook.random(rng)) if rng.random() < share else p for p in cast)


class _Voices:
    """Who speaks with a recorded voice, drawn from numbers of its own: without recordings nothing is drawn at all."""

    def __init__(self, rng: np.random.Generator, recordings: Recordings | None, share: float, people: int) -> None:
        self.rng = rng
        self._recordings, self._share = recordings, share
        self._of: dict[int, RecordedVoice] = {}
        self._spoken: set[Excerpt] = set()
        for who in range(people):
            if (voice := self.stranger()) is not None:
                self._of[who] = voice

    def of(self, who: int) -> RecordedVoice | None:
        """A person's recorded voice, if they have one."""
        return self._of.get(who)

    def stranger(self) -> RecordedVoice | None:
        """A recorded voice of nobody in the picture, or none."""
        if self._recordings is None or self.rng.random() >= self._share:
            return None
        return self._recordings.draw(self.rng, without=[x.speaker for x in self._of.values()])

    def line(self, line: Line, recorded: RecordedVoice, longest_s: float) -> Line:
        """The same line, but something that was recorded."""
        excerpt = recorded.pick(self.rng, longest_s, self._spoken)
        return replace(line, text=f"[{excerpt.name}]", recording=excerpt)


def _say(
    rng: np.random.Generator,
    who: int,
    voice: Voice,
    start_s: float,
    length_s: float,
    voices: _Voices,
    recorded: RecordedVoice | None,
    heard: bool = True,
) -> list[Line]:
    """Lines of one voice, `recorded` if it is one, filling about `length_s`."""
    lines: list[Line] = []
    time_s, gain_db = start_s, float(rng.uniform(-4, 4))
    while time_s < start_s + length_s - 0.5:
        words = int(np.clip((start_s + length_s - time_s) * voice.rate_wpm / 60, 2, 12))
        line = Line(who, time_s, random_text(rng, voice.language, words), voice, heard, gain_db)
        if recorded is not None:
            line = voices.line(line, recorded, start_s + length_s - time_s + 0.5)
        lines.append(line)
        time_s = line.end_s + float(rng.uniform(0.08, 0.35))
    return lines


def _conversation(
    rng: np.random.Generator, cast: tuple[Person, ...], duration_s: float, voices: _Voices
) -> tuple[tuple[Line, ...], tuple[Person, ...]]:
    """Who speaks when, and what everybody's mouth does meanwhile."""
    voice_over = rng.random() < 0.06  # nobody in the picture is heard at all
    mute = {i for i in range(len(cast)) if len(cast) > 1 and rng.random() < 0.15}
    heard: list[Line] = []
    time_s, last = float(rng.uniform(0, 0.6)), None
    while time_s < duration_s - 0.3:
        draw = rng.random()
        if draw < 0.08:
            time_s += float(rng.uniform(0.6, 2.0))
            last = None
            continue
        candidates = [i for i in range(len(cast)) if i not in mute and (i != last or len(cast) == 1)]
        who = OFF_SCREEN if voice_over or draw < 0.18 or not candidates else int(rng.choice(candidates))
        voice = Voice.random(rng) if who == OFF_SCREEN else cast[who].voice
        recorded = voices.stranger() if who == OFF_SCREEN else voices.of(who)
        lines = _say(rng, who, voice, time_s, float(rng.uniform(1.5, 5.0)), voices, recorded)
        if not lines:
            break
        heard += lines
        time_s = lines[-1].end_s + float(rng.uniform(0.1, 0.5))
        if rng.random() < 0.15 and len(cast) > 1:
            time_s = max(lines[0].start_s + 0.5, time_s - float(rng.uniform(0.5, 1.3)))  # breaks in
        last = who
    extra: list[Line] = []
    people = []
    for i, person in enumerate(cast):
        idles: list[Idle] = []
        for start_s, end_s in _gaps([x for x in heard if x.who == i], duration_s):
            more, idle = _meanwhile(rng, i, person, heard, start_s, end_s, voices)
            extra += more
            idles.append(idle)
        own = voices.of(i)
        people.append(replace(person, idles=tuple(idles), recorded=own.speaker if own else ""))
    return tuple(sorted(heard + extra, key=lambda x: x.start_s)), tuple(people)


def _gaps(lines: list[Line], duration_s: float) -> list[tuple[float, float]]:
    """Stretches of at least half a second without these lines."""
    spans, time_s = [], 0.0
    for line in sorted(lines, key=lambda x: x.start_s):
        if line.start_s - time_s >= 0.5:
            spans.append((time_s, line.start_s))
        time_s = max(time_s, line.end_s)
    if duration_s - time_s >= 0.5:
        spans.append((time_s, duration_s))
    return spans


def _meanwhile(
    rng: np.random.Generator,
    who: int,
    person: Person,
    heard: list[Line],
    start_s: float,
    end_s: float,
    voices: _Voices,
) -> tuple[list[Line], Idle]:
    """What a person does in a stretch without their own sound."""
    draw = rng.random()
    amount = float(rng.uniform(0.5, 1.4))
    idle = Idle(start_s, end_s, "lively" if rng.random() < 0.7 else "still", amount)
    if draw < 0.45 or end_s - start_s < 1.0:
        return [], idle
    if draw < 0.72:
        return [], replace(idle, kind=str(rng.choice(["chew", "chew", "mutter", "mutter", "smile", "lick"])))
    if draw < 0.88:  # speaks, but another sound is heard
        lines = _say(rng, who, person.voice, start_s + 0.3, end_s - start_s - 0.6, voices, voices.of(who), heard=False)
    else:  # says the very words that are heard, but too early or too late
        late_s = float(rng.uniform(0.3, 1.2)) * (1 if rng.random() < 0.5 else -1)
        lines = [replace(x, who=who, start_s=x.start_s + late_s, heard=False) for x in heard if x.who != who]
    return [x for x in lines if x.start_s > start_s + 0.1 and x.end_s < end_s - 0.1], idle


def _shots(rng: np.random.Generator, count: int, duration_s: float) -> tuple[Shot, ...]:
    """Most scenes are one shot; others cut to another set-up, to some of the people, or away from all of them."""
    starts = [0.0]
    if rng.random() < 0.3:
        while starts[-1] < duration_s - 2.5:
            starts.append(starts[-1] + float(rng.uniform(1.5, 6.0)))
        starts = [s for s in starts if s < duration_s - 0.8] or [0.0]
    shots = []
    for start_s in starts:
        draw = rng.random() if len(starts) > 1 else 1.0
        everybody = tuple(range(count))
        visible = () if draw < 0.12 else tuple(i for i in everybody if rng.random() < 0.6) if draw < 0.35 else everybody
        shots.append(
            Shot(
                start_s=start_s,
                background=str(rng.choice(backgrounds.KINDS)),
                background_seed=int(rng.integers(1 << 31)),
                visible=visible,
                zoom=float(rng.uniform(0.85, 1.1)),
                brightness=float(rng.uniform(0.75, 1.2)),
            )
        )
    return tuple(shots)


def _picture(rng: np.random.Generator, height: int) -> Picture:
    return Picture(
        shake_px=height * float(max(0.0, rng.uniform(-0.02, 0.015))),
        blur_px=height / 144 * float(max(0.0, rng.uniform(-0.6, 0.9))),
        noise=float(max(0.0, rng.uniform(-1, 6))),
        gamma=float(rng.uniform(0.75, 1.35)),
        flicker=float(max(0.0, rng.uniform(-0.05, 0.06))),
        clutter=int(rng.choice([0, 0, 0, 1, 2])),
    )


def _sound(rng: np.random.Generator) -> Sound:
    return Sound(
        level_db=float(rng.uniform(-34, -16)),
        decay_s=float(rng.uniform(0.1, 0.8)) if rng.random() < 0.55 else 0.0,
        wetness=float(rng.uniform(0.15, 0.7)),
        noise=str(rng.choice(acoustics.NOISE_KINDS)),
        noise_db=float(rng.uniform(-40, -8)) if rng.random() < 0.75 else None,
        music_db=float(rng.uniform(-25, -6)) if rng.random() < 0.2 else None,
    )
