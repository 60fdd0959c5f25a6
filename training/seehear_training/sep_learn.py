"""The training loop of separation: rounds of steps, resumable at every round's end.

A step learns from `batch` mixtures, each heard once for every target; the same sound with another face is what makes
the network look. Weights are averaged over time (EMA); the average is what is evaluated and exported.
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
from .sep_mix import Mixer, Mixture
from .separation import SepNet

ROUND = 50
"""Steps between two checkpoints."""


@dataclass(frozen=True)
class Plan:
    """What one run of the loop does."""

    steps: int = 1000
    batch: int = 6
    """Mixtures in a step."""
    rate: float = 1.5e-3
    weight_decay: float = 1e-2
    warm_up: float = 0.03
    average: float = 0.998
    spectral: float = 10.0
    """Weight of the compressed spectra beside the signal-to-noise ratio in dB."""
    silent: float = 0.5
    """Weight of what is left of a silent target's mixture, dB."""
    hint: float = 3.0
    """Weight of what the face alone says of the voice's bands: without it, the network is slow to begin to look."""
    first: int = 400
    """Steps in which nothing but that is learned."""
    ease: int = 0
    """Steps over which what the voice itself says gives way to what its face says."""
    ease_from: float = 1.0
    """How much of it at the beginning."""
    half: bool = True
    """bfloat16 where exactness does not matter."""
    seed: int = 1
    device: str = "cpu"


# ---- what is learned ----------------------------------------------------------------------------------------------


def snr_db(estimate: Tensor, target: Tensor, floor: float = 1e-3) -> Tensor:
    """Signal to distortion of [..., samples], dB, at most 30: what is good enough is not polished further."""
    energy = target.square().sum(-1)
    error = (target - estimate).square().sum(-1)
    return 10 * torch.log10((energy + 1e-8) / (error + floor * energy + 1e-8))


def left_db(estimate: Tensor, mixture: Tensor, floor: float = 1e-3) -> Tensor:
    """What is left of a mixture, dB, at least -30."""
    energy = mixture.square().sum(-1)
    return 10 * torch.log10(estimate.square().sum(-1) / (energy + 1e-8) + floor)


def compressed(spectrum: Tensor, scale: Tensor, power: float = 0.3) -> tuple[Tensor, Tensor]:
    """[..., T, 2, BINS], its level brought to 1 by `scale`, to compressed magnitudes and compressed complex values."""
    scaled = spectrum * scale
    magnitude = (scaled.square().sum(-2, keepdim=True) + 1e-4).sqrt()
    return magnitude**power, scaled * magnitude ** (power - 1)


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


def losses(masked: Tensor, mixture: Tensor, mixed: Tensor, target: Tensor, plan: Plan) -> Losses:
    """Spectra [n, T, 2, BINS] of the estimate and the mixture, the mixture and the target [n, samples]."""
    # The last hop lacks what only the next window adds.
    estimate = separation.istft(masked)[..., : -separation.HOP]
    mixed, target = mixed[..., : estimate.shape[-1]], target[..., : estimate.shape[-1]]
    speaks = target.square().mean(-1) > 1e-4 * mixed.square().mean(-1)
    snr, left = snr_db(estimate, target), left_db(estimate, mixed)
    scale = (mixture.square().sum(2).mean((1, 2)) + 1e-8).rsqrt()[:, None, None, None]
    wanted = separation.stft(target)
    parts = [
        (a - b).square().mean((1, 2, 3))
        for a, b in zip(compressed(masked[:, : wanted.shape[1]], scale), compressed(wanted, scale), strict=True)
    ]
    spectral = parts[0] + 2 * parts[1]
    value = torch.where(speaks, -snr, plan.silent * left) + plan.spectral * spectral
    nothing = torch.full_like(snr, torch.nan)
    return Losses(value, torch.where(speaks, snr, nothing).detach(), torch.where(speaks, nothing, left).detach())


def stacked(mixtures: list[Mixture]) -> tuple[Tensor, Tensor, Tensor]:
    """Mixtures [b, samples], targets [b, k, samples], guides [b, k, T, DIM]."""
    return (
        torch.from_numpy(np.stack([m.mixture for m in mixtures])),
        torch.from_numpy(np.stack([m.targets for m in mixtures])),
        torch.from_numpy(np.stack([m.guides for m in mixtures])),
    )


def guided(net: SepNet, mixtures: list[Mixture], plan: Plan) -> Losses:
    """Each mixture once for each target, told of it."""
    mixed, targets, guides = (x.to(plan.device) for x in stacked(mixtures))
    count = targets.shape[1]
    spectrum = separation.stft(mixed).repeat_interleave(count, 0)
    mask, guide = _mask(net, spectrum, guides.flatten(0, 1), plan)
    masked = separation.apply(mask, spectrum)
    out = losses(masked, spectrum, mixed.repeat_interleave(count, 0), targets.flatten(0, 1), plan)
    out.hint = _hint(net, guide, targets.flatten(0, 1), mixed.repeat_interleave(count, 0))
    out.value = out.value + plan.hint * out.hint
    return out


