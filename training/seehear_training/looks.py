"""Who a person is to the eye: every trait that is drawn, as plain numbers.

A `Look` holds no pixels; `portraits` paints it and `faces` animates it. Lengths are in head units (1 = half the width
of the face), colours are (B, G, R) in 0..255. A `HeadLook` is the same for a 3-D head, which `heads` renders.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]

KINDS = ("human", "cartoon", "robot", "animal", "puppet")
HAIR_STYLES = (
    "bald",
    "buzz",
    "short",
    "parted",
    "fringe",
    "curly",
    "afro",
    "bob",
    "long",
    "bun",
    "mohawk",
    "fringe_of_hair",
)
BEARDS = ("none", "stubble", "full", "goatee", "moustache")
GLASSES = ("none", "round", "square", "sun")
HATS = ("none", "beanie", "cap", "scarf")
SPECIES = ("cat", "bear", "rabbit", "fox", "frog", "dog")
ROBOT_MOUTHS = ("slot", "bars", "flap")
HEAD = "head"
"""The kind of a 3-D head. It is not among `KINDS`: those can be drawn without a face model."""
HEAD_HAIR_STYLES = (
    "bald",
    "buzz",
    "short",
    "parted",
    "swept",
    "fringe",
    "curly",
    "afro",
    "bob",
    "long",
    "bun",
    "fringe_of_hair",
)
HEAD_HATS = ("none", "beanie", "cap", "scarf", "headphones")
PROPS = ("none", "hand", "mug", "microphone")

# From very fair to very dark (B, G, R); people in between are mixtures.
SKIN_TONES: tuple[Colour, ...] = (
    (205, 218, 245),
    (180, 200, 238),
    (150, 178, 224),
    (118, 150, 205),
    (88, 122, 178),
    (66, 94, 145),
    (50, 70, 110),
    (40, 52, 80),
)
HAIR_COLOURS: tuple[Colour, ...] = (
    (22, 22, 26),
    (30, 38, 52),
    (38, 56, 84),
    (40, 72, 120),
    (50, 70, 150),
    (90, 140, 190),
    (130, 185, 220),
    (150, 150, 152),
    (215, 215, 218),
)
EYE_COLOURS: tuple[Colour, ...] = ((40, 60, 90), (30, 45, 65), (150, 110, 70), (90, 120, 80), (110, 110, 110))


@dataclass(frozen=True)
class Look:
    """All visible traits of one person, animal, robot or puppet."""

    kind: str = "human"
    skin: Colour = SKIN_TONES[2]
    hair: Colour = HAIR_COLOURS[2]
    hair_style: str = "short"
    eyes: Colour = EYE_COLOURS[0]
    top: Colour = (120, 90, 60)
    top_style: int = 0
    """0 crew neck, 1 V neck, 2 jacket over a shirt, 3 hooded."""
    aspect: float = 1.32
    """Half height of the face (crown to chin)."""
    jaw_taper: float = 0.18
    jaw_square: float = 0.3
    eye_size: float = 0.2
    eye_gap: float = 0.4
    brow: float = 0.07
    """Thickness of the eyebrows."""
    nose: float = 0.17
    mouth_v: float = 0.58
    """Height of the mouth as a share of `aspect` below the middle of the face."""
    mouth_width: float = 0.38
    """Half width of the mouth at rest."""
    mouth_open: float = 0.34
    """Height of the gap between the lips at opening 1."""
    lip: float = 0.085
    """Thickness of each lip."""
    lip_red: float = 0.35
    """0 skin-coloured lips, 1 lipstick."""
    jaw_drop: float = 0.55
    """How much of the mouth's opening the chin follows."""
    teeth: float = 0.85
    smile: float = 0.4
    beard: str = "none"
    glasses: str = "none"
    hat: str = "none"
    freckles: float = 0.0
    age: float = 0.2
    """0 smooth, 1 deep folds."""
    light_x: float = -0.5
    """Where the light comes from: -1 left, 1 right."""
    contrast: float = 1.0
    """Strength of the shading: 0 flat."""
    species: str = "cat"
    robot_mouth: str = "slot"
    seed: int = 0
    """For hair strands, freckles and other details without a name."""

    @staticmethod
    def random(rng: np.random.Generator, kinds: tuple[str, ...] = ()) -> Look:
        """Draw a look; about six in ten are shaded humans, the rest cartoons, robots, animals and puppets."""
        u = rng.uniform
        kind = str(rng.choice(kinds)) if kinds else str(rng.choice(KINDS, p=[0.60, 0.16, 0.07, 0.10, 0.07]))
        vivid = tuple(float(c) for c in u(20, 235, 3))
        feminine = rng.random() < 0.5
        hair = _jitter(rng, HAIR_COLOURS[int(rng.integers(len(HAIR_COLOURS)))], 12)
        if kind == "human":
            skin = skin_tone(rng, float(u(0, len(SKIN_TONES) - 1)))
        elif kind == "cartoon" and rng.random() < 0.7:
            skin = skin_tone(rng, float(u(0, len(SKIN_TONES) - 1)))
        elif kind == "animal":
            skin = _jitter(
                rng,
                ((60, 100, 150), (90, 90, 95), (200, 210, 220), (50, 120, 215), (80, 160, 90))[int(rng.integers(5))],
                20,
            )
        elif kind == "robot":
            skin = _jitter(
                rng, ((170, 165, 160), (190, 150, 110), (90, 140, 200), (120, 120, 125))[int(rng.integers(4))], 20
            )
        else:
            skin = vivid
        masculine_beard = BEARDS[int(rng.choice(len(BEARDS), p=[0.4, 0.2, 0.15, 0.12, 0.13]))]
        styles = (
            ("parted", "fringe", "curly", "afro", "bob", "long", "long", "bun", "short") if feminine else HAIR_STYLES
        )
        return Look(
            kind=kind,
            skin=skin,
            hair=vivid if rng.random() < 0.05 else hair,
            hair_style=str(rng.choice(styles)),
            eyes=EYE_COLOURS[int(rng.integers(len(EYE_COLOURS)))],
            top=tuple(float(c) for c in u(15, 235, 3)),  # type: ignore[arg-type]
            top_style=int(rng.integers(4)),
            aspect=float(u(1.18, 1.42)),
            jaw_taper=float(u(0.10, 0.3)),
            jaw_square=float(u(0, 0.5) if feminine else u(0.2, 1.0)),
            eye_size=float(u(0.17, 0.24)) * (1.3 if kind in ("cartoon", "puppet") else 1.0),
            eye_gap=float(u(0.36, 0.44)),
            brow=float(u(0.03, 0.07) if feminine else u(0.05, 0.11)),
            nose=float(u(0.12, 0.22)),
            mouth_v=float(u(0.54, 0.63)),
            mouth_width=float(u(0.31, 0.44)) * (1.5 if kind == "puppet" else 1.0),
            mouth_open=float(u(0.22, 0.42)) * (1.2 if kind in ("puppet", "cartoon") else 1.0),
            lip=float(u(0.05, 0.12)),
            lip_red=float(u(0.2, 1.0) if feminine else u(0.05, 0.35)),
            jaw_drop=float(u(0.3, 0.8)),
            teeth=float(u(0.6, 0.95)),
            smile=float(u(0.1, 0.9)),
            beard="none" if feminine else masculine_beard,
            glasses=GLASSES[int(rng.choice(len(GLASSES), p=[0.72, 0.12, 0.12, 0.04]))],
            hat=HATS[int(rng.choice(len(HATS), p=[0.84, 0.06, 0.06, 0.04]))],
            freckles=float(max(0.0, u(-2, 1))),
            age=float(u(0, 1)),
            light_x=float(u(-1, 1)),
            contrast=float(u(0.5, 1.3)),
            species=str(rng.choice(SPECIES)),
            robot_mouth=str(rng.choice(ROBOT_MOUTHS)),
            seed=int(rng.integers(1 << 31)),
        )


