"""What is learned: in which shift, where, and with which sound a picture agrees.

- **shift**: InfoNCE over time shifts of the same clip (Chung and Zisserman 2016 with every shift a negative; Afouras
  et al. 2020 take the maximum over space): score = logsumexp over space of the window's mean similarity, at 121
  shifts of 10 ms; the target is a narrow bell around the truth, because shifts of a few milliseconds are no
  negatives.
- **match**: InfoNCE over the batch in both directions: which sound belongs to this picture, which picture to this
  sound.
- **place**: one softmax over everything: all cells of all pictures of the batch, at all shifts, compete for a sound.
  The whole batch is one picture with many talkers, of whom one is heard: background must score low at *every* shift.
- **presence**: is the source of this sound in this picture at all? Logistic, against a learned threshold; pairs that do
  not belong together are the off-screen voices.

A clip of footage has an offset of its own that nobody knows: it is latent. Its posterior is kept per clip (running
mean of log-likelihoods over the visits, a Gaussian prior at zero), and its mode is the target.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

STEP_MS = 10
_BELL_MS = 18.0


@dataclass(frozen=True)
class Terms:
    """A step's loss and what it is made of."""

    loss: Tensor
    shift: float
    match: float
    place: float
    presence: float
    log_likelihood: Tensor
    """[b, shifts], detached: log-softmax over the item's own shifts."""
    within: Tensor
    """[b] bool: the best shift is within 40 ms of the target."""


def shifts_ms(reach: int) -> Tensor:
    """The candidate shifts, ms: 8 reach + 1 of them."""
    return torch.arange(-4 * reach, 4 * reach + 1) * float(STEP_MS)


def similarity(video: Tensor, audio: Tensor, reach: int) -> Tensor:
    """Mean agreement of a window at each shift and place.

    `video` [b, t, dim, p], `audio` [b, dim, 4 (t + 2 reach)] to [b, shifts, p].
    """
    t = video.shape[1]
    count = 8 * reach + 1
    frames = audio.transpose(1, 2)  # [b, frames, dim]
    # Row s of the gathered sound is what shift s compares with: frames s, s + 4, s + 8, ...
    index = torch.arange(count, device=audio.device)[:, None] + 4 * torch.arange(t, device=audio.device)[None]
    gathered = frames[:, index.clamp(max=frames.shape[1] - 1)]  # [b, shifts, t, dim]
    return torch.matmul(gathered.flatten(2), video.flatten(1, 2)) / t


def across(video: Tensor, audio: Tensor, reach: int, window: int = 3) -> Tensor:
    """Every picture with every sound near zero shift, on the slot grid: [b videos, b sounds, 2 window + 1, p]."""
    t = video.shape[1]
    frames = audio.transpose(1, 2)
    near = reach + torch.arange(-window, window + 1, device=audio.device)
    index = 4 * near[:, None] + 4 * torch.arange(t, device=audio.device)[None]
    gathered = frames[:, index].flatten(2)  # [sounds, shifts, t dim]
    flat = video.flatten(1, 2)  # [videos, t dim, p]
    return torch.einsum("jsk,ikp->ijsp", gathered, flat) / t


@dataclass(frozen=True)
class Weights:
    """Of the terms; `shift` has 1."""

    match: float = 0.5
    place: float = 0.0
    presence: float = 0.0


