"""What is learned: in which shift, and with which sound, a picture agrees.

InfoNCE over time shifts of the same clip (Chung and Zisserman 2016 with every shift a negative; Afouras et al. 2020
take the maximum over space): score = logsumexp over space of the window's mean similarity, at 121 shifts of 10 ms; the
target is a narrow bell around the truth, because shifts of a few milliseconds are no negatives. Beside it, InfoNCE
over the batch in both directions: which sound belongs to this picture, which picture to this sound.

A clip of footage has an offset of its own that nobody knows: it is latent. Its posterior is kept per clip (running
mean of log-likelihoods over the visits, a Gaussian prior at zero), and its mode is the target.
"""

from __future__ import annotations

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
    index = torch.arange(count)[:, None] + 4 * torch.arange(t)[None]
    gathered = frames[:, index.clamp(max=frames.shape[1] - 1)]  # [b, shifts, t, dim]
    return torch.matmul(gathered.flatten(2), video.flatten(1, 2)) / t


def across(video: Tensor, audio: Tensor, reach: int, window: int = 3) -> Tensor:
    """Every picture with every sound near zero shift, on the slot grid: [b videos, b sounds, 2 window + 1, p]."""
    t = video.shape[1]
    frames = audio.transpose(1, 2)
    index = 4 * (reach + torch.arange(-window, window + 1))[:, None] + 4 * torch.arange(t)[None]
    gathered = frames[:, index].flatten(2)  # [sounds, shifts, t dim]
    flat = video.flatten(1, 2)  # [videos, t dim, p]
    return torch.einsum("jsk,ikp->ijsp", gathered, flat) / t


def pool(similarities: Tensor, scale: Tensor) -> Tensor:
    """logsumexp over space, [..., p] to [...], of the scaled scores, less log p."""
    return torch.logsumexp(similarities * scale, -1) - float(torch.tensor(similarities.shape[-1]).log())


def evaluate(
    video: Tensor, audio: Tensor, scale: Tensor, target_ms: Tensor, reach: int, match_weight: float = 0.5
) -> Terms:
    """The loss of a batch. `target_ms` [b]: the shift at which each item agrees."""
    grid = shifts_ms(reach)
    own = pool(similarity(video, audio, reach), scale)  # [b, shifts]
    bell = -0.5 * ((grid[None] - target_ms[:, None]) / _BELL_MS) ** 2
    bell = bell.softmax(1)
    likelihood = own.log_softmax(1)
    shift_loss = -(bell * likelihood).sum(1).mean()
    match_loss = torch.zeros(())
    if match_weight > 0:
        # Any of the seven shifts may be an item's own; the same for all pairs, so none is favoured.
        pairs = torch.logsumexp(pool(across(video, audio, reach), scale), -1)
        truth = torch.arange(len(pairs))
        match_loss = 0.5 * (F.cross_entropy(pairs, truth) + F.cross_entropy(pairs.T, truth))
    best = grid[own.argmax(1)]
    return Terms(
        loss=shift_loss + match_weight * match_loss,
        shift=float(shift_loss.detach()),
        match=float(match_loss.detach()),
        log_likelihood=likelihood.detach(),
        within=(best - target_ms).abs() <= 40.0,
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
