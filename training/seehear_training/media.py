"""Frames and audio to a video file, through ffmpeg.

The sound goes to ffmpeg as a temporary WAV file, the frames through a pipe, so memory stays constant. The result is
written beside its final name and renamed when whole: an interrupted run leaves no half file that looks like a clip.

Picture and sound agree by their time stamps. In .mp4 both start at zero; in .mkv the AAC encoder's 21 ms of priming
stay in the track and the picture starts that much later.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .speech import SAMPLE_RATE


class MediaError(RuntimeError):
    """ffmpeg is missing or failed; the message carries what it said."""


MISSING = "ffmpeg is not installed; install the Debian package ffmpeg (apt-get install ffmpeg)"
_PATIENCE_S = 1800


class Unreadable(MediaError):
    """A file that ffmpeg can't make anything of; the message is its last line."""


def read(arguments: list[str]) -> bytes:
    """What `ffmpeg` or `ffprobe` with these arguments writes to its standard output.

    Raises `Unreadable` if it fails, `MediaError` if it is not there.
    """
    try:
        done = subprocess.run(
            arguments, capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=_PATIENCE_S
        )
    except FileNotFoundError as error:
        raise MediaError(MISSING) from error
    except subprocess.TimeoutExpired as error:
        raise Unreadable(f"{arguments[0]} took more than {_PATIENCE_S} s") from error
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise Unreadable(last[0].split(": ")[-1] if last else f"{arguments[0]} failed")
    return done.stdout


def read_sound(path: Path, *filters: str) -> NDArray[np.int16]:
    """The first sound of a file, mono at `SAMPLE_RATE`, through ffmpeg's audio `filters`."""
    chain = ["-af", ",".join(filters)] if filters else []
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", str(path), "-map", "0:a:0", *chain]
    raw = read([*command, "-ac", "1", "-ar", str(SAMPLE_RATE), "-f", "s16le", "-"])
    return np.frombuffer(raw[: len(raw) // 2 * 2], "<i2")


def write_wav(path: Path, audio: NDArray[np.float32], rate_hz: int = SAMPLE_RATE) -> None:
    """Mono 16-bit WAV; samples beyond -1..1 are clipped."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes((np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes())


def write_video(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    audio: NDArray[np.float32],
    size: tuple[int, int],
    fps: float,
    *,
    crf: int = 20,
    preset: str = "veryfast",
    audio_rate_hz: int = 48_000,
    audio_bitrate: str = "96k",
) -> None:
    """Write H.264 (yuv420p) and AAC (mono) to `path`, an .mp4 or .mkv.

    `frames` are uint8 BGR [height, width, 3], `size` is (width, height), both even; `audio` is mono at `SAMPLE_RATE`.
    """
    width, height = size
    if path.suffix not in (".mp4", ".mkv"):
        raise ValueError(f"{path}: expected a name ending in .mp4 or .mkv")
    if width % 2 or height % 2:
        raise ValueError(f"{width}x{height}: H.264 with 4:2:0 chroma needs an even width and height")
    if shutil.which("ffmpeg") is None:
        raise MediaError(MISSING)
    rate = Fraction(fps).limit_denominator(1001)  # 29.97 means 30000/1001
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as folder:
        wav, part, log = Path(folder) / "sound.wav", Path(folder) / f"part{path.suffix}", Path(folder) / "ffmpeg.log"
        write_wav(wav, audio)
        command = [
            "ffmpeg", "-v", "error", "-nostdin", "-y",
            "-f", "rawvideo", "-pix_fmt", "bgr24", "-s", f"{width}x{height}", "-r", str(rate), "-i", "pipe:0",
            "-i", str(wav), "-map", "0:v", "-map", "1:a",
            "-c:v", "libx264", "-preset", preset, "-crf", str(crf), "-pix_fmt", "yuv420p", "-threads", "1",
            "-c:a", "aac", "-b:a", audio_bitrate, "-ar", str(audio_rate_hz), "-ac", "1",
            *(["-movflags", "+faststart"] if path.suffix == ".mp4" else []), str(part),
        ]  # fmt: skip
        # stderr goes to a file: a pipe nobody reads would block ffmpeg once full.
        with log.open("wb") as errors:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=errors)
            assert process.stdin is not None  # noqa: S101 - asked for above
            broken = False
            try:
                for frame in frames:
                    if frame.shape != (height, width, 3) or frame.dtype != np.uint8:
                        raise ValueError(f"frame {frame.shape} {frame.dtype}: expected ({height}, {width}, 3) uint8")
                    process.stdin.write(np.ascontiguousarray(frame).data)
                process.stdin.close()
            except BrokenPipeError:
                broken = True  # ffmpeg went away; its own words say why
            except BaseException:
                process.kill()
                process.wait()
                raise
            code = process.wait()
        if code or broken:
            raise MediaError(f"ffmpeg failed on {path} (exit {code}): {log.read_text(errors='replace').strip()}")
        os.replace(part, path)
