"""Measure separation on people never trained on; see seehear_training/sep_measure.py.

  python evaluate_separation.py --engine ../engines/sep-small.toml --voices runs/voices/train-test.npz \\
      --blind runs/blind/checkpoint.pt
  python evaluate_separation.py --checkpoint runs/sep/checkpoint.pt --voices runs/voices/test-drawn.npz --trials 50

Each file of voices (prepare_separation.py) is a test set of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from seehear_training import engine, sep_data, sep_measure, separation
from seehear_training.sep_mix import Mixer, Mixture

HOPS_A_SECOND = separation.RATE / separation.HOP


class Onnx:
    """An exported engine, one thread."""

    def __init__(self, manifest: Path) -> None:
        """Checks the network's digest."""
        import onnxruntime as ort

        self.facts: dict[str, Any] = tomllib.loads(manifest.read_text())
        network = self.facts["network"]
        file = manifest.parent / network["file"]
        if engine.sha256(file) != network["sha256"]:
            raise ValueError(f"{file} is not the file that {manifest} describes: its SHA-256 differs")
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(str(file), options)
        self._inputs = [network[k] for k in ("mixture", "embedding", "state_in")]

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Mixture, embedding, state to mask and next state."""
        return self._session.run(None, dict(zip(self._inputs, inputs, strict=True)))

    def __call__(self, mixture: sep_measure.Float, guide: sep_measure.Float) -> sep_measure.Float:
        """See `sep_measure.Separator`."""
        import torch

        spectrum = separation.stft(torch.from_numpy(mixture))[None]
        state = np.zeros((1, self.facts["state"]), np.float32)
        mask, _ = self.run(spectrum.numpy(), guide[None, : spectrum.shape[1]], state)
        return separation.istft(separation.apply(torch.from_numpy(mask), spectrum))[0].numpy()

    def cost(self, hops: int = 500) -> tuple[float, float]:
        """ms a hop, one speaker, hop by hop: median and 99th percentile."""
        rng = np.random.default_rng(1)
        mixture = rng.standard_normal((1, 1, 2, separation.BINS), np.float32)
        embedding = rng.standard_normal((1, 1, separation.DIM), np.float32)
        state, took = np.zeros((1, self.facts["state"]), np.float32), []
        for _ in range(hops):
            began = time.perf_counter()
            _, state = self.run(mixture, embedding, state)
            took.append(1000 * (time.perf_counter() - began))
        return float(np.median(took[20:])), float(np.percentile(took[20:], 99))


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", type=Path, nargs="*", default=[], help="manifests of separation engines")
    parser.add_argument("--checkpoint", type=Path, nargs="*", default=[], help="of train_separation.py")
    parser.add_argument("--blind", type=Path, help="the baseline's checkpoint")
    parser.add_argument("--voices", type=Path, nargs="+", required=True, help="held-back, of prepare_separation.py")
    parser.add_argument("--seconds", type=float, default=5.0, help="of a mixture (default: %(default)s)")
    parser.add_argument("--trials", type=int, default=60, help="mixtures of each kind (default: %(default)s)")
    parser.add_argument("--counts", default="2,3", help="voices in a mixture (default: %(default)s)")
    parser.add_argument("--no-estoi", action="store_true", help="without pystoi: quicker")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="a line for each row")
    o = parser.parse_args()
    estoi = None
    if not o.no_estoi:
        from pystoi import stoi as estoi
    separators: dict[str, sep_measure.Separator] = {}
    for path in o.engine:
        onnx = Onnx(path)
        separators[onnx.facts["name"]] = onnx
        middle, slow = onnx.cost()
        share = middle * HOPS_A_SECOND / 1000
        print(
            f"{onnx.facts['name']}: {middle:.2f} ms a hop of 16 ms (p99 {slow:.2f}), {share:.3f} cores a speaker",
            flush=True,
        )
    for path in o.checkpoint:
        net = separation.load(path)[0]
        separators[f"{path.parent.name}/{path.stem}"] = lambda m, g, net=net: separation.separate(net, m, g)[0]
    baseline = separation.load(o.blind)[0] if o.blind else None
    for path in o.voices:
        voices = sep_data.load(path)
        people = len({v.person for v in sep_measure.long_enough(voices, o.seconds)})
        print(f"{path.stem}: {people} people, {o.trials} mixtures of {o.seconds:g} s of each kind", flush=True)
        for count in map(int, o.counts.split(",")):
            drawn = sep_measure.mixtures(voices, o.seconds, count, o.trials, o.seed)
            tell(f"{count} voices", separators, baseline, drawn, estoi, o.json)
            for name, separator in separators.items():
                quiet(f"{count} voices", name, separator, voices, drawn, o)
    return 0


def tell(
    title: str,
    separators: dict[str, sep_measure.Separator],
    baseline: separation.SepNet | None,
    drawn: list[Mixture],
    estoi: Callable[..., float] | None,
    machine: bool,
) -> None:
    """The rows of one kind of mixture."""
    rows = {name: sep_measure.guided(s, drawn, estoi) for name, s in separators.items()}
    if baseline is not None:
        rows["blind, best order"] = sep_measure.blind(baseline, drawn, estoi)
    rows["ideal mask"] = sep_measure.bound(drawn, estoi)
    for name, trials in rows.items():
        f = sep_measure.figures(trials)
        if machine:
            print(json.dumps({"mixture": title, "separator": name, **f}), flush=True)
            continue
        text = (
            f"  {title}, {name:22} SI-SDR +{f['mean']:.2f} dB (median {f['median']:.2f}, after 1 s {f['settled']:.2f}"
        )
        text += f", worse {f['worse']:.0%})"
        if "estoi" in f:
            text += f", ESTOI {f['estoi_before']:.3f} → {f['estoi']:.3f}"
        print(text, flush=True)
    for name, separator in separators.items():
        gain = np.array(sep_measure.swapped(separator, drawn))
        print(
            f"  {title}, {name:22} better by its own face than by another's: "
            f"{(gain > 0).mean():.0%}, {gain.mean():.2f} dB",
            flush=True,
        )


def quiet(
    title: str,
    name: str,
    separator: sep_measure.Separator,
    voices: list[sep_data.Voice],
    drawn: list[Mixture],
    o: argparse.Namespace,
) -> None:
    """Who is not heard: idle faces, and lips that say something else."""
    mixer = Mixer(voices, sep_measure.recipe(o.seconds, 1), o.seed)
    rng = np.random.default_rng(o.seed)
    kinds = {"lips of somebody else": [_stranger(m, drawn, k) for k, m in enumerate(drawn)]}
    if mixer.idle:
        kinds["idle face"] = [mixer.idle_guide(rng) for _ in drawn]
    for kind, guides in kinds.items():
        left = np.array(sep_measure.silence(separator, drawn, guides))
        text = f"median {np.median(left):.1f} dB down, {(left >= 20).mean():.0%} at least 20 dB"
        print(f"  {title}, {name:22} silent, {kind}: {text}", flush=True)


def _stranger(mixture: Mixture, drawn: list[Mixture], k: int) -> sep_measure.Float:
    """The face of somebody in another mixture who is not in this one."""
    for other in [*drawn[k + 1 :], *drawn[:k]]:
        for person, guide in zip(other.people, other.guides, strict=True):
            if person not in mixture.people:
                return guide
    raise ValueError("too few people: everybody is in every mixture")


if __name__ == "__main__":
    sys.exit(main())
