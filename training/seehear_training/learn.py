"""The training loop: rounds of steps, resumable at every round's end, the same whether interrupted or not.

One stage is one `Stage`: which material in which shares, which crops, how many steps. Curriculum: crops around the
spots first, then larger pictures in which the model must find the spot itself. Weights are averaged over time (EMA);
the average is what is evaluated and exported.
"""

from __future__ import annotations

import copy
import json
import math
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from . import nets, objective
from .batches import Batch, Material, Recipe

ROUND = 50
"""Steps between two checkpoints; sampling weights are fixed within a round."""


class Diverged(RuntimeError):
    """The loss is no number; the message names the seed and the step."""


@dataclass(frozen=True)
class Stage:
    """What one run of the loop does."""

    steps: int = 1000
    batch: int = 16
    rate: float = 2e-3
    weight_decay: float = 2e-2
    warm_up: float = 0.05
    weights: objective.Weights = field(default_factory=objective.Weights)
    average: float = 0.998
    real_share: float = 0.45
    """Share of a batch that comes from spots with a latent offset, if there are any."""
    seed: int = 1
    half: bool = True
    """bfloat16 in the convolutions."""
    device: str = "cpu"
    recipe: Recipe = field(default_factory=Recipe)


def rate_at(stage: Stage, step: int) -> float:
    """One cycle: linear warm-up, then a cosine down to a hundredth."""
    warm = max(1, round(stage.warm_up * stage.steps))
    if step < warm:
        return stage.rate * (step + 1) / warm
    part = (step - warm) / max(1, stage.steps - warm)
    return stage.rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, part))))