def hints(net: SepNet, mixtures: list[Mixture], plan: Plan) -> Tensor:
    """Only what the faces say of the voices, [n]."""
    mixed, targets, guides = (x.to(plan.device) for x in stacked(mixtures))
    nothing = torch.zeros(guides.shape[0] * guides.shape[1], net.size.guide, device=plan.device)
    guide, _ = net.look(guides.flatten(0, 1), nothing, nothing)
    return _hint(net, guide, targets.flatten(0, 1), mixed.repeat_interleave(targets.shape[1], 0))


def _hint(net: SepNet, guide: Tensor, target: Tensor, mixed: Tensor) -> Tensor:
    scale = (mixed.square().mean(-1) * separation.HOP + 1e-8).rsqrt()[:, None, None, None]
    wanted = separation.band_powers(separation.stft(target) * scale, net.size.bands)
    return (net.hinted(guide).float() - wanted).square().mean((1, 2))


def blind(net: SepNet, mixtures: list[Mixture], plan: Plan) -> Losses:
    """The baseline: told nothing, as many masks as there may be voices, learned in the best order (uPIT)."""
    voices = net.size.voices
    mixed, _, guides = (x.to(plan.device) for x in stacked(mixtures))
    truth = torch.zeros(len(mixtures), voices, mixed.shape[-1])
    for k, m in enumerate(mixtures):
        truth[k, : len(m.voices)] = torch.from_numpy(m.voices[:voices])
    truth = truth.to(plan.device)
    spectrum = separation.stft(mixed)
    mask, _ = _mask(net, spectrum, torch.zeros_like(guides[:, 0]), plan)
    masks = mask.reshape(*mask.shape[:2], voices, 2, separation.BINS)
    masked = separation.apply(masks, spectrum[:, :, None]).transpose(1, 2)  # [b, voices, T, 2, BINS]
    each = {}
    for out, true in itertools.product(range(voices), repeat=2):
        each[out, true] = losses(masked[:, out], spectrum, mixed, truth[:, true], plan)
    orders = list(itertools.permutations(range(voices)))
    totals = torch.stack([torch.stack([each[o, t].value for o, t in enumerate(order)]).sum(0) for order in orders])
    best = totals.argmin(0)
    chosen = [[each[o, t] for o, t in enumerate(orders[k])] for k in best.tolist()]

    def gathered(name: str) -> Tensor:
        return torch.stack([getattr(x, name)[k] for k, row in enumerate(chosen) for x in row])

    return Losses(gathered("value"), gathered("snr"), gathered("left"))


def _mask(net: SepNet, spectrum: Tensor, guide: Tensor, plan: Plan) -> tuple[Tensor, Tensor]:
    state = torch.zeros(len(spectrum), net.state_size, device=spectrum.device)
    with torch.autocast(torch.device(plan.device).type, torch.bfloat16, enabled=plan.half):
        mask, _, inside = net.run(spectrum, guide, state)
    return mask.float(), inside.float()


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

    def _draw(self, step: int) -> list[Mixture]:
        ease = self.plan.ease_from * max(0.0, 1 - step / self.plan.ease) if self.plan.ease else 0.0
        return [self.mixer.draw((self.plan.seed, step, k), ease) for k in range(self.plan.batch)]

    def look_first(self) -> float:
        """Before the first step: what faces say of voices, alone. Returns the last mean square."""
        plan, error = self.plan, 0.0
        optimiser = torch.optim.AdamW(
            [*self.net.guide_in.parameters(), *self.net.guide.parameters(), *self.net.hint.parameters()], lr=2e-3
        )
        for step in range(plan.first):
            mixtures = [
                self.mixer.draw((plan.seed, 1 << 30, step, k), 1.0 if plan.ease else 0.0) for k in range(2 * plan.batch)
            ]
            loss = hints(self.net, mixtures, plan).mean()
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.net.guide.parameters(), 1.0)
            optimiser.step()
            error = loss.item() if step == 0 else 0.95 * error + 0.05 * loss.item()
        self.average = copy.deepcopy(self.net.state_dict())
        return error

    def _learn(self, mixtures: list[Mixture]) -> Losses:
        plan = self.plan
        schedule = Stage(steps=plan.steps, rate=plan.rate, warm_up=plan.warm_up)
        for group in itertools.chain(*(x.param_groups for x in self.optimisers)):
            group["lr"] = rate_at(schedule, self.step)
        out = (guided if self.net.size.voices == 1 else blind)(self.net, mixtures, plan)
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
        with ThreadPoolExecutor(1) as pool:  # draws the next mixtures while these are learned from
            ahead = pool.submit(self._draw, self.step)
            while self.step < last:
                mixtures = ahead.result()
                if self.step + 1 < last:
                    ahead = pool.submit(self._draw, self.step + 1)
                out = self._learn(mixtures)
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
