"""The training loop of separation: rounds of steps, resumable at every round's end.

A step draws `parts` voices and mixes them in many ways: every voice is a target in several mixtures and disturbs in
others. All is done on spectra: they add up like the sounds, and the error of a mask that leaves phases alone is a
quadratic form of three known products. Weights are averaged over time (EMA); the average is what is exported.
"""

from __future__ import annotations

import copy
import itertools
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from . import separation
from .learn import Diverged, Stage, rate_at
from .sep_mix import Mixer, Parts, Recipe
from .separation import SepNet

ROUND = 50
"""Steps between two checkpoints."""


@dataclass(frozen=True)
class Plan:
    """What one run of the loop does."""

    steps: int = 1000
    parts: int = 16
    """Voices in a step."""
    each: int = 2
    """Mixtures in which each is the target."""
    rate: float = 3e-3
    weight_decay: float = 1e-2
    warm_up: float = 0.03
    average: float = 0.998
    spectral: float = 10.0
    """Weight of the compressed magnitudes beside the signal-to-noise ratio in dB."""
    shape: float = 0.7
    """Of the signal-to-noise ratio's weight, the share that the scale-invariant one has."""
    silent: float = 0.5
    """Weight of what is left of a silent target's mixture, dB."""
    hint: float = 3.0
    """Weight of what the face alone says of the voice's bands: without it, the network is slow to begin to look."""
    ease: int = 0
    """Steps over which what the voice itself says gives way to what its face says."""
    ease_from: float = 1.0
    """How much of it at the beginning."""
    half: bool = True
    """bfloat16 where exactness does not matter."""
    seed: int = 1
    device: str = "cpu"


# ---- what is learned ----------------------------------------------------------------------------------------------


@dataclass
class Rows:
    """Mixtures as spectra at level 1, and whom to listen for: row k and row k + n hear the same one."""

    mixture: Tensor
    """[n, T, 2, BINS]."""
    voices: Tensor
    """[n, 3, T, 2, BINS], all that speak in it."""
    target: Tensor
    """[2 n, T, 2, BINS]; zeros for who is silent."""
    guide: Tensor
    """[2 n, T, DIM]."""


