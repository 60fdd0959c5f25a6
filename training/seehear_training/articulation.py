"""Sound to lips: the mouth movements behind a voice nobody filmed or transcribed.

`speech.py` knows its phonemes, a recording does not. A small convolutional network therefore learns the way back, from
the log-mel spectrum of synthetic voices to the trajectory that `mouth.MouthTrack` gives their phonemes (lead 0, effort
1), and is then applied to recordings of real people. What keeps it from learning how the synthesiser sounds: the level
of every mel band is removed per recording, and training distorts everything that carries no articulation (room, noise,
colour, source, length of the vocal tract).

It sees 200 ms to either side of the frame it describes, so its timing can be unbiased, and a test holds it to that.
Absolute positions are less certain than movements; `estimate` hence spreads the opening of each recording as that of
synthetic speech is spread, shuts the lips where the network is sure of p, b or m, and lets them rest in pauses.

Times: row k of features and trajectories describes (k + 1/2) * 10 ms.

`articulation.npz` beside this file holds the weights: float16 arrays, used by numpy alone. Where they come from: 10
minutes of `python -m seehear_training.articulation train` on one CPU core, on espeak-ng 1.51 voices speaking
`words.WORDS` in all but the `HELD_OUT` languages. No recording of a person went into them, so they carry no licence but
this project's.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from . import acoustics
from . import mel as front
from .mouth import REST, MouthTrack
from .speech import Utterance, Voice, random_text, synthesise
from .words import WORDS

if TYPE_CHECKING:
    import torch

RATE_HZ = 100
"""Rows of a trajectory in a second."""
WEIGHTS = Path(__file__).with_name("articulation.npz")
HELD_OUT = ("fi", "cs")
"""Languages that training never hears."""

BANDS = 40
_BANK = front.Bank(BANDS, 70.0, 7400.0, 1e-7)
CHANNELS, TAPS, DILATIONS = 80, 5, (1, 1, 2, 2, 3)
_VERSION = 1  # of what `estimate` makes of the network's answer
OUTPUTS = 6
"""The mouth's four numbers; logits of shut lips and of speech."""
_QUANTILES = np.array([0, 1, 3, 6, 10, 15, 22, 30, 40, 50, 60, 70, 80, 88, 94, 97, 99, 100], np.float32) / 100


# ---- features -------------------------------------------------------------------------------------------------------


