"""What an engine sees and hears of every voice, once, for train_separation.py and evaluate_separation.py.

  python prepare_separation.py --engine ../engines/av-small.toml --out runs/voices --footage DIR --cache runs/cache \\
      --spots runs/spots.json --unseen FILE --split train
  python prepare_separation.py --engine ../engines/av-small.toml --out runs/voices --scenes runs/heads --seconds 8 \\
      --people 1 --heads 0.9 --face-model FILE --voices DIR
  python prepare_separation.py --engine ../engines/av-small.toml --out runs/voices --speech DIR --cache runs/speech

One file for each folder, OUT/NAME.npz; what is there already is kept. Scenes are made again from their seeds: give the
options of make_corpus.py with which they were made.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from seehear_training import engine, evaluate, footage, sep_data, spots
from seehear_training.heads import FaceModel
from seehear_training.recordings import Recordings
from seehear_training.render import render
from seehear_training.scenes import Scene


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", type=Path, required=True, help="manifest or checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="folder for the voices")
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"), help="decoded files (default: %(default)s)")
    parser.add_argument("--footage", type=Path, help="folder of video, one talker a file")
    parser.add_argument("--spots", type=Path, nargs="*", default=[], help="where in footage they are, of localise.py")
    parser.add_argument("--unseen", type=Path, help="table of spans without a visible talker: file, begin_s, end_s")
    parser.add_argument("--split", default="train", choices=("train", "test"), help="of footage (default: %(default)s)")
    parser.add_argument("--speech", type=Path, help="folder of recorded voices")
    parser.add_argument("--scenes", type=Path, help="folder made by make_corpus.py, with its options:")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--people", type=int)
    parser.add_argument("--heads", type=float, default=0.0)
    parser.add_argument("--face-model", type=Path)
    parser.add_argument("--voices", type=Path)
    parser.add_argument("--voices-cache", type=Path, help="default: .voices in --scenes")
    o = parser.parse_args()
    asked = engine.load(o.engine)
    if o.footage:
        _keep(o.out, f"{o.footage.name}-{o.split}", _footage(asked, o))
    if o.scenes:
        _keep(o.out, o.scenes.name, _scenes(asked, o))
    if o.speech:
        _keep(o.out, f"speech-{o.speech.name}", lambda: sep_data.of_recordings(asked, Recordings(o.speech, o.cache)))
    return 0


def _keep(out: Path, name: str, make) -> None:  # noqa: ANN001
    path = out / f"{name}.npz"
    if path.is_file():
        print(f"{path}: kept", file=sys.stderr)
        return
    voices = make()
    sep_data.save(out, voices, name)
    kinds = sorted({v.kind for v in voices})
    counts = ", ".join(f"{sum(v.kind == k for v in voices)} {k}" for k in kinds)
    minutes = sum(v.slots for v in voices) / footage.FPS / 60
    print(f"{path}: {len(voices)} voices ({counts}), {minutes:.1f} min", flush=True)


def _footage(asked: engine.Engine, o: argparse.Namespace):  # noqa: ANN202
    def make() -> list[sep_data.Voice]:
        found = footage.collect([o.footage], o.cache)
        for name, why in found.skipped:
            print(f"skipped {name}: {why}", file=sys.stderr)
        places: dict[str, list[spots.Spot]] = {}
        for path in o.spots:
            for spot in spots.load(path):
                places.setdefault(spot.clip, []).append(spot)
        unseen = evaluate.read_unseen(o.unseen) if o.unseen else {}
        out = []
        for clip in footage.of_split(found.clips, o.split):
            if clip.name not in places:
                print(f"left out {clip.name}: no spots", file=sys.stderr)
                continue
            voice = sep_data.of_clip(asked, clip, places[clip.name], unseen.get(clip.name, ()))
            print(
                f"{voice.name} {voice.agreement:.3f} at {voice.offset_ms:+.0f} ms, cell {voice.best}", file=sys.stderr
            )
            out.append(voice)
        return out

    return make


def _scenes(asked: engine.Engine, o: argparse.Namespace):  # noqa: ANN202
    def make() -> list[sep_data.Voice]:
        model = FaceModel.load(o.face_model) if o.face_model else None
        spoken = Recordings(o.voices, o.voices_cache or o.scenes / ".voices") if o.voices else None
        out = []
        clips, _ = spots.stored_scenes(o.scenes)
        for k, clip in enumerate(clips):
            seed = int(json.loads((clip.folder / "clip.json").read_text())["source"].split()[1])
            height, width = clip.video().shape[1:]
            scene = Scene.random(
                seed,
                duration_s=o.seconds,
                size=(width, height),
                people=o.people,
                heads=o.heads if model else 0.0,
                recordings=spoken,
            )
            out += sep_data.of_scene(asked, clip, render(scene, model))
            print(f"\r{k + 1}/{len(clips)} {clip.name}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        return out

    return make


if __name__ == "__main__":
    sys.exit(main())