def mix(parts: Parts, recipe: Recipe, rng: np.random.Generator, each: int = 4) -> Rows:
    """Mixtures of neighbours in a row of voices: each is a target `each` times, unless somebody silent is asked for."""
    spectra, beds = (separation.stft(torch.from_numpy(x)) for x in (parts.audio, parts.beds))
    guides, idle = torch.from_numpy(parts.guides), torch.from_numpy(parts.idle)
    count = len(spectra)
    first = np.tile(np.arange(count), each // 2)
    second = (first + np.repeat(1 + rng.permutation(count - 1)[: each // 2], count)) % count
    n = len(first)
    # Whoever comes next and is neither of both.
    third = (first + 1) % count
    third = np.where(third == second, (third + 1) % count, third)
    sizes = rng.choice(len(recipe.counts), n, p=np.array(recipe.counts) / sum(recipe.counts)) + 1
    gains = 10 ** (rng.normal(0, 2, (n, 3)).clip(-5, 5) / 20) * (np.arange(3) < sizes[:, None])
    members = np.stack([first, second, third], 1)
    voices = spectra[members] * torch.from_numpy(gains).float()[:, :, None, None, None]
    mixture = voices.sum(1)
    if len(beds):
        bed = beds[rng.integers(0, len(beds), n)]
        power = [x.square().sum(2).mean((1, 2)) for x in (mixture, bed)]
        share = (rng.random(n) < recipe.noise) * 10 ** (-rng.uniform(3, 30, n) / 20)
        mixture = (
            mixture
            + bed * ((power[0] / (power[1] + 1e-8)).sqrt() * torch.from_numpy(share).float())[:, None, None, None]
        )
    target, guide = torch.cat([voices[:, 0], voices[:, 1]]), guides[np.concatenate([first, second])]
    silent = (rng.random(2 * n) < recipe.silent) | np.concatenate([np.zeros(n, bool), sizes < 2])
    for k in np.flatnonzero(silent).tolist():
        target[k] = 0
        stranger = int(rng.integers(count))
        elsewhere = rng.random() < 0.35 and stranger not in members[k % n]
        guide[k] = guides[stranger] if elsewhere else idle[int(rng.integers(len(idle)))]
    scale = (mixture.square().sum(2).mean((1, 2)) + 1e-6).rsqrt()[:, None, None, None]
    return Rows(mixture * scale, voices * scale[:, None], target * scale.repeat(2, 1, 1, 1), guide)


@dataclass
class Losses:
    """Of [n] targets: `value` to be made smaller, and what people read."""

    value: Tensor
    snr: Tensor
    """dB, of those who speak; NaN for others."""
    left: Tensor
    """dB, of those who are silent; NaN for others."""
    hint: Tensor | None = None
    """Mean square of what the face alone got wrong of the bands' log10 powers."""


def losses(gains: Tensor, mixture: Tensor, target: Tensor, plan: Plan) -> Losses:
    """Gains [n, T, BINS] of the mixture's and the target's spectra [n, T, 2, BINS], the mixture's level about 1."""
    power, product = mixture.square().sum(2), (mixture * target).sum(2)
    total, energy = power.sum((1, 2)), target.square().sum((1, 2, 3))
    speaks = energy > 1e-3 * total
    error = (energy + (gains * (gains * power - 2 * product)).sum((1, 2))).clamp(min=0)
    # At most 30 dB: what is good enough is not polished further.
    snr = 10 * torch.log10((energy + 1e-3 * total) / (error + 1e-3 * energy + 1e-4 * total))
    # Of the right shape, at whatever level: else a network in doubt mutes, which costs little SNR and all of the voice.
    shape = (gains * product).sum((1, 2)).clamp(min=0).square() / (energy * (gains.square() * power).sum((1, 2)) + 1e-6)
    shape = 10 * torch.log10((shape + 1e-3) / (1 - shape + 1e-3).clamp(min=1e-3))
    left = 10 * torch.log10((gains.square() * power).sum((1, 2)) / (total + 1e-6) + 1e-3)
    # Loudness as ears have it: compressed magnitudes.
    wanted = (target.square().sum(2) + 1e-4) ** 0.15
    got = (gains.square() * power + 1e-4) ** 0.15
    soft = (got - wanted).square().mean((1, 2))
    value = torch.where(speaks, -(1 - plan.shape) * snr - plan.shape * shape, plan.silent * left) + plan.spectral * soft
    nothing = torch.full_like(snr, torch.nan)
    return Losses(value, torch.where(speaks, snr, nothing).detach(), torch.where(speaks, nothing, left).detach())


def guided(net: SepNet, rows: Rows, plan: Plan) -> Losses:
    """Each row told of its target."""
    mixture = rows.mixture.repeat(2, 1, 1, 1)
    gains, guide = _gains(net, mixture, rows.guide, plan)
    out = losses(gains[:, :, 0], mixture, rows.target, plan)
    wanted = separation.band_powers(rows.target, separation.BANDS)
    out.hint = (net.hint(guide) - wanted).square().mean((1, 2))
    out.value = out.value + plan.hint * out.hint
    return out


def blind(net: SepNet, rows: Rows, plan: Plan) -> Losses:
    """The baseline: told nothing, as many masks as there may be voices, learned in the best order (uPIT)."""
    voices = net.size.voices
    gains, _ = _gains(net, rows.mixture, torch.zeros_like(rows.guide[: len(rows.mixture)]), plan)
    each = {
        (out, true): losses(gains[:, :, out], rows.mixture, rows.voices[:, true], plan)
        for out, true in itertools.product(range(voices), repeat=2)
    }
    orders = list(itertools.permutations(range(voices)))
    totals = torch.stack([torch.stack([each[o, t].value for o, t in enumerate(order)]).sum(0) for order in orders])
    chosen = [[each[o, t] for o, t in enumerate(orders[k])] for k in totals.argmin(0).tolist()]

    def gathered(name: str) -> Tensor:
        return torch.stack([getattr(x, name)[k] for k, row in enumerate(chosen) for x in row])

    return Losses(gathered("value"), gathered("snr"), gathered("left"))


def _gains(net: SepNet, mixture: Tensor, guide: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    state = torch.zeros(len(mixture), net.state_size, device=mixture.device)
    with torch.autocast(mixture.device.type, torch.bfloat16, enabled=plan.half):
        gains, _, inside = net.gains(mixture, guide, state)
    return gains.float(), inside.float()


# ---- the loop -----------------------------------------------------------------------------------------------------


class Learner:
    """A network, its optimiser and its average."""

    def __init__(self, net: SepNet, mixer: Mixer, plan: Plan, run: Path) -> None:
        torch.manual_seed(plan.seed)
        self.net, self.mixer, self.plan, self.run = net.to(plan.device), mixer, plan, run
        # Matrices by Muon (orthogonal steps): from the beginning some tenths of a dB ahead of AdamW on the same data.
        matrices = [p for name, p in net.named_parameters() if p.ndim == 2 and not name.startswith("hint")]
        known = {id(p) for p in matrices}
        rest = [p for p in net.parameters() if id(p) not in known]
        self.optimisers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(matrices, plan.rate, weight_decay=plan.weight_decay, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, plan.rate, weight_decay=0.0),
        ]
        self.average = copy.deepcopy(net.state_dict())
        self.step = 0
        self.history: list[dict[str, float]] = []

    def _draw(self, step: int) -> Rows:
        plan = self.plan
        ease = plan.ease_from * max(0.0, 1 - step / plan.ease) if plan.ease else 0.0
        parts = self.mixer.parts((plan.seed, step), plan.parts, ease)
        return mix(parts, self.mixer.recipe, np.random.default_rng((plan.seed, step, 1)), plan.each)

    def _learn(self, rows: Rows) -> Losses:
        plan = self.plan
        schedule = Stage(steps=plan.steps, rate=plan.rate, warm_up=plan.warm_up)
        for group in itertools.chain(*(x.param_groups for x in self.optimisers)):
            group["lr"] = rate_at(schedule, self.step)
        rows = Rows(*(x.to(plan.device) for x in (rows.mixture, rows.voices, rows.target, rows.guide)))
        out = (guided if self.net.size.voices == 1 else blind)(self.net, rows, plan)
        loss = out.value.mean()
        if not torch.isfinite(loss):
            raise Diverged(f"{self.run}: the loss is {loss.item()} at step {self.step}, seed {plan.seed}")
        self.net.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        for optimiser in self.optimisers:
            optimiser.step()
        keep = min(plan.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.net.state_dict().items():
                self.average[name].lerp_(value, 1 - keep)
        self.step += 1
        return out

    def train(self, minutes: float, tell: Callable[[dict[str, Any]], None]) -> None:
        """Goes on to the plan's last step, or until `minutes` have passed; a checkpoint after each round."""
        began = time.monotonic()
        while self.step < self.plan.steps and time.monotonic() - began < 60 * minutes:
            line = self.train_round()
            tell({**line, "minutes": round((time.monotonic() - began) / 60, 2)})

    def train_round(self) -> dict[str, float]:
        """Up to the next multiple of `ROUND`; returns the round's means, and leaves a checkpoint."""
        last = min(self.plan.steps, (self.step // ROUND + 1) * ROUND)
        values, snrs, lefts, wrong = [], [], [], []
        with ThreadPoolExecutor(1) as pool:  # draws the next rows while these are learned from
            ahead = pool.submit(self._draw, self.step)
            while self.step < last:
                rows = ahead.result()
                if self.step + 1 < last:
                    ahead = pool.submit(self._draw, self.step + 1)
                out = self._learn(rows)
                values.append(float(out.value.detach().mean()))
                snrs += out.snr[~out.snr.isnan()].tolist()
                wrong += [] if out.hint is None else out.hint.tolist()
                lefts += out.left[~out.left.isnan()].tolist()
        line = {"step": self.step, "loss": float(np.mean(values)), "snr_db": float(np.mean(snrs or [0]))}
        line |= {"left_db": float(np.mean(lefts or [0])), "hint": float(np.mean(wrong or [0]))}
        line = {k: round(v, 3) for k, v in line.items()}
        self.history.append(line)
        self.save()
        return line

    @property
    def checkpoint(self) -> Path:
        """Where the state lies."""
        return self.run / "checkpoint.pt"

    def save(self) -> None:
        """Everything that the next step depends on; whole or not at all."""
        self.run.mkdir(parents=True, exist_ok=True)
        part = self.checkpoint.with_suffix(".part")
        state = {"settings": self.net.settings(), "net": self.net.state_dict(), "average": self.average}
        state |= {"optimisers": [x.state_dict() for x in self.optimisers], "step": self.step, "history": self.history}
        torch.save(state, part)
        os.replace(part, self.checkpoint)
        (self.run / "log.jsonl").write_text("".join(json.dumps(x) + "\n" for x in self.history))

    def resume(self) -> bool:
        """From the run's checkpoint, if there is one."""
        if not self.checkpoint.is_file():
            return False
        saved = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        if saved["settings"] != self.net.settings():
            raise ValueError(f"{self.checkpoint} is a network of another size: choose another --run")
        self.net.load_state_dict(saved["net"])
        self.average = saved["average"]
        for optimiser, state in zip(self.optimisers, saved["optimisers"], strict=True):
            optimiser.load_state_dict(state)
        self.step, self.history = saved["step"], saved["history"]
        return True

    def adopt(self, path: Path) -> None:
        """Begins with another run's averaged weights."""
        self.net.load_state_dict(separation.load(path)[0].state_dict())
        self.average = copy.deepcopy(self.net.state_dict())
