"""Dense flow: this crate against OpenCV's DISOpticalFlow, accuracy and CPU time side by side.

    cargo build --release -p seehear --example flow
    python benches/flow_peer.py target/release/examples/flow FOLDER_OF_VIDEOS [--ours NAME=CONFIG_JSON ...]

Needs numpy and opencv-python(-headless), which are no dependency of the project. Prints a Markdown table: mean
end-point error (px) of synthetic pairs of known flow, over all pixels visible in both pictures; mean absolute difference
(grey levels) of real pairs when the second picture is warped back onto the first; CPU milliseconds of one 480x270
pair on one thread, the median of rounds in which all methods take turns.
"""

import argparse
import json
import random
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT = 480, 270
PRESETS = {
    "OpenCV ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "OpenCV fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "OpenCV medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}


def texture(rng, w, h):
    """Random detail at many scales, as pictures have: each octave half as strong per halved size."""
    out = np.zeros((h, w), np.float32)
    for octave in range(1, 7):
        s = 2**octave
        noise = rng.standard_normal((h // s + 3, w // s + 3)).astype(np.float32)
        out += s**0.7 * cv2.resize(noise, None, fx=s, fy=s, interpolation=cv2.INTER_CUBIC)[:h, :w]
    out -= out.mean()
    return np.clip(128 + 45 * out / out.std(), 0, 255)


def grid():
    x, y = np.meshgrid(np.arange(WIDTH, dtype=np.float32), np.arange(HEIGHT, dtype=np.float32))
    return x, y


def sample(picture, x, y, margin):
    return cv2.remap(picture, x + margin, y + margin, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def noisy(rng, picture):
    """What a camera adds: one grey level of noise, eight bits."""
    return np.clip(picture + rng.standard_normal(picture.shape) + 0.5, 0, 255).astype(np.uint8)


def smooth_case(rng, inverse, flow):
    """A pair of one moving texture. `inverse` maps places of the second picture to the first's, `flow` the other way."""
    m = 64
    t = texture(rng, WIDTH + 2 * m, HEIGHT + 2 * m)
    x, y = grid()
    first, second = sample(t, x, y, m), sample(t, *inverse(x, y), m)
    u, v = flow(x, y)
    seen = (x + u >= 0) & (x + u <= WIDTH - 1) & (y + v >= 0) & (y + v <= HEIGHT - 1)
    return noisy(rng, first), noisy(rng, second), u + 0 * x, v + 0 * y, seen


def translation(rng, dx, dy):
    dx, dy = np.float32(dx), np.float32(dy)
    return smooth_case(rng, lambda x, y: (x - dx, y - dy), lambda x, y: (dx, dy))


def affine(rng, degrees, zoom):
    a = zoom * np.cos(np.radians(degrees)), zoom * np.sin(np.radians(degrees))
    matrix = np.array([[a[0], -a[1]], [a[1], a[0]]], np.float32)
    back = np.linalg.inv(matrix)
    cx, cy = WIDTH / 2, HEIGHT / 2

    def by(m):
        return lambda x, y: (
            m[0, 0] * (x - cx) + m[0, 1] * (y - cy) + cx,
            m[1, 0] * (x - cx) + m[1, 1] * (y - cy) + cy,
        )

    return smooth_case(rng, by(back), lambda x, y: (by(matrix)(x, y)[0] - x, by(matrix)(x, y)[1] - y))


def waves(rng):
    """A smooth non-rigid field: up to 4 px, over 150 px."""
    def field(x, y):
        return 3 * np.sin(x / 24) * np.cos(y / 40) + 1, 3 * np.cos(x / 35 + 1) * np.sin(y / 28)

    def inverse(x, y):
        px, py = x, y
        for _ in range(30):
            u, v = field(px, py)
            px, py = x - u, y - v
        return px, py

    return smooth_case(rng, inverse, field)


def layers(rng, back, front):
    """A disc moves over a background that moves otherwise; what it covers is not scored."""
    m = 64
    tb, tf = texture(rng, WIDTH + 2 * m, HEIGHT + 2 * m), texture(rng, WIDTH + 2 * m, HEIGHT + 2 * m)
    x, y = grid()
    cx, cy, r = WIDTH * 0.45, HEIGHT * 0.5, 70

    def alpha(x, y):
        return np.clip(r - np.hypot(x - cx, y - cy) + 0.5, 0, 1)

    def mix(a, f, b):
        return a * f + (1 - a) * b

    a0, a1 = alpha(x, y), alpha(x - front[0], y - front[1])
    first = mix(a0, sample(tf, x, y, m), sample(tb, x, y, m))
    moved = [sample(t, x - np.float32(d[0]), y - np.float32(d[1]), m) for t, d in ((tf, front), (tb, back))]
    second = mix(a1, *moved)
    inside = a0 > 0.5
    u, v = (np.where(inside, front[k], back[k]).astype(np.float32) for k in (0, 1))
    tx, ty = x + u, y + v
    seen = (tx >= 0) & (tx <= WIDTH - 1) & (ty >= 0) & (ty <= HEIGHT - 1)
    seen &= inside | (alpha(tx - front[0], ty - front[1]) < 0.5)
    return noisy(rng, first), noisy(rng, second), u, v, seen


def synthetic(seed):
    rng = np.random.default_rng(seed)
    return {
        "still": [translation(rng, 0, 0)],
        "shift 0.3–3": [translation(rng, 0.3, -0.4), translation(rng, -1.7, 1.2), translation(rng, 3.0, 0.5)],
        "shift 6–12": [translation(rng, 6.4, -2.0), translation(rng, -9.0, 3.7), translation(rng, 11.6, 2.5)],
        "rotation": [affine(rng, 1.5, 1.0), affine(rng, -3.0, 1.0)],
        "zoom": [affine(rng, 0, 1.03), affine(rng, 0, 0.96)],
        "waves": [waves(rng), waves(rng)],
        "layers": [layers(rng, (1.3, 0.4), (-4.5, 2.0)), layers(rng, (-2.0, 0.0), (7.0, 3.0))],
    }


def real_pairs(folder, count, seed):
    """Frames four apart (so that something moves) of as many videos."""
    videos = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in {".mp4", ".mkv", ".mov", ".webm", ".avi"})
    random.Random(seed).shuffle(videos)
    pairs = []
    for path in videos:
        capture = cv2.VideoCapture(str(path))
        frames = []
        while len(frames) < 45:
            ok, frame = capture.read()
            if not ok:
                break
            frames.append(frame)
        capture.release()
        if len(frames) < 45:
            continue
        pair = [
            cv2.resize(cv2.cvtColor(f, cv2.COLOR_BGR2GRAY), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
            for f in (frames[40], frames[44])
        ]
        if np.abs(pair[0].astype(int) - pair[1]).mean() > 1:
            pairs.append(pair)
        if len(pairs) == count:
            break
    return pairs


def warp_error(first, second, flow):
    x, y = grid()
    warped = cv2.remap(second, x + flow[0], y + flow[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.abs(warped.astype(np.float32) - first).mean()


class Ours:
    def __init__(self, program, config, folder, pairs):
        self.command = [program, str(WIDTH), str(HEIGHT), f"{folder}/pairs", f"{folder}/flow", config]
        np.stack([np.stack(p) for p in pairs]).tofile(f"{folder}/pairs")
        self.out = f"{folder}/flow"

    def flows(self):
        subprocess.run([*self.command, "0"], check=True, capture_output=True)
        return np.fromfile(self.out, "<f4").reshape(-1, 2, HEIGHT, WIDTH)

    def round(self):
        run = subprocess.run([*self.command, "6"], check=True, capture_output=True, text=True)
        return float(run.stdout)


class Peer:
    def __init__(self, preset, pairs):
        self.flow, self.pairs = cv2.DISOpticalFlow_create(preset), pairs

    def flows(self):
        return [self.flow.calc(a, b, None).transpose(2, 0, 1) for a, b in self.pairs]

    def round(self):
        begin = time.process_time()
        for a, b in self.pairs:
            for _ in range(3):
                self.flow.calc(a, b, None)
                self.flow.calc(b, a, None)
        return 1e3 * (time.process_time() - begin) / len(self.pairs) / 6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="the built example `flow`")
    parser.add_argument("videos", help="a folder of videos")
    parser.add_argument("--ours", action="append", default=[], metavar="NAME=CONFIG", help="a further FlowConfig, JSON")
    parser.add_argument("--real", type=int, default=12, help="real pairs")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="no OpenCV medium")
    args = parser.parse_args()
    cv2.setNumThreads(1)

    cases = synthetic(args.seed)
    real = real_pairs(args.videos, args.real, args.seed)
    if len(real) < 5:
        parser.error(f"{args.videos} gives {len(real)} moving pairs, 5 are needed")
    pairs = [c[:2] for kind in cases.values() for c in kind] + real
    with tempfile.TemporaryDirectory() as folder:
        ours = {"ours, default": "{}"}
        for spec in args.ours:
            name, config = spec.split("=", 1)
            ours[name] = json.dumps(json.loads(config))
        methods = {name: Ours(args.program, config, folder, pairs) for name, config in ours.items()}
        presets = {n: p for n, p in PRESETS.items() if not (args.quick and n.endswith("medium"))}
        methods |= {name: Peer(preset, pairs) for name, preset in presets.items()}

        rows = {}
        for name, method in methods.items():
            flows, k, row = method.flows(), 0, []
            for kind in cases.values():
                errors = []
                for _, _, u, v, seen in kind:
                    errors.append(np.hypot(flows[k][0] - u, flows[k][1] - v)[seen].mean())
                    k += 1
                row.append(float(np.mean(errors)))
            row.append(float(np.mean(row)))
            row.append(float(np.mean([warp_error(a, b, flows[k + n]) for n, (a, b) in enumerate(real)])))
            rows[name] = row
        still = float(np.mean([warp_error(a, b, np.zeros((2, HEIGHT, WIDTH), np.float32)) for a, b in real]))
        times = {name: [] for name in methods}
        for _ in range(args.rounds):
            for name, method in methods.items():
                times[name].append(method.round())

    heads = ["method", *(f"EPE {c}" for c in cases), "EPE mean", f"real ({len(real)})", "CPU ms"]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for name, row in rows.items():
        cells = [f"{v:.3f}" for v in row[:-1]] + [f"{row[-1]:.2f}", f"{statistics.median(times[name]):.2f}"]
        print("| " + " | ".join([name, *cells]) + " |")
    print(f"\nreal pairs unwarped: {still:.2f}; OpenCV {cv2.__version__}, one thread; {args.rounds} rounds")


if __name__ == "__main__":
    main()
