#!/usr/bin/env python3
"""Make the repository's demo clip: two people, one voice at a time, and one voice from nobody in the picture.

Writes tests/media/demo.mp4 (1280x720, 25 fps, 20 s) and tests/media/demo.truth.json. While one speaks the other chews
or mutters, so that motion alone does not tell. The same program, library versions and machine type give the same
pictures.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2

from seehear_training.looks import Look
from seehear_training.media import write_video
from seehear_training.render import render
from seehear_training.scenes import OFF_SCREEN, Idle, Line, Person, Picture, Scene, Shot, Sound
from seehear_training.speech import Voice

WIDTH, HEIGHT, FPS, DURATION_S = 1280, 720, 25.0, 20.0
DEFAULT_OUT = Path(__file__).resolve().parent.parent / "tests" / "media"

WOMAN, MAN = 0, 1
VOICES = {
    WOMAN: Voice("en-us", "Annie", rate_wpm=180, pitch=52, pitch_range=60),
    MAN: Voice("en-gb-x-rp", "m3", rate_wpm=174, pitch=38, pitch_range=55),
    OFF_SCREEN: Voice("en-us", "f5", rate_wpm=180, pitch=35, pitch_range=45, formant_scale=0.92),
}
# Who, what, and the pause before it in seconds.
SCRIPT: tuple[tuple[int, str, float], ...] = (
    (WOMAN, "Hello! This program looks and listens, and finds who is speaking.", 0.4),
    (MAN, "It needs no face detector. It compares picture and sound.", 0.35),
    (WOMAN, "Now watch my friend. His mouth moves too, but the voice is mine.", 0.35),
    (MAN, "We stopped for a moment. Now I am the one you hear.", 1.2),
    (OFF_SCREEN, "And my voice comes from nobody in this picture.", 0.4),
)


def demo_scene() -> Scene:
    """The clip's specification."""
    lines, time_s = [], 0.0
    for who, text, pause_s in SCRIPT:
        line = Line(who, time_s + pause_s, text, VOICES[who])
        lines.append(line)
        time_s = line.end_s
    if not DURATION_S - 1.5 < time_s < DURATION_S:
        raise RuntimeError(f"the script ends at {time_s:.2f} s; the clip is {DURATION_S:g} s long: change SCRIPT")
    woman = Look(
        skin=(158, 186, 230), hair=(32, 46, 84), hair_style="long", eyes=(70, 110, 70), top=(122, 118, 32),
        top_style=1, aspect=1.30, jaw_taper=0.20, jaw_square=0.15, eye_size=0.215, brow=0.045, nose=0.15, mouth_v=0.585,
        mouth_width=0.37, mouth_open=0.38, lip=0.09, lip_red=0.75, jaw_drop=0.6, smile=0.55, age=0.0, light_x=0.5,
        contrast=0.9, seed=3,
    )  # fmt: skip
    man = Look(
        skin=(78, 110, 165), hair=(24, 24, 28), hair_style="short", eyes=(35, 50, 75), top=(96, 58, 40),
        top_style=2, aspect=1.32, jaw_taper=0.14, jaw_square=0.7, eye_size=0.195, brow=0.085, nose=0.19, mouth_v=0.59,
        mouth_width=0.39, mouth_open=0.38, lip=0.085, lip_red=0.3, jaw_drop=0.6, smile=0.45, beard="stubble",
        glasses="round", age=0.25, light_x=-0.5, contrast=0.9, seed=8,
    )  # fmt: skip
    turns = {who: [(x.start_s, x.end_s) for x in lines if x.who == who] for who in VOICES}
    others = turns[OFF_SCREEN][0]
    people = (
        Person(
            look=woman, cell=(0, 0, 640, 720), x=318, y=325, half_width_px=134, voice=VOICES[WOMAN], calm=0.8, yaw=0.13,
            seed=11, effort=1.1,
            idles=(
                Idle(*turns[MAN][0], "lively"),
                Idle(*turns[MAN][1], "chew"),
                Idle(*others, "lively", 1.2),
            ),
        ),
        Person(
            look=man, cell=(640, 0, 640, 720), x=962, y=310, half_width_px=136, voice=VOICES[MAN], calm=0.8, yaw=-0.13,
            seed=12, effort=1.1,
            idles=(
                Idle(*turns[WOMAN][0], "lively"),
                Idle(*turns[WOMAN][1], "mutter", 0.9),
                Idle(*others, "smile", 0.7),
            ),
        ),
    )  # fmt: skip
    return Scene(
        seed=20,
        width=WIDTH,
        height=HEIGHT,
        fps=FPS,
        duration_s=DURATION_S,
        people=people,
        lines=tuple(lines),
        shots=(Shot(0.0, "bokeh", 100, (WOMAN, MAN)),),
        picture=Picture(noise=0.8, gamma=0.95),
        sound=Sound(level_db=-22.0, decay_s=0.25, wetness=0.15, noise="pink", noise_db=-38.0),
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder to write to (default: tests/media)")
    parser.add_argument("--crf", type=int, default=23, help="H.264 quality, lower is better and larger (default: 23)")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    rendering = render(demo_scene())
    video = arguments.out / "demo.mp4"
    write_video(video, rendering.frames(), rendering.audio, (WIDTH, HEIGHT), FPS, crf=arguments.crf, preset="slow")
    truth = arguments.out / "demo.truth.json"
    truth.write_text(json.dumps(rendering.truth(), separators=(",", ":")) + "\n")
    print(f"{video}: {video.stat().st_size / 1e6:.2f} MB; {truth}")


if __name__ == "__main__":
    main()
