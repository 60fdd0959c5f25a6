#!/usr/bin/env python3
"""Render synthetic talking scenes with exact truth.

Each scene is a clip (scene-NNNNN.mp4) and its truth (scene-NNNNN.truth.json, format in TRUTH.md): who is where, who is
heard when, and by how much the sound is late. Scene NNNNN is drawn from seed S + NNNNN, so a larger --count only adds
scenes, and any one of them can be made again alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache, partial
from pathlib import Path

import cv2
import numpy as np

from seehear_training.heads import FaceModel, HeadsUnavailable
from seehear_training.looks import KINDS
from seehear_training.media import MediaError, write_video, write_wav
from seehear_training.recordings import Recordings
from seehear_training.render import render
from seehear_training.scenes import OFF_SCREEN, Scene
from seehear_training.speech import SpeechUnavailable

EXAMPLES = """\
examples:
  make_scenes.py --out scenes --count 20
      20 scenes of 10 s at 256x144, enough to look at
  make_scenes.py --out train --count 2000 --seed 100000 --jobs 4
      a training set; keep seed ranges of training and evaluation apart
  make_scenes.py --out sync --count 8 --people 1 --offset-ms 120
      one talker each, the sound 120 ms late: `seehear sync` should answer 120
  make_scenes.py --out sync --count 50 --random-offset-ms 400
      another offset, within +-400 ms, for every scene; the truth says which
  make_scenes.py --out sep --count 10 --people 2 --stems
      with every heard voice also alone, as scene-NNNNN.src-K.wav, and off-screen voices as .src-off.wav
  make_scenes.py --out toons --count 10 --kind cartoon --kind puppet --size 1280x720
      only drawn and felt faces, in HD
  make_scenes.py --out real --count 200 --voices ~/speech
      most people speak with the voices recorded in ~/speech, their lips moved by an estimate from the sound
  make_scenes.py --out heads --count 200 --face-model ict_face.npz
      most people have 3-D heads; README.md says how to make the file
