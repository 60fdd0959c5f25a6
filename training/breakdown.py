"""Who an engine fails for: its offsets in windows of two seconds, by size of the face, noise, voice and head pose.

  python breakdown.py --engine ../engines/av-small.toml --footage DIR --unseen unseen.tsv --spots runs/test-spots.json
  python breakdown.py --engine ../engines/av-small.toml --synthetic runs/test-heads

Footage: held-back people, along the trajectories in --spots (made by localise.py); a window is right within 40 ms of
its clip's own offset, read from the clean sound at the middle size. Synthetic scenes: of the truth; they also
know where each head looks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from seehear_training import acoustics, engine, evaluate, footage, spots

SECONDS = 2.0
FACES = (24, 32, 48, 64, 96, 128)
NOISE_DB = (20, 10, 5, 0, -5)


def pitch_hz(sound: NDArray[np.int16]) -> float:
    """Median fundamental of the voiced frames: the peak of the autocorrelation between 70 and 350 Hz."""
    x = sound.astype(np.float32) / 32768
    frames = np.lib.stride_tricks.sliding_window_view(x, 640)[::320] * np.hanning(640).astype(np.float32)
    loud = frames[np.square(frames).mean(1) > 0.1 * np.square(x).mean()]
    power = np.abs(np.fft.rfft(loud, 2048)) ** 2
    lags = np.fft.irfft(power)[:, : 16000 // 70]
    lags /= np.maximum(lags[:, :1], 1e-9)
    first = 16000 // 350
    best = lags[:, first:].argmax(1) + first
    sure = lags[np.arange(len(lags)), best] > 0.4
    return float(np.median(16000 / best[sure])) if sure.any() else 0.0


def noisy(sound: NDArray[np.int16], snr_db: float, seed: int) -> NDArray[np.int16]:
    """With pink noise, `snr_db` below the sound's own level."""
    rng = np.random.default_rng(seed)
    bed = acoustics.noise_bed(rng, "pink", len(sound))
    clean = sound.astype(np.float32) / 32768
    gain = np.sqrt(np.mean(clean**2) / np.mean(bed**2)) * 10 ** (-snr_db / 20)
    mixed = clean + bed * np.float32(gain)
    return np.round(mixed / max(1.0, float(np.abs(mixed).max())) * 32767).astype(np.int16)


def hits(asked: engine.Engine, item: evaluate.Embedded, truth_ms: float) -> list[bool]:
    """Whether each window is right."""
    size = round(25 * SECONDS)
    found = (evaluate.refine(evaluate.curve(item, b, b + size, asked)) for b in item.windows(size, size))
    return [abs(ms - truth_ms) <= 40 for ms in found]


def row(title: str, oks: Iterable[bool]) -> None:
    """One line of the table."""
    print(f"  {title:28} {evaluate.words(evaluate.share(oks))}", flush=True)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", type=Path, required=True, help="manifest (.toml) or checkpoint (.pt)")
    parser.add_argument("--footage", type=Path, nargs="*", default=[], help="folders of video")
    parser.add_argument("--spots", type=Path, nargs="*", default=[], help="trajectories, of localise.py")
    parser.add_argument("--unseen", type=Path, help="table of spans without a visible talker")
    parser.add_argument("--synthetic", type=Path, nargs="*", default=[], help="folders made by make_corpus.py")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded clips (default: %(default)s)")
    o = parser.parse_args()
    if bool(o.footage) != bool(o.spots) or not (o.footage or o.synthetic):
        parser.error("give --footage with --spots, or --synthetic")
    asked = engine.load(o.engine, half=True)
    clips = list(footage.of_split(footage.collect(o.footage, o.cache).clips, "test"))
    places: dict[str, list[spots.Spot]] = {}
    for spot in (s for path in o.spots for s in spots.load(path)):
        places.setdefault(spot.clip, []).append(spot)
    for folder in o.synthetic:
        scenes, known = spots.stored_scenes(folder)
        clips += scenes
        for spot in known:
            places.setdefault(spot.clip, []).append(spot)
    unseen = evaluate.read_unseen(o.unseen) if o.unseen else {}

    def look(clip: footage.Clip, face: float = spots.REFERENCE_FACE) -> evaluate.Embedded:
        item = evaluate.follow(asked, clip, places[clip.name], face)
        return replace(item, unseen=tuple(unseen.get(clip.name, ())))

    usable = [c for c in clips if c.name in places]
    middle = {}
    for k, clip in enumerate(usable):
        print(f"\r{k + 1}/{len(usable)}", end="", file=sys.stderr, flush=True)
        middle[clip.name] = look(clip)
    print(file=sys.stderr)
    truth = {}
    for name, item in middle.items():
        own = evaluate.refine(evaluate.curve(item, 15, item.slots - 15, asked))
        truth[name] = own if item.truth_ms is None else item.truth_ms + asked.zero_ms

    def over(change: Callable[[footage.Clip], evaluate.Embedded]) -> list[bool]:
        return [ok for c in usable for ok in hits(asked, change(c), truth[c.name])]

    print(f"{asked.name}: {len(usable)} clips, windows of {SECONDS:g} s, within 40 ms")
    row("all", over(lambda c: middle[c.name]))
    for face in FACES:
        row(f"face {face} px high", over(lambda c, f=face: look(c, f)))
    for snr in NOISE_DB:

        def spoilt(clip: footage.Clip, snr: float = snr) -> evaluate.Embedded:
            sound = noisy(np.asarray(clip.audio()), snr, 1)
            return replace(middle[clip.name], audio=evaluate.hear(asked, sound))

        row(f"pink noise at {snr} dB", over(spoilt))
    voices = {c.name: pitch_hz(np.asarray(c.audio())) for c in usable}
    for title, low, high in (("voice below 165 Hz", 1, 165), ("voice above 165 Hz", 165, 999)):
        chosen = [c for c in usable if low <= voices[c.name] < high]
        row(f"{title} ({len(chosen)})", [ok for c in chosen for ok in hits(asked, middle[c.name], truth[c.name])])
    turns = {c.name: places[c.name][0].turn_deg for c in usable}
    for low, high in ((0, 15), (15, 30), (30, 50), (50, 90)):
        chosen = [c for c in usable if (t := turns[c.name]) is not None and low <= abs(t) < high]
        if chosen:
            oks = [ok for c in chosen for ok in hits(asked, middle[c.name], truth[c.name])]
            row(f"head turned {low}–{high}° ({len(chosen)})", oks)
    return 0


if __name__ == "__main__":
    sys.exit(main())