def log_mel(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """Audio at `SAMPLE_RATE` to ln power [len(audio) // 160, BANDS]; silence before and after."""
    return front.log_mel(audio, _BANK).T


def standardise(mel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Remove level and colour: each band's mean over the loud frames, and the spread of all; silence below a floor."""
    if not len(mel):
        return mel
    loudness = np.log(np.exp(mel).sum(1))
    peak = float(np.percentile(loudness, 95))
    mel = np.maximum(mel, peak - 12.0)  # 52 dB: what lies deeper is the recording's, not the speaker's
    loud = mel[loudness > peak - 5.5]
    mean = loud.mean(0)
    return ((mel - mean) / max(0.5, float((loud - mean).std()))).astype(np.float32)


# ---- network --------------------------------------------------------------------------------------------------------


def _convolve(x: NDArray[np.float32], weight: NDArray[np.float32], dilation: int) -> NDArray[np.float32]:
    """[T, in] by weight [taps, in, out] to [T, out], centred, zeros outside."""
    taps, reach = len(weight), (len(weight) // 2) * dilation
    padded = np.pad(x, ((reach, reach), (0, 0)))
    return sum(padded[k * dilation : k * dilation + len(x)] @ weight[k] for k in range(taps))


def infer(mel: NDArray[np.float32], weights: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """The network on standardised features [T, BANDS]: [T, OUTPUTS], nothing clipped or gated."""
    x = np.maximum(_convolve(mel, weights["in.w"], 1) + weights["in.b"], 0)
    for k, dilation in enumerate(DILATIONS):
        x = x + np.maximum(_convolve(x, weights[f"{k}.w"], dilation) + weights[f"{k}.b"], 0)
    return (x @ weights["out.w"][0] + weights["out.b"]).astype(np.float32)


@lru_cache(maxsize=4)
def load_weights(path: Path = WEIGHTS) -> dict[str, NDArray[np.float32]]:
    """The network's arrays, float32, and `quantiles` [len(_QUANTILES), 4] of the mouth in synthetic speech."""
    with np.load(path, allow_pickle=False) as data:
        return {k: data[k].astype(np.float32) for k in data.files}


@lru_cache(maxsize=1)
def fingerprint() -> str:
    """Changes whenever an estimate may: the key of cached trajectories."""
    return hashlib.sha256(WEIGHTS.read_bytes() + bytes([_VERSION])).hexdigest()[:12]


# ---- estimate -------------------------------------------------------------------------------------------------------


def speech_gate(audio: NDArray[np.float32]) -> NDArray[np.float32]:
    """0..1 at `RATE_HZ`: 0 in pauses of 0.2 s and more. By energy: what stands out of the noise and near the peak."""
    count = len(audio) // front.HOP
    mel = log_mel(audio)[:, 2:34]  # 150 to 5000 Hz
    level_db = 4.343 * np.log(np.exp(mel).sum(1)) if count else np.zeros(0)
    if not count or (peak := float(np.percentile(level_db, 95))) < -25:  # about -70 dB full scale
        return np.zeros(count, np.float32)
    floor = float(np.percentile(level_db, 5))
    threshold = max(peak - 32, min(floor + 9, peak - 6))
    active = (level_db > threshold) if peak - floor > 6 else np.zeros(count, bool)
    active = _without_runs(active, 3, value=True)  # clicks
    active = ~_without_runs(~active, 20, value=True)  # stops and breaths within speech
    if not active.any():
        return np.zeros(count, np.float32)
    # The mouth is on its way 60 ms before the sound, and still on its way back as long after it.
    active = np.convolve(active, np.ones(13), "same") > 0
    return np.convolve(np.pad(active.astype(np.float64), 4, "edge"), _bell(9), "valid").astype(np.float32)


def _bell(taps: int) -> NDArray[np.float64]:
    window = np.hanning(taps + 2)[1:-1]
    return window / window.sum()


def _without_runs(mask: NDArray[np.bool_], shorter_than: int, *, value: bool) -> NDArray[np.bool_]:
    """Flip runs of `value` that are shorter than this."""
    out = mask.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[not value], mask, [not value]]).astype(np.int8)))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin < shorter_than:
            out[begin:end] = not value
    return out


def estimate(audio: NDArray[np.float32], weights: dict[str, NDArray[np.float32]] | None = None) -> NDArray[np.float32]:
    """The mouth behind a recording, float32 [len(audio) // 160, 4] as in `mouth`, for lead 0 and effort 1.

    `audio` is float32 mono at `SAMPLE_RATE`, one voice. Half a minute or less at a time: level and colour are taken as
    constant over it.
    """
    weights = weights if weights is not None else load_weights()
    gate = speech_gate(audio)
    if not gate.any():
        return np.tile(REST, (len(gate), 1))
    raw = infer(standardise(log_mel(audio)), weights)
    kernel = _bell(3)  # 20 ms across
    shape = np.stack([np.convolve(np.pad(raw[:, i], 1, "edge"), kernel, "valid") for i in range(4)], 1)
    talking = gate > 0.9
    if talking.sum() >= RATE_HZ:  # less tells too little of a speaker's range
        for i, share in enumerate((1.0, 0.5, 0.5, 0.5)):  # only the opening's spread is everybody's
            shape[:, i] += share * (_spread_as(shape[:, i], talking, weights["quantiles"][:, i]) - shape[:, i])
    # At -0.8 nine in ten closures of fi, cs, en-us are found (six in seven in noise); 2 % of speech is shut wrongly.
    shut = 1 / (1 + np.exp(-2.5 * (raw[:, 4] + 0.8)))
    shape[:, 0] = shape[:, 0] * (1 - shut) - 0.05 * shut
    shape = REST + gate[:, None] * (shape - REST)
    return np.clip(shape, (-0.06, 0, 0, 0), (1.05, 1, 1, 1)).astype(np.float32)