def evaluate(
    video: Tensor,
    audio: Tensor,
    scale: Tensor,
    threshold: Tensor,
    target_ms: Tensor,
    reach: int,
    weights: Weights | None = None,
) -> Terms:
    """The loss of a batch. `target_ms` [b]: the shift at which each item agrees."""
    weights = weights or Weights()
    grid = shifts_ms(reach).to(video.device)
    cells = scale * similarity(video, audio, reach)  # [b, shifts, p]
    own = torch.logsumexp(cells, -1) - math.log(cells.shape[-1])
    bell = (-0.5 * ((grid[None] - target_ms[:, None]) / _BELL_MS) ** 2).softmax(1)
    likelihood = own.log_softmax(1)
    loss = shift_loss = -(bell * likelihood).sum(1).mean()
    match_loss = place_loss = presence_loss = torch.zeros((), device=video.device)
    if weights.match or weights.place or weights.presence:
        between = scale * across(video, audio, reach)  # [videos, sounds, 7, p]
        count = len(between)
        truth = torch.arange(count, device=video.device)
        other = ~torch.eye(count, dtype=torch.bool, device=video.device)
        # Any of the seven shifts may be an item's own; the same for all pairs, so none is favoured.
        pairs = torch.logsumexp(between.flatten(2), -1)  # [videos, sounds]
        if weights.match:
            level = pairs - math.log(between[0, 0].numel())
            match_loss = 0.5 * (F.cross_entropy(level, truth) + F.cross_entropy(level.T, truth))
        if weights.place:
            right = torch.logsumexp(torch.logsumexp(cells, -1) + bell.clamp_min(1e-9).log(), 1)
            # The own picture competes at every shift on the slot grid, the others at the seven near zero.
            mine = torch.logsumexp(cells[:, ::4].flatten(1), 1)
            others = torch.logsumexp(pairs.masked_fill(~other, -1e4), 0)
            place_loss = (torch.logaddexp(torch.logaddexp(mine, others), right) - right).mean()
        if weights.presence:
            within = pairs - math.log(7.0)
            present = F.softplus(threshold - within[truth, truth]).mean()
            absent = F.softplus(within - threshold)[other].mean()
            presence_loss = present + absent
        loss = loss + weights.match * match_loss + weights.place * place_loss + weights.presence * presence_loss
    best = grid[own.argmax(1)]
    return Terms(
        loss=loss,
        shift=float(shift_loss.detach()),
        match=float(match_loss.detach()),
        place=float(place_loss.detach()),
        presence=float(presence_loss.detach()),
        log_likelihood=likelihood.detach().cpu(),
        within=((best - target_ms).abs() <= 40.0).cpu(),
    )


class Latents:
    """The unknown offset of each spot's clip: a posterior over the shifts."""

    DECAY = 0.9
    WEIGHT = 0.5
    PRIOR_MS = 70.0

    def __init__(self, guesses_ms: list[float], reach: int) -> None:
        """`guesses_ms`: where the localiser found each clip; a mild prior of its own."""
        self.grid = shifts_ms(reach)
        self.evidence = torch.zeros(len(guesses_ms), len(self.grid))
        self.visits = torch.zeros(len(guesses_ms))
        guess = torch.tensor(guesses_ms)[:, None]
        self._prior = (
            -0.5 * (self.grid[None] / self.PRIOR_MS) ** 2
            - 0.5 * ((self.grid[None] - guess).clamp(-150, 150) / 80.0) ** 2
        )

    def offsets_ms(self) -> Tensor:
        """The mode of each posterior."""
        return self.grid[(self.evidence + self._prior).argmax(1)]

    def confidence(self) -> Tensor:
        """How much the mode stands out of a flat curve, nats a visit; 0 before the first."""
        return (self.evidence.max(1).values - self.evidence.median(1).values) * (1 - self.DECAY) / self.WEIGHT

    def update(self, clip: int, log_likelihood: Tensor, zero_ms: float) -> None:
        """Takes one window's log-softmax over shifts; `zero_ms` is where the item's own zero lay."""
        shift = round(zero_ms / STEP_MS)
        moved = torch.roll(log_likelihood, -shift)
        if shift > 0:
            moved[-shift:] = moved[-shift - 1]
        elif shift < 0:
            moved[:-shift] = moved[-shift]
        self.evidence[clip] = self.DECAY * self.evidence[clip] + self.WEIGHT * moved.clamp(min=-9)
        self.visits[clip] += 1

    def state(self) -> dict[str, Tensor]:
        """For the checkpoint."""
        return {"evidence": self.evidence, "visits": self.visits, "prior": self._prior}

    def restore(self, state: dict[str, Tensor]) -> None:
        """From the checkpoint."""
        self.evidence, self.visits, self._prior = state["evidence"], state["visits"], state["prior"]