"""


def parse_size(text: str) -> tuple[int, int]:
    """'1280x720' to (1280, 720)."""
    try:
        width, height = (int(part) for part in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected WIDTHxHEIGHT, for example 256x144") from None
    if width < 32 or height < 32 or width % 2 or height % 2:
        raise argparse.ArgumentTypeError(f"{text}: width and height must be even and at least 32")
    return width, height


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write to; made if missing")
    parser.add_argument("--count", type=int, default=10, help="number of scenes (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first scene (default: 0)")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a scene (default: 10)")
    parser.add_argument("--size", type=parse_size, default=(256, 144), metavar="WxH", help="picture (default: 256x144)")
    parser.add_argument("--fps", type=float, default=25.0, help="frames per second (default: 25)")
    parser.add_argument(
        "--people", type=int, choices=range(1, 7), metavar="N", help="1..6 in each scene (default: drawn)"
    )
    parser.add_argument("--kind", action="append", choices=KINDS, help="only this kind of face; may be repeated")
    parser.add_argument("--face-model", type=Path, metavar="FILE", help="3-D heads from this .npz; see README.md")
    parser.add_argument(
        "--heads", type=float, metavar="SHARE", help="of the people have 3-D heads (default: 0.8 with --face-model)"
    )
    parser.add_argument(
        "--voices", type=Path, metavar="DIR", help="recordings to speak with, any format; no transcripts"
    )
    parser.add_argument("--voices-share", type=float, default=0.7, metavar="S", help="of the people do (default: 0.7)")
    parser.add_argument(
        "--voices-cache", type=Path, metavar="DIR", help="decoded recordings, for reuse (default: OUT/.voices)"
    )
    offset = parser.add_mutually_exclusive_group()
    offset.add_argument("--offset-ms", type=float, default=0.0, help="delay the sound; > 0: audio late (default: 0)")
    offset.add_argument("--random-offset-ms", type=float, metavar="MAX", help="draw each offset from -MAX..MAX")
    parser.add_argument("--container", choices=("mp4", "mkv"), default="mp4", help="file format (default: mp4)")
    parser.add_argument("--crf", type=int, default=20, help="H.264 quality, lower is better and larger (default: 20)")
    parser.add_argument("--stems", action="store_true", help="also write each voice alone, 16 kHz WAV")
    parser.add_argument("--jobs", type=int, default=1, help="scenes rendered at once (default: 1)")
    arguments = parser.parse_args(argv)
    if arguments.count < 1 or arguments.seconds <= 0 or arguments.fps <= 0 or arguments.jobs < 1 or arguments.seed < 0:
        parser.error("--count, --seconds, --fps and --jobs must be positive, --seed not negative")
    if not 0 <= arguments.voices_share <= 1:
        parser.error(f"--voices-share {arguments.voices_share}: expected 0 to 1")
    if arguments.heads is None:
        arguments.heads = 0.8 if arguments.face_model else 0.0
    if not 0 <= arguments.heads <= 1:
        parser.error(f"--heads {arguments.heads}: expected 0 to 1")
    if arguments.heads > 0 and not arguments.face_model:
        parser.error("--heads needs --face-model FILE; README.md says how to make one")
    arguments.voices_cache = arguments.voices_cache or arguments.out / ".voices"
    return arguments


@lru_cache(maxsize=1)
def recordings(folder: Path, cache: Path) -> Recordings:
    """The voices, listed once per process."""
    return Recordings(folder, cache)


@lru_cache(maxsize=1)
def face_model(path: Path) -> FaceModel:
    """The model, loaded once per process."""
    return FaceModel.load(path)


def make_scene(arguments: argparse.Namespace, number: int) -> float:
    """Render scene `number` to files; returns the CPU seconds it took in this process."""
    cv2.setNumThreads(1)  # scenes in parallel beat threads within one
    begin = time.process_time()
    seed = arguments.seed + number
    offset_ms = arguments.offset_ms
    if arguments.random_offset_ms is not None:
        limit = arguments.random_offset_ms
        offset_ms = round(float(np.random.default_rng([seed, 77]).uniform(-limit, limit)), 1)
    scene = Scene.random(
        seed,
        duration_s=arguments.seconds,
        size=arguments.size,
        fps=arguments.fps,
        people=arguments.people,
        offset_ms=offset_ms,
        kinds=tuple(arguments.kind or ()),
        recordings=recordings(arguments.voices, arguments.voices_cache) if arguments.voices else None,
        recorded_share=arguments.voices_share,
        heads=arguments.heads,
    )
    rendering = render(scene, face_model(arguments.face_model) if arguments.face_model else None)
    stem = arguments.out / f"scene-{number:05d}"
    clip = stem.with_suffix("." + arguments.container)
    write_video(clip, rendering.frames(), rendering.audio, arguments.size, arguments.fps, crf=arguments.crf)
    if arguments.stems:
        for who, voice in rendering.voices.items():
            name = "off" if who == OFF_SCREEN else str(who)
            write_wav(stem.with_name(f"{stem.name}.src-{name}.wav"), voice)
    # The truth comes last and whole: where it is, the clip is too.
    part = stem.with_name(f".{stem.name}.truth.part")
    part.write_text(json.dumps(rendering.truth(), separators=(",", ":")) + "\n")
    os.replace(part, stem.with_name(f"{stem.name}.truth.json"))
    return time.process_time() - begin


def main() -> int:
    """Run; returns the exit code."""
    arguments = parse_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    begin, cpu_s = time.monotonic(), 0.0
    job = partial(make_scene, arguments)
    try:
        if arguments.voices:
            print(recordings(arguments.voices, arguments.voices_cache).summary(), file=sys.stderr)
        with ProcessPoolExecutor(arguments.jobs) as pool:
            for done, seconds in enumerate(pool.map(job, range(arguments.count)), 1):
                cpu_s += seconds
                left_s = (time.monotonic() - begin) / done * (arguments.count - done)
                print(
                    f"\r{done}/{arguments.count} scenes, about {left_s:.0f} s left ",
                    end="",
                    file=sys.stderr,
                    flush=True,
                )
    except (HeadsUnavailable, MediaError, SpeechUnavailable) as error:
        print(f"\nmake_scenes: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nmake_scenes: stopped; the scenes that have a truth file are whole", file=sys.stderr)
        return 1
    media_s = arguments.count * arguments.seconds
    print(
        f"\n{arguments.out}: {arguments.count} scenes, {media_s:.0f} s; {cpu_s / media_s:.3f} s CPU per second of scene"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