def _spread_as(
    values: NDArray[np.float64], among: NDArray[np.bool_], quantiles: NDArray[np.float32]
) -> NDArray[np.float64]:
    """A monotonous map after which `values[among]` are distributed as `quantiles` say; it cannot shift any event."""
    own = np.quantile(values[among], _QUANTILES)
    own += np.arange(len(own)) * 1e-6  # strictly rising
    return np.interp(values, own, quantiles)


# ---- what it learns from --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Example:
    """A synthetic voice and its mouth: audio [N], targets [N // 160, OUTPUTS]."""

    audio: NDArray[np.float32]
    target: NDArray[np.float32]


def targets(said: Utterance) -> NDArray[np.float32]:
    """What the network should answer: the mouth, whether p, b or m sounds, whether anything does."""
    times = (np.arange(len(said.audio) // front.HOP) + 0.5) / RATE_HZ
    out = np.zeros((len(times), OUTPUTS), np.float32)
    out[:, :4] = MouthTrack(said.phonemes, said.duration_s, lead_s=0.0).at(times)
    for p in said.phonemes:
        out[(times >= p.start_s) & (times < p.end_s), 5] = 1
    out[:, 4] = (out[:, 0] < 0.03) & (out[:, 5] > 0)
    return out


def make_example(rng: np.random.Generator, languages: tuple[str, ...]) -> Example:
    """A few words of a random voice, wider in range than the voices of scenes, amid silence."""
    from dataclasses import replace

    voice = Voice.random(rng)
    voice = replace(
        voice,
        language=str(rng.choice(languages)),
        rate_wpm=int(rng.integers(105, 235)),
        pitch=int(rng.integers(5, 95)),
        pitch_range=int(rng.integers(10, 99)),
        formant_scale=float(rng.uniform(0.82, 1.22)),
    )
    said = synthesise(random_text(rng, voice.language, int(rng.integers(5, 10))), voice)
    target = targets(said)
    rest = np.concatenate([REST, [0, 0]]).astype(np.float32)
    before, after = (int(rng.integers(5, 70)) for _ in range(2))
    audio = np.pad(said.audio[: len(target) * front.HOP], (before * front.HOP, after * front.HOP))
    target = np.concatenate([np.tile(rest, (before, 1)), target, np.tile(rest, (after, 1))])
    return Example(acoustics.at_level(audio, -24.0), target)


def distort(rng: np.random.Generator, audio: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Everything but the articulation is changed: source, room, noise, `other` voices, level."""
    out = audio
    if rng.random() < 0.3:
        out = _whispered(rng, out, float(rng.uniform(0.3, 1.0)))
    if rng.random() < 0.4:
        out = acoustics.convolve(
            out, acoustics.room_response(rng, float(rng.uniform(0.1, 0.6)), float(rng.uniform(0.1, 0.6)))
        )
    if rng.random() < 0.85:
        bed = acoustics.noise_bed(rng, str(rng.choice(acoustics.NOISE_KINDS)), len(out))
        out = out + bed * np.float32(acoustics.db_to_gain(-24.0 - float(rng.uniform(5, 50))))
    if rng.random() < 0.1:
        out = out + np.resize(other, len(out)) * np.float32(acoustics.db_to_gain(-float(rng.uniform(10, 25))))
    return out * np.float32(acoustics.db_to_gain(float(rng.uniform(-12, 6))))


def _whispered(rng: np.random.Generator, audio: NDArray[np.float32], share: float) -> NDArray[np.float32]:
    """Blend with a version whose phases are random: the envelope stays, the synthesiser's buzz goes."""
    size, hop = 400, 100
    count = max(1, (len(audio) - size) // hop + 1)
    window = np.hanning(size).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(audio, (0, size)), size)[::hop][:count] * window
    spectrum = np.abs(np.fft.rfft(frames)) * np.exp(2j * np.pi * rng.random((count, size // 2 + 1)))
    noise = np.fft.irfft(spectrum, size) * window
    out = np.zeros(count * hop + size)
    for k in range(0, size, hop):  # frames `size / hop` apart do not overlap: add them a comb at a time
        part = noise[k // hop :: size // hop].reshape(-1)
        out[k : k + len(part)] += part
    out = np.pad(out, (0, max(0, len(audio) - len(out))))[: len(audio)]
    out *= acoustics.rms(audio) / max(1e-9, float(np.sqrt(np.mean(out**2))))
    return (audio * (1 - share) + out * share).astype(np.float32)


def recolour(rng: np.random.Generator, mel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Another microphone, vocal tract and transmission, on the log-mel spectrum [T, BANDS]."""
    band = np.arange(BANDS)
    warp = float(rng.uniform(0.9, 1.11)) if rng.random() < 0.7 else 1.0
    source = np.clip(band * warp + float(rng.uniform(-0.7, 0.7)), 0, BANDS - 1.001)
    low = source.astype(int)
    mel = mel[:, low] * (1 - source % 1) + mel[:, low + 1] * (source % 1)
    curve = sum(rng.normal() * np.cos(np.pi * k * (band + 0.5) / BANDS) / k**0.7 for k in range(1, 7))
    mel = mel + curve + (rng.normal() * 0.02 * (mel - mel.mean()) if rng.random() < 0.5 else 0)
    floor = mel.min()
    if rng.random() < 0.35:
        mel[:, int(rng.integers(27, BANDS)) :] = floor + rng.uniform(0, 2)
    if rng.random() < 0.25:
        mel[:, : int(rng.integers(1, 5))] = floor + rng.uniform(0, 2)
    if rng.random() < 0.5:
        begin = int(rng.integers(0, BANDS - 6))
        mel[:, begin : begin + int(rng.integers(1, 6))] = mel.mean()
    return mel.astype(np.float32)


def measured_quantiles(examples: list[Example]) -> NDArray[np.float32]:
    """How the mouth is spread while synthetic people talk, [len(_QUANTILES), 4]."""
    talking = np.concatenate([x.target[x.target[:, 5] > 0, :4] for x in examples])
    return np.quantile(talking, _QUANTILES, axis=0).astype(np.float32)


def train(minutes: float, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Learn for about this long on one core; returns what `load_weights` would."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    begin = time.monotonic()
    deadline = begin + 60 * minutes
    languages = tuple(x for x in WORDS if x not in HELD_OUT)
    examples: list[Example] = []
    while time.monotonic() < begin + 6 * minutes or len(examples) < 60:  # a tenth of the time for the voices
        examples.append(make_example(rng, languages))
    print(f"{len(examples)} utterances of {len(languages)} languages", file=sys.stderr)
    net = _network()
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.01)
    shares = torch.tensor([1.0, 0.5, 0.5, 0.2])
    pool: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
    step, batch, frames, shown = 0, 16, 240, begin + 30
    while (now := time.monotonic()) < deadline:
        done = (now - begin) / (deadline - begin)
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 100) * (0.02 + 0.98 * np.cos(np.pi / 2 * done) ** 2)
        for _ in range(6 if len(pool) > 50 else 50):  # distortion is dear: each result serves a few batches
            example = examples[int(rng.integers(len(examples)))]
            other = examples[int(rng.integers(len(examples)))].audio
            pool.append((log_mel(distort(rng, example.audio, other)), example.target))
        pool = pool[-400:]
        features, wanted = [], []
        for mel, target in (pool[int(rng.integers(len(pool)))] for _ in range(batch)):
            mel = standardise(recolour(rng, mel))
            start = int(rng.integers(max(1, len(mel) - frames)))
            pad = ((0, max(0, frames - len(mel))), (0, 0))
            features.append(np.pad(mel[start : start + frames], pad))
            wanted.append(np.pad(target[start : start + frames], pad, "edge"))
        x, y = torch.from_numpy(np.stack(features)), torch.from_numpy(np.stack(wanted))
        out = net(x.transpose(1, 2)).transpose(1, 2)
        near, moved = (out - y)[..., :4], torch.diff(out - y, dim=1)[..., :4]
        fit = (near.square() * shares).mean() + 3 * (moved.square() * shares).mean()
        kind = torch.nn.functional.binary_cross_entropy_with_logits(out[..., 4:], y[..., 4:])
        loss = fit + 0.05 * kind
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        step += 1
        if now > shown:
            shown = now + 30
            print(f"step {step}: loss {loss.item():.4f}, {deadline - now:.0f} s left", file=sys.stderr, flush=True)
    return {**_arrays(net), "quantiles": measured_quantiles(examples)}


def _network() -> torch.nn.Module:
    import torch
    from torch import nn

    class Network(nn.Module):
        """The same as `infer`, on [N, BANDS, T]."""

        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv1d(BANDS, CHANNELS, TAPS, padding="same")
            self.rest = nn.ModuleList(
                nn.Conv1d(CHANNELS, CHANNELS, TAPS, padding="same", dilation=d) for d in DILATIONS
            )
            self.last = nn.Conv1d(CHANNELS, OUTPUTS, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.relu(self.first(x))
            for layer in self.rest:
                x = x + nn.functional.dropout(torch.relu(layer(x)), 0.1, self.training)
            return self.last(x)

    return Network()


def _arrays(net: torch.nn.Module) -> dict[str, NDArray[np.float32]]:
    """[out, in, taps] as torch has it to [taps, in, out] as `infer` wants it."""
    layers = {"in": net.first, **{str(k): layer for k, layer in enumerate(net.rest)}, "out": net.last}
    out = {}
    for name, layer in layers.items():
        out[f"{name}.w"] = layer.weight.detach().numpy().transpose(2, 1, 0)
        out[f"{name}.b"] = layer.bias.detach().numpy()
    return out


# ---- how good it is -------------------------------------------------------------------------------------------------


def best_lag(a: NDArray[np.floating], b: NDArray[np.floating], reach: int = 20) -> tuple[float, float, float]:
    """Lag in rows at which `a` correlates best with `b` (> 0: `a` is late), that correlation, and the one at lag 0."""
    count = min(len(a), len(b)) - 2 * reach
    if count < 2 * reach:
        raise ValueError(f"{min(len(a), len(b))} rows are too few for lags of {reach}")
    middle = b[reach : reach + count]
    scores = [float(np.corrcoef(a[reach + k : reach + k + count], middle)[0, 1]) for k in range(-reach, reach + 1)]
    k = int(np.clip(np.nanargmax(scores), 1, 2 * reach - 1))
    left, top, right = scores[k - 1 : k + 2]
    bend = left - 2 * top + right
    return k - reach + (0.5 * (left - right) / bend if bend < 0 else 0.0), scores[k], scores[reach]


def check_synthetic(count: int = 40, seed: int = 1) -> dict[str, float]:
    """Against the truth, on voices in languages that training never heard, half of them in noise and a room."""
    rng = np.random.default_rng([seed, 99])
    rows, lags = [], []
    hit = said = false = 0
    for k in range(count):
        example = make_example(rng, HELD_OUT)
        audio = distort(rng, example.audio, example.audio) if k % 2 else example.audio
        shape, truth = estimate(audio), example.target
        lags.append(best_lag(shape[:, 0], truth[:, 0])[0])
        rows.append([np.corrcoef(shape[:, i], truth[:, i])[0, 1] for i in range(4)])
        closed = truth[:, 4] > 0
        edges = np.flatnonzero(np.diff(np.pad(closed, 1).astype(int)))
        for a, b in zip(edges[::2], edges[1::2], strict=True):
            said += 1
            hit += bool(shape[max(0, a - 2) : b + 2, 0].min() < 0.05)
        far = np.convolve(closed, np.ones(11), "same") == 0
        false += int(((shape[:, 0] < 0.02) & far & (truth[:, 5] > 0)).sum())
    r = np.nanmean(rows, 0)
    return {
        "opening r": float(r[0]), "width r": float(r[1]), "rounding r": float(r[2]), "tongue r": float(r[3]),
        "lag ms, mean": 10 * float(np.mean(lags)), "lag ms, worst": 10 * float(max(lags, key=abs)),
        "p b m closures found": hit / max(1, said), "s of false closure per utterance": false / RATE_HZ / count,
    }  # fmt: skip


def check_real(recordings: list[NDArray[np.float32]]) -> dict[str, float]:
    """What must hold without truth: opening follows the energy of open vowels, without delay, without being a copy of
    it; lips meet now and then; and they move at the pace of syllables."""
    rows = []
    for audio in recordings:
        shape, gate = estimate(audio), speech_gate(audio) > 0.9
        if gate.sum() < 2 * RATE_HZ:
            continue
        mel = log_mel(audio)
        hz = 700 * ((1 + 70 / 700) * ((1 + 7400 / 700) / (1 + 70 / 700)) ** ((np.arange(BANDS) + 1) / (BANDS + 1)) - 1)
        energy = np.log(np.exp(mel[:, (hz > 300) & (hz < 1000)]).sum(1))
        energy = np.maximum(energy, np.percentile(energy, 95) - 8)
        lag, peak, zero = best_lag(shape[:, 0], energy)
        inside = best_lag(shape[gate, 0], energy[gate])
        spectrum = np.abs(np.fft.rfft((shape[:, 0] - shape[:, 0].mean()) * np.hanning(len(shape)))) ** 2
        at = np.fft.rfftfreq(len(shape), 1 / RATE_HZ)
        rows.append([
            10 * lag, peak, zero, 10 * inside[0], inside[1], (shape[gate, 0] < 0.03).mean(),
            spectrum[(at >= 2) & (at <= 8)].sum() / spectrum[at > 0.3].sum(),
            spectrum[at > 12].sum() / spectrum[at > 0.3].sum(), np.percentile(shape[gate, 0], 95), gate.mean(),
        ])  # fmt: skip
    if not rows:
        raise ValueError("no recording holds two seconds of speech")
    table = np.array(rows)
    names = (
        "lag ms", "r at it", "r at lag 0", "in speech: lag ms", "in speech: r", "lips shut, share of speech",
        "2-8 Hz, share of motion", ">12 Hz, share", "opening, 95th percentile", "speech, share of time",
    )  # fmt: skip
    out = {f"{name} (median)": float(np.median(table[:, i])) for i, name in enumerate(names)}
    return {
        "recordings": float(len(rows)),
        "|lag| <= 20 ms, share": float((np.abs(table[:, 0]) <= 20).mean()),
        "|lag| <= 20 ms in speech, share": float((np.abs(table[:, 3]) <= 20).mean()),
        **out,
    }


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m seehear_training.articulation", description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    learn = commands.add_parser("train", help="learn anew from synthetic voices")
    learn.add_argument("--out", type=Path, required=True, help="an .npz file; the one in use is articulation.npz")
    learn.add_argument("--minutes", type=float, default=4.0, help="on one core (default: 4)")
    learn.add_argument("--seed", type=int, default=0)
    check = commands.add_parser("check", help="measure the weights in use")
    check.add_argument("--voices", type=Path, help="a folder of recordings; without it, synthetic voices with truth")
    check.add_argument("--cache", type=Path, help="where decoded recordings are kept; needed with --voices")
    check.add_argument("--count", type=int, default=40, help="utterances or recordings (default: 40)")
    arguments = parser.parse_args(argv)
    if arguments.command == "train":
        weights = train(arguments.minutes, arguments.seed)
        np.savez_compressed(arguments.out, **{k: v.astype(np.float16) for k, v in weights.items()})
        return 0
    if arguments.voices is None:
        figures = check_synthetic(arguments.count)
    else:
        from .recordings import Recordings

        if arguments.cache is None:
            parser.error("--voices needs --cache")
        found = Recordings(arguments.voices, arguments.cache)
        print(found.summary())
        figures = check_real([found.audio(x) for x in found.files[:: max(1, len(found.files) // arguments.count)]])
    for name, value in figures.items():
        print(f"{name:45} {value:8.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
