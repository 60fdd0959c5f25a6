"""Write a separation checkpoint as ONNX and manifest, checked against PyTorch, in one run and hop by hop.

python export_separation.py --checkpoint runs/sep/checkpoint.pt --out ../engines --trained "…" --scores "…"
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import numpy as np
import torch

from seehear_training import separation
from seehear_training.engine import sha256

TOLERANCE = 1e-5
"""Of the mask; of the state relative to its largest value, for a memory's cells have no bound."""
NAMES = (("mixture", "embedding", "state"), ("mask", "state_out"))


def examples(net: separation.SepNet, hops: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Two objects in noise that comes and goes."""
    torch.manual_seed(seed)
    swell = 0.05 * (1 + torch.sin(torch.arange(hops) * 0.3))[None, :, None, None]
    mixture = torch.randn(2, hops, 2, separation.BINS) * swell
    embedding = torch.nn.functional.normalize(torch.randn(2, hops, separation.DIM), dim=-1)
    return mixture, embedding, torch.zeros(2, net.state_size)


def write(net: separation.SepNet, path: Path) -> float:
    """Export; returns the largest difference from PyTorch, of one run over all hops and of one run per hop."""
    import onnxruntime as ort

    net.eval()
    part = path.with_name(path.name + ".part")
    torch.onnx.export(
        net,
        examples(net, 7, 0),
        str(part),
        input_names=list(NAMES[0]),
        output_names=list(NAMES[1]),
        dynamic_axes={
            **{name: {0: "S", 1: "T"} for name in ("mixture", "embedding", "mask")},
            **{name: {0: "S"} for name in ("state", "state_out")},
        },
        opset_version=17,
        dynamo=False,
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(part), options)
    worst = 0.0
    for seed, hops in ((1, 1), (2, 40), (3, 220)):
        inputs = examples(net, hops, seed)
        with torch.inference_mode():
            mask, state = (x.numpy() for x in net(*inputs))
        fed = [x.numpy() for x in inputs]
        got = session.run(None, dict(zip(NAMES[0], fed, strict=True)))
        masks, carried = [], fed[2]
        for t in range(hops):
            step = {"mixture": fed[0][:, t : t + 1], "embedding": fed[1][:, t : t + 1], "state": carried}
            one, carried = session.run(None, step)
            masks.append(one)
        for theirs in (got[0], np.concatenate(masks, 1)):
            worst = max(worst, float(np.abs(mask - theirs).max()))
        for theirs in (got[1], carried):
            worst = max(worst, float(np.abs(state - theirs).max() / max(1.0, np.abs(state).max())))
    os.replace(part, path)
    return worst


def manifest(name: str, engine: str, net: separation.SepNet, file: Path, trained: str, scores: str) -> str:
    """The manifest's text."""
    return f'''# {name}. README.md beside this file says what every field means, and what the engine can and can't do.
schema = 1
name = "{name}"
kind = "separation"
engine = "{engine}"      # whose embeddings it takes
dim = {separation.DIM}
rate = {separation.RATE}           # Hz
window = {separation.WINDOW}           # samples; periodic Hann's square root, analysis and synthesis
hop = {separation.HOP}
state = {net.state_size}

[network]
file = "{file.name}"
sha256 = "{sha256(file)}"
mixture = "mixture"      # f32 [S, T, 2, {separation.BINS}]: mixture's spectrum, real and imaginary; samples in -1..1
embedding = "embedding"  # f32 [S, T, {separation.DIM}]: object's unit vector at the window's centre; zeros: not visible
state_in = "state"       # f32 [S, {net.state_size}]: zeros at the start
mask = "mask"            # f32 [S, T, 2, {separation.BINS}]: complex, magnitude at most 1
state_out = "state_out"  # f32 [S, {net.state_size}]

[provenance]
trained = "{trained}"
licence = "MIT OR Apache-2.0"
scores = "{scores}"
'''


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--checkpoint", type=Path, help="of train_separation.py; none: random weights, to try a runtime"
    )
    parser.add_argument("--size", default="small", choices=sorted(separation.SIZES), help="of random weights")
    parser.add_argument("--name", default="sep-small", help="of the engine and its file (default: %(default)s)")
    parser.add_argument("--engine", default="av-small", help="whose embeddings it takes (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("../engines"))
    parser.add_argument("--trained", required=True, help="who trained it, on what")
    parser.add_argument("--scores", required=True, help="as measured, and how")
    o = parser.parse_args()
    if o.checkpoint:
        net, _ = separation.load(o.checkpoint)
    else:
        torch.manual_seed(1)
        net = separation.SepNet(separation.SIZES[o.size]).eval()
    if net.size.voices != 1:
        parser.error(f"{o.checkpoint} separates {net.size.voices} voices unguided: a baseline, no engine")
    o.out.mkdir(parents=True, exist_ok=True)
    file = o.out / f"{o.name}.onnx"
    worst = write(net, file)
    print(f"{file}: PyTorch and ONNX Runtime differ by at most {worst:.1e}, in one run or hop by hop", file=sys.stderr)
    if not worst < TOLERANCE:
        print(f"{file}: more than {TOLERANCE}", file=sys.stderr)
        return 1
    path = o.out / f"{o.name}.toml"
    part = path.with_suffix(".part")
    part.write_text(manifest(o.name, o.engine, net, file, o.trained, o.scores))
    os.replace(part, path)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