@dataclass(frozen=True)
class HeadLook:
    """All visible traits of one person with a 3-D head; lengths are in half widths of the face unless said."""

    identity: tuple[float, ...] = ()
    """Coefficients of the face model's identity shapes, standard deviations; missing ones are 0, the mean face."""
    skin: Colour = SKIN_TONES[2]
    blotches: float = 0.5
    """0 even skin, 1 uneven."""
    redness: float = 0.4
    freckles: float = 0.0
    gloss: float = 0.3
    """0 powdered, 1 wet."""
    lips: Colour = (95, 95, 165)
    lip_strength: float = 0.6
    """How far the lips' colour differs from the skin's: 0 not at all."""
    hair: Colour = HAIR_COLOURS[2]
    hair_style: str = "short"
    hair_volume: float = 0.5
    hairline: float = 0.0
    """< 0 low, > 0 receding."""
    brows: Colour = HAIR_COLOURS[1]
    brow: float = 0.5
    """Thickness of the eyebrows, 0..1."""
    beard: str = "none"
    eyes: Colour = EYE_COLOURS[0]
    make_up: float = 0.0
    """Lashes and eye shadow."""
    teeth: float = 0.85
    glasses: str = "none"
    glasses_colour: Colour = (30, 28, 28)
    hat: str = "none"
    hat_colour: Colour = (120, 60, 40)
    top: Colour = (120, 90, 60)
    top_second: Colour = (220, 220, 220)
    top_style: int = 0
    """0 crew neck, 1 V neck, 2 jacket over a shirt, 3 stripes, 4 turtle neck."""
    build: float = 0.5
    """Width of the shoulders, 0..1."""
    prop: str = "none"
    """What comes up in front of the chin now and then; see `PROPS`."""
    prop_colour: Colour = (200, 200, 200)
    turn: float = 0.0
    """Where the head points on the whole, radians, > 0 towards the right of the picture: up to profile."""
    tilt: float = 0.0
    """The same up and down, > 0 down."""
    light: tuple[float, float, float] = (-0.5, 0.5, 0.8)
    """Direction towards the key light: right, up, towards the camera."""
    light_colour: Colour = (255, 255, 255)
    ambient: float = 0.5
    """Share of light from all around: 0.2 dramatic, 0.8 overcast."""
    exposure: float = 1.0
    rim: float = 0.0
    """Strength of a light from behind."""
    distance: float = 10.0
    """From the camera; near cameras swell noses."""
    articulation: float = 1.0
    """How far the mouth moves for the same sound."""
    lip_show: float = 0.5
    """How far lips draw back from the teeth, 0..1."""
    asymmetry: float = 0.0
    """> 0: the right of the picture moves more."""
    smile: float = 0.1
    """At rest, 0..1."""
    seed: int = 0
    """For strands, freckles and other details without a name."""

    @property
    def kind(self) -> str:
        """Always `HEAD`; a `Look` has other kinds."""
        return HEAD

    @staticmethod
    def random(rng: np.random.Generator) -> HeadLook:
        """Draw a look."""
        u = rng.uniform

        def choose(names: tuple[str, ...], shares: list[float] | None = None) -> str:
            return str(rng.choice(names, p=shares))

        feminine = rng.random() < 0.5
        tone = float(u(0, len(SKIN_TONES) - 1))
        skin = skin_tone(rng, tone)
        # Fair hair is rare on dark skin; without this, a third of all people would look dyed.
        palest = 4 if tone > 3.5 and rng.random() < 0.85 else len(HAIR_COLOURS)
        hair = _jitter(rng, HAIR_COLOURS[int(rng.integers(palest))], 10)
        grey = rng.random() < 0.12
        if grey:
            hair = _jitter(rng, HAIR_COLOURS[int(rng.integers(7, 9))], 10)
        brows = tuple(0.75 * c for c in hair)
        dyed = rng.random() < 0.05
        natural = tuple(0.62 * s + 0.38 * c for s, c in zip(skin, (62, 58, 150), strict=True))
        painted = rng.random() < (0.5 if feminine else 0.02)
        lips = (float(u(40, 110)), float(u(20, 70)), float(u(130, 215))) if painted else natural
        if feminine:
            styles = ("short", "parted", "swept", "fringe", "curly", "afro", "bob", "long", "bun")
            style = choose(styles, [0.05, 0.08, 0.07, 0.08, 0.1, 0.06, 0.18, 0.26, 0.12])
        else:
            styles = ("bald", "buzz", "short", "parted", "swept", "fringe", "curly", "afro", "long", "fringe_of_hair")
            style = choose(styles, [0.09, 0.13, 0.27, 0.12, 0.1, 0.06, 0.09, 0.04, 0.03, 0.07])
        profile = rng.random() < 0.16  # some are filmed from the side for the whole scene
        turn = float(u(0.55, 1.22)) * (1 if rng.random() < 0.5 else -1) if profile else float(rng.normal(0, 0.16))
        angle, height = float(u(-1.25, 1.25)), float(u(-0.15, 0.95))
        warm = float(rng.normal(0, 0.05))
        return HeadLook(
            identity=tuple(float(c) for c in 0.85 * np.clip(rng.standard_normal(100), -2.2, 2.2)),
            skin=skin,
            blotches=float(u(0.1, 1)),
            redness=float(u(0.1, 0.8)),
            freckles=float(u(0.3, 1)) if rng.random() < (0.3 if tone < 2.5 else 0.06) else 0.0,
            gloss=float(u(0.05, 0.6)),
            lips=lips,
            lip_strength=float(u(0.75, 1.0) if painted else u(0.35, 0.95)),
            hair=tuple(float(c) for c in u(30, 230, 3)) if dyed else hair,  # type: ignore[arg-type]
            hair_style=style,
            hair_volume=float(u(0, 1)),
            hairline=float(u(-0.5, 0.5) if feminine else u(-0.5, 1.2)),
            brows=brows,  # type: ignore[arg-type]
            brow=float(u(0.1, 0.5) if feminine else u(0.35, 1.0)),
            beard="none" if feminine else choose(BEARDS, [0.42, 0.24, 0.14, 0.1, 0.1]),
            eyes=_jitter(rng, EYE_COLOURS[int(rng.integers(2 if tone > 4 else len(EYE_COLOURS)))], 12),
            make_up=float(u(0.3, 1.0)) if feminine and rng.random() < 0.6 else float(u(0, 0.15)),
            teeth=float(u(0.6, 0.98)),
            glasses=choose(GLASSES, [0.70, 0.13, 0.13, 0.04]),
            glasses_colour=tuple(float(c) for c in u(10, 90, 3) * (1 if rng.random() < 0.8 else 2)),  # type: ignore[arg-type]
            hat=choose(HEAD_HATS, [0.82, 0.05, 0.05, 0.04, 0.04]),
            hat_colour=tuple(float(c) for c in u(15, 220, 3)),  # type: ignore[arg-type]
            top=tuple(float(c) for c in u(12, 235, 3)),  # type: ignore[arg-type]
            top_second=tuple(float(c) for c in u(60, 245, 3)),  # type: ignore[arg-type]
            top_style=int(rng.integers(5)),
            build=float(u(0.0, 0.6) if feminine else u(0.3, 1.0)),
            prop=choose(PROPS, [0.84, 0.07, 0.04, 0.05]),
            prop_colour=tuple(float(c) for c in u(20, 240, 3)),  # type: ignore[arg-type]
            turn=turn,
            tilt=float(rng.normal(0.02, 0.07)),
            light=(float(np.sin(angle)), height, float(max(0.25, np.cos(angle)))),
            light_colour=(255 * (1 - warm), 255.0, 255 * (1 + warm)),
            ambient=float(u(0.25, 0.75)),
            exposure=float(u(0.75, 1.2)),
            rim=float(max(0.0, u(-1, 1))),
            distance=float(u(6, 15)),
            articulation=float(u(0.7, 1.2)),
            lip_show=float(u(0.1, 1.0)),
            asymmetry=float(np.clip(rng.normal(0, 0.12), -0.3, 0.3)),
            smile=float(u(0.0, 0.35)) if rng.random() < 0.5 else 0.0,
            seed=int(rng.integers(1 << 31)),
        )


def skin_tone(rng: np.random.Generator, tone: float) -> Colour:
    """A skin colour; `tone` runs from 0, the fairest of `SKIN_TONES`, to its last index."""
    low = min(int(tone), len(SKIN_TONES) - 2)
    part = tone - low
    mixed = np.array(SKIN_TONES[low]) * (1 - part) + np.array(SKIN_TONES[low + 1]) * part
    return _jitter(rng, (float(mixed[0]), float(mixed[1]), float(mixed[2])), 6)


def _jitter(rng: np.random.Generator, colour: Colour, amount: float) -> Colour:
    b, g, r = (float(np.clip(c + rng.uniform(-amount, amount), 0, 255)) for c in colour)
    return b, g, r
