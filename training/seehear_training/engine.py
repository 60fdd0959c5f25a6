"""An engine to ask: a checkpoint of ours, or ONNX files with their manifest. Both answer alike.

`video`: [n, 5, h, w] float32 stacks to [n, dim, h/16, w/16]; `audio`: standardised log-mel [64, t] to [dim, t] at
100 Hz. Unit vectors; the score of a place and a time shift is their product.
"""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from . import mel, nets

Array = NDArray[np.float32]


class Engine(Protocol):
    """What evaluation and localisation need of an engine."""

    name: str
    scale: float
    zero_ms: float
    """Reading of the offset where picture and sound agree."""

    def video(self, stacks: Array) -> Array:
        """[n, 5, h, w] to [n, dim, h/16, w/16]."""

    def audio(self, log_mel: Array) -> Array:
        """[64, t] to [dim, t], t at 100 Hz."""


@dataclass
class TorchEngine:
    """A network in memory."""

    net: nets.SyncNet
    name: str = "checkpoint"
    zero_ms: float = 0.0
    half: bool = False
    """Compute in bfloat16, where exactness does not matter."""

    def __post_init__(self) -> None:
        self.net.eval()
        self.net.video.to(memory_format=torch.channels_last)
        self.scale = float(self.net.scale.detach())

    @torch.inference_mode()
    def video(self, stacks: Array) -> Array:
        """See `Engine`."""
        x = torch.from_numpy(stacks).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            return self.net.video(x).float().numpy()

    @torch.inference_mode()
    def audio(self, log_mel: Array) -> Array:
        """See `Engine`."""
        return self.net.audio(torch.from_numpy(log_mel)[None, None]).float()[0].numpy()


class OnnxEngine:
    """A manifest's pair of ONNX files, by ONNX Runtime."""

    def __init__(self, manifest: Path, threads: int = 1) -> None:
        import onnxruntime as ort

        with manifest.open("rb") as file:
            self.manifest: dict[str, Any] = tomllib.load(file)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._nets = {
            kind: ort.InferenceSession(manifest.parent / self.manifest[kind]["file"], options)
            for kind in ("video", "audio")
        }
        self.name = str(self.manifest["name"])
        self.scale = float(self.manifest["score"]["scale"])
        self.zero_ms = float(self.manifest["score"].get("zero_ms", 0.0))
        self._frames = 4 // int(self.manifest["audio"]["steps_per_slot"])

    def _run(self, kind: str, x: Array) -> Array:
        return self._nets[kind].run(None, {self.manifest[kind]["input"]: np.ascontiguousarray(x)})[0]

    def video(self, stacks: Array) -> Array:
        """See `Engine`."""
        return np.concatenate([self._run("video", stacks[k : k + 1]) for k in range(len(stacks))])

    def audio(self, log_mel: Array) -> Array:
        """See `Engine`; an engine with one embedding a slot gives it for all four frames of it."""
        whole = log_mel.shape[1] // 4 * 4
        out = self._run("audio", log_mel[None, None, :, :whole])[0]
        out = np.repeat(out, self._frames, axis=1)
        return np.pad(out, ((0, 0), (0, log_mel.shape[1] - out.shape[1])), mode="edge")


def load(path: Path, half: bool = False) -> Engine:
    """A `.toml` manifest or a `.pt` checkpoint (its averaged weights)."""
    if path.suffix == ".toml":
        return OnnxEngine(path)
    return TorchEngine(nets.load(path)[0], path.stem, half=half)


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file, as manifests have it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def clip_mel(audio: NDArray[np.int16]) -> Array:
    """Standardised log-mel of a whole clip, [64, t]."""
    return mel.standardise(mel.log_mel(audio.astype(np.float32) / 32768))
