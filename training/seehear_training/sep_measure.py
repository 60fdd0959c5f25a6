"""How well voices are separated, on people never trained on.

Mixtures are drawn without augmentation from held-back voices: pairs and triples at random levels, everybody heard from
beginning to end. Measures, of each target: SI-SDR (Le Roux et al. 2019) of the estimate minus that of the mixture;
ESTOI (Jensen and Taal 2016). Of who is silent: the level of the estimate below the mixture.

Beside the network: the baseline of the same size that is told nothing (its masks are given to the voices in the order
that suits it best, which nobody could know), and the bound: the ideal complex mask of magnitude at most 1.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from . import separation
from .sep_data import Voice
from .sep_mix import Mixer, Mixture, Recipe

Float = NDArray[np.float32]


class Separator(Protocol):
    """What is measured."""

    def __call__(self, mixture: Float, guide: Float) -> Float:
        """[samples] and [T, DIM] to a voice [samples]."""


@dataclass(frozen=True)
class Trial:
    """What came out for one target."""

    improvement: float
    """dB of SI-SDR."""
    before: float
    """The mixture's SI-SDR, dB."""
    settled: float
    """The improvement without the first second, in which nobody can know yet."""
    estoi: float | None = None
    estoi_before: float | None = None


def si_sdr(estimate: NDArray[Any], target: NDArray[Any]) -> float:
    """Scale-invariant signal to distortion ratio, dB; means taken off."""
    estimate, target = (x.astype(np.float64) - x.mean(dtype=np.float64) for x in (estimate, target))
    wanted = target * (estimate @ target) / max(1e-12, target @ target)
    error = estimate - wanted
    return float(10 * np.log10(max(1e-12, wanted @ wanted) / max(1e-12, error @ error)))


def recipe(seconds: float, count: int, noise: float = 0.0) -> Recipe:
    """Mixtures to measure with: `count` voices all along, nothing disturbed, but for noise in that share of them."""
    counts = tuple(1.0 if k == count - 1 else 0.0 for k in range(count))
    plain = Recipe(seconds=seconds, targets=count, counts=counts, silent=0.0, pauses=0.0, room=0.0, noise=noise)
    return replace(plain, augment=False, footage=1.0, scenes=0.0, sure=0.1)


def long_enough(voices: list[Voice], seconds: float) -> list[Voice]:
    """Those that can be heard all along."""
    return [v for v in voices if v.kind != "still" and len(v.seen) and v.slots >= seconds * 25]


def trial(estimate: Float, target: Float, mixture: Float, estoi: Callable[..., float] | None) -> Trial:
    """The measures; the last hop is not asked for, it lacks what only the next window adds."""
    n, s = len(estimate) - separation.HOP, separation.RATE
    before = si_sdr(mixture[:n], target[:n])
    settled = si_sdr(estimate[s:n], target[s:n]) - si_sdr(mixture[s:n], target[s:n])
    heard = (
        [float(estoi(target[:n], x[:n], separation.RATE, extended=True)) for x in (estimate, mixture)] if estoi else []
    )
    return Trial(si_sdr(estimate[:n], target[:n]) - before, before, settled, *heard)


def guided(separator: Separator, mixtures: list[Mixture], estoi: Callable[..., float] | None = None) -> list[Trial]:
    """Every target of every mixture."""
    out = []
    for m in mixtures:
        for target, guide in zip(m.targets, m.guides, strict=True):
            out.append(trial(separator(m.mixture, guide), target, m.mixture, estoi))
    return out


def swapped(separator: Separator, mixtures: list[Mixture]) -> list[float]:
    """dB by which each voice is better where its own face is asked than where its neighbour's is: what looking does."""
    out = []
    for m in mixtures:
        estimates = [separator(m.mixture, g) for g in m.guides]
        for k, target in enumerate(m.targets):
            other = estimates[(k + 1) % len(estimates)]
            n = len(other) - separation.HOP
            out.append(si_sdr(estimates[k][:n], target[:n]) - si_sdr(other[:n], target[:n]))
    return out


def blind(net: separation.SepNet, mixtures: list[Mixture], estoi: Callable[..., float] | None = None) -> list[Trial]:
    """The baseline, its masks in the order with the largest sum of SI-SDR."""
    out = []
    for m in mixtures:
        nothing = np.zeros((len(m.mixture) // separation.HOP, separation.DIM), np.float32)
        masked = separation.separate(net, m.mixture, nothing)
        count = len(m.targets)
        scores = [[si_sdr(e[: -separation.HOP], t[: len(e) - separation.HOP]) for t in m.targets] for e in masked]
        orders = itertools.permutations(range(len(masked)), count)
        best = max(orders, key=lambda order: sum(scores[e][t] for t, e in enumerate(order)))
        out += [trial(masked[e], m.targets[t], m.mixture, estoi) for t, e in enumerate(best)]
    return out


def bound(mixtures: list[Mixture], estoi: Callable[..., float] | None = None) -> list[Trial]:
    """The ideal complex mask, its magnitude cut at 1."""
    out = []
    for m in mixtures:
        mixed = separation.stft(torch.from_numpy(m.mixture))
        for target in m.targets:
            wanted = separation.stft(torch.from_numpy(target))
            against = torch.stack([mixed[:, 0], -mixed[:, 1]], 1)
            ideal = separation.apply(wanted, against) / (mixed.square().sum(1, keepdim=True) + 1e-10)
            size = ideal.square().sum(1, keepdim=True).sqrt()
            masked = separation.apply(ideal / size.clamp(min=1.0), mixed)
            out.append(trial(separation.istft(masked).numpy(), target, m.mixture, estoi))
    return out


def silence(separator: Separator, mixtures: list[Mixture], guides: list[Float]) -> list[float]:
    """dB of the estimate below the mixture for guides of people who are not heard in it, after the first second."""
    out = []
    for m, guide in zip(mixtures, guides, strict=True):
        estimate = separator(m.mixture, guide)
        cut = slice(separation.RATE, len(estimate) - separation.HOP)
        power = [float(np.mean(np.square(x[cut], dtype=np.float64))) for x in (m.mixture, estimate)]
        out.append(10 * np.log10(max(1e-12, power[0]) / max(1e-12, power[1])))
    return out


def mixtures(
    voices: list[Voice], seconds: float, count: int, trials: int, seed: int, noise: float = 0.0
) -> list[Mixture]:
    """`trials` of them, each from its own seed."""
    mixer = Mixer(long_enough(voices, seconds), recipe(seconds, count, noise), seed)
    return [mixer.draw((seed, count, k)) for k in range(trials)]


def figures(trials: list[Trial]) -> dict[str, float]:
    """Means and medians."""
    values = np.array([t.improvement for t in trials])
    out = {
        "count": len(trials),
        "mean": values.mean(),
        "median": np.median(values),
        "settled": np.mean([t.settled for t in trials]),
        "worse": (values < 0).mean(),
        "before": np.mean([t.before for t in trials]),
    }
    if trials and trials[0].estoi is not None:
        out |= {"estoi": np.mean([t.estoi for t in trials]), "estoi_before": np.mean([t.estoi_before for t in trials])}
    return {k: round(float(v), 3) for k, v in out.items()}