class Learner:
    """A network, its optimiser, its average, and what it believes of the footage's offsets."""

    def __init__(self, net: nets.SyncNet, material: Material, stage: Stage, run: Path) -> None:
        torch.manual_seed(stage.seed)
        self.net = net.to(stage.device)
        self.net.video.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.material, self.stage, self.run = material, stage, run
        plain = [p for p in net.parameters() if p.ndim < 2]
        shaped = [p for p in net.parameters() if p.ndim >= 2]
        self.optimiser = torch.optim.AdamW(
            [{"params": shaped, "weight_decay": stage.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=stage.rate,
        )
        self.average = copy.deepcopy(net.state_dict())
        self.step = 0
        self.history: list[dict[str, float]] = []
        spots = material.spots
        self._known = [i for i, s in enumerate(spots) if s.known]
        self._real = [i for i, s in enumerate(spots) if not s.known]
        names = sorted({spots[i].clip for i in self._real})
        self.clip_names = names
        self._clip_of = {i: names.index(spots[i].clip) for i in self._real}
        guesses = {spots[i].clip: spots[i].offset_ms for i in self._real}
        self.latents = objective.Latents([guesses[n] for n in names], stage.recipe.reach)

    # ---- sampling -------------------------------------------------------------------------------------------------

    def _weights(self) -> np.ndarray:
        """Of the footage's spots: longer is more, and what shows no agreement is left aside more and more."""
        spots, confidence = self.material.spots, self.latents.confidence()
        weights = []
        for i in self._real:
            clip = self._clip_of[i]
            length = min(spots[i].end - spots[i].begin, 500) ** 0.5
            trust = 1.0
            if self.latents.visits[clip] >= 12:
                trust = float(np.clip(confidence[clip] / 1.0, 0.15, 1.0))
            weights.append(length * trust * float(np.clip(spots[i].confidence / 0.1, 0.3, 1.0)))
        total = np.array(weights)
        return total / total.sum()

    def _draw(self, step: int, weights: np.ndarray) -> Batch:
        stage, rng = self.stage, np.random.default_rng([self.stage.seed, step])
        real = round(stage.batch * stage.real_share) if self._real else 0
        if not self._known:
            real = stage.batch
        chosen = [self._real[k] for k in rng.choice(len(self._real), real, p=weights)] if real else []
        chosen += [self._known[k] for k in rng.integers(0, len(self._known), stage.batch - real)] if self._known else []
        return self.material.batch(chosen, stage.recipe, (stage.seed, step))

    # ---- steps ----------------------------------------------------------------------------------------------------

    def _embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """[b, t, dim, p] and [b, dim, frames]."""
        device = self.stage.device
        stacks = nets.stack(batch.slots.to(device))
        windows = stacks.shape[:2]
        stacks = stacks.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        kind = torch.device(device).type
        with torch.autocast(kind, torch.bfloat16, enabled=self.stage.half):
            video = self.net.video(stacks)
            audio = self.net.audio(batch.mel.to(device))
        video = video.float().flatten(2).unflatten(0, windows)
        return video, audio.float()

    def _target(self, batch: Batch) -> Tensor:
        offsets = self.latents.offsets_ms()
        own = [
            self.material.spots[s].offset_ms if self.material.spots[s].known else float(offsets[self._clip_of[s]])
            for s in batch.spot
        ]
        return torch.tensor(own) + batch.zero_ms

    def _learn(self, batch: Batch) -> objective.Terms:
        stage = self.stage
        for group in self.optimiser.param_groups:
            group["lr"] = rate_at(stage, self.step)
        video, audio = self._embed(batch)
        target = self._target(batch).to(stage.device)
        net = self.net
        terms = objective.evaluate(video, audio, net.scale, net.threshold, target, stage.recipe.reach, stage.weights)
        if not torch.isfinite(terms.loss):
            raise Diverged(f"{self.run}: the loss is {terms.loss.item()} at step {self.step}, seed {stage.seed}")
        self.optimiser.zero_grad(set_to_none=True)
        terms.loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self.optimiser.step()
        for k, s in enumerate(batch.spot):
            if s in self._clip_of:
                self.latents.update(self._clip_of[s], terms.log_likelihood[k], float(batch.zero_ms[k]))
        keep = min(stage.average, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.net.state_dict().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1 - keep)
                else:
                    self.average[name].copy_(value)
        self.step += 1
        return terms

    def train(self, minutes: float = math.inf, tell: object = None) -> None:
        """Goes on to the stage's last step, or until `minutes` have passed; a checkpoint after each round."""
        began = time.monotonic()
        while self.step < self.stage.steps and time.monotonic() - began < 60 * minutes:
            line = self.train_round()
            if callable(tell):
                tell({**line, "minutes": round((time.monotonic() - began) / 60, 2)})

    def train_round(self) -> dict[str, float]:
        """Up to the next multiple of `ROUND`; returns the round's means, and leaves a checkpoint."""
        weights = self._weights() if self._real else np.zeros(0)
        last = min(self.stage.steps, (self.step // ROUND + 1) * ROUND)
        sums: dict[str, list[float]] = {k: [] for k in ("loss", "shift", "match", "place", "presence", "real", "known")}
        with ThreadPoolExecutor(1) as pool:  # draws the next batches while this one is learned from
            queue = [pool.submit(self._draw, s, weights) for s in range(self.step, min(last, self.step + 3))]
            while self.step < last:
                batch = queue.pop(0).result()
                ahead = self.step + len(queue) + 1
                if ahead < last:
                    queue.append(pool.submit(self._draw, ahead, weights))
                terms = self._learn(batch)
                sums["loss"].append(float(terms.loss.detach()))
                sums["shift"].append(terms.shift)
                sums["match"].append(terms.match)
                sums["place"].append(terms.place)
                sums["presence"].append(terms.presence)
                for s, ok in zip(batch.spot, terms.within.tolist(), strict=True):
                    sums["real" if s in self._clip_of else "known"].append(float(ok))
        line = {k: round(float(np.mean(v)), 4) for k, v in sums.items() if v}
        line |= {"step": self.step, "scale": round(float(self.net.scale.detach()), 2)}
        line["threshold"] = round(float(self.net.threshold.detach()), 2)
        self.history.append(line)
        self.save()
        return line

    # ---- checkpoints ----------------------------------------------------------------------------------------------

    @property
    def checkpoint(self) -> Path:
        """Where the state lies."""
        return self.run / "checkpoint.pt"

    def save(self) -> None:
        """Everything that the next step depends on; whole or not at all."""
        self.run.mkdir(parents=True, exist_ok=True)
        part = self.checkpoint.with_suffix(".part")
        torch.save(
            {
                "settings": self.net.settings(),
                "net": self.net.state_dict(),
                "average": self.average,
                "optimiser": self.optimiser.state_dict(),
                "latents": self.latents.state(),
                "clips": self.clip_names,
                "step": self.step,
                "history": self.history,
            },
            part,
        )
        os.replace(part, self.checkpoint)
        (self.run / "log.jsonl").write_text("".join(json.dumps(x) + "\n" for x in self.history))

    def resume(self) -> bool:
        """From the run's checkpoint, if there is one."""
        if not self.checkpoint.is_file():
            return False
        saved = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        if saved["clips"] != self.clip_names:
            raise ValueError(f"{self.checkpoint} was trained on other footage: choose another --run")
        self.net.load_state_dict(saved["net"])
        self.average = saved["average"]
        self.optimiser.load_state_dict(saved["optimiser"])
        self.latents.restore(saved["latents"])
        self.step, self.history = saved["step"], saved["history"]
        return True

    def offsets(self) -> dict[str, float]:
        """What is believed of each clip's offset, ms."""
        return dict(zip(self.clip_names, self.latents.offsets_ms().tolist(), strict=True))

    def adopt(self, path: Path) -> None:
        """Begins with another run's averaged weights, and with what it found out of the clips they share."""
        start, saved = nets.load(path)
        if start.size.norm and not self.net.size.norm:
            start = nets.folded(start)
        self.net.load_state_dict(start.state_dict())
        self.average = copy.deepcopy(self.net.state_dict())
        for row, name in enumerate(saved["clips"]):
            if name in self.clip_names:
                here = self.clip_names.index(name)
                for key, value in self.latents.state().items():
                    value[here] = saved["latents"][key][row]
