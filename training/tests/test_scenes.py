"""The generator keeps its promises: determinism, lips and sound in step, truth that is true, whole files."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from seehear_training.faces import Face, Pose
from seehear_training.looks import KINDS, Look
from seehear_training.media import MediaError, write_video
from seehear_training.mouth import DEFAULT_LEAD_S, REST, MouthTrack, visemes
from seehear_training.render import Rendering, render
from seehear_training.scenes import OFF_SCREEN, Idle, Line, Person, Picture, Scene, Shot, Sound, cells
from seehear_training.speech import SAMPLE_RATE, SpeechUnavailable, Voice, resample, synthesise

cv2.setNumThreads(1)
MEDIA = Path(__file__).resolve().parents[2] / "tests" / "media"
SENTENCE = "My mother and my father always bought apples, bananas and warm bread at the old market by the harbour."
VOICES = (Voice("en-us", "f3"), Voice("en-gb-x-rp", "m3", pitch=35), Voice("de", "m1", formant_scale=1.1))


def talk(lead_s: float = 0.08, voice: Voice = VOICES[0], offset_ms: float = 0.0) -> Scene:
    """One clean talker, filling the picture."""
    line = Line(0, 0.5, SENTENCE, voice)
    person = Person(Look(), (0, 0, 256, 144), 128, 62, 36.0, voice=voice, lead_s=lead_s, calm=0.0, yaw=0.0)
    return Scene(1, 256, 144, 25.0, 7.0, (person,), (line,), (Shot(0.0, "wall", 1, (0,)),), offset_ms=offset_ms)


def conversation() -> Scene:
    """Two people, an overlap, a voice from off screen, lips without sound, a cut away from everybody."""
    lines = (
        Line(0, 0.3, "Good morning, how are you today?", VOICES[0]),
        Line(1, 1.6, "Very well, thank you for asking me.", VOICES[1]),
        Line(0, 4.6, "These words nobody can hear.", VOICES[0], heard=False),
        Line(OFF_SCREEN, 4.8, "Hello from behind the camera.", VOICES[2]),
        Line(1, 7.2, "Now you hear me but you do not see me.", VOICES[1]),
    )
    people = tuple(
        Person(Look(seed=i), cell, cell[0] + 64, 62, 26.0, voice=VOICES[i], seed=i, idles=(Idle(0, 10, "chew"),))
        for i, cell in enumerate(cells(2, 256, 144, False))
    )
    shots = (Shot(0.0, "room", 1, (0, 1)), Shot(7.0, "bokeh", 2, ()))
    return Scene(5, 256, 144, 25.0, 10.0, people, lines, shots, Picture(noise=2, shake_px=1.5), Sound(decay_s=0.2))


@pytest.fixture(scope="module")
def conversed() -> Rendering:
    """The conversation, rendered once."""
    return render(conversation())


def digest(rendering: Rendering) -> str:
    """Hash of all frames and samples."""
    out = hashlib.sha256(rendering.audio.tobytes())
    for frame in rendering.frames():
        out.update(frame.tobytes())
    return out.hexdigest()


def envelope(audio: NDArray[np.float32], count: int) -> NDArray[np.float64]:
    """Log RMS of 20-ms windows centred on a 10-ms grid."""
    half = SAMPLE_RATE // 100
    padded = np.pad(audio.astype(np.float64), (half, 2 * half))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half)[::half][:count]
    return np.log(np.sqrt(np.mean(windows**2, axis=1)) + 1e-3)


def best_lag(a: NDArray[np.float64], b: NDArray[np.float64], reach: int) -> tuple[int, float]:
    """Steps by which b is later than a, and the correlation there."""
    core = slice(reach, len(a) - reach)
    scores = [float(np.corrcoef(a[core], np.roll(b, -lag)[core])[0, 1]) for lag in range(-reach, reach + 1)]
    return int(np.argmax(scores)) - reach, max(scores)


# ---- determinism ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("people", [1, 3, 4])
def test_same_seed_same_bytes(people: int) -> None:
    first = digest(render(Scene.random(11, duration_s=2.0, people=people)))
    synthesise.cache_clear()
    synthesise("Something else is said in between.", VOICES[1])
    assert digest(render(Scene.random(11, duration_s=2.0, people=people))) == first
    assert digest(render(Scene.random(12, duration_s=2.0, people=people))) != first


def test_a_frame_does_not_depend_on_the_frames_before_it(conversed: Rendering) -> None:
    alone = render(conversation()).frame(60)
    for k, frame in enumerate(conversed.frames()):
        if k == 60:
            assert np.array_equal(frame, alone)
            break


# ---- speech and mouth -----------------------------------------------------------------------------------------------


def test_resampling_keeps_the_band_and_removes_what_would_alias() -> None:
    time = np.arange(22050) / 22050
    low, high = (np.sin(2 * np.pi * hz * time).astype(np.float32) for hz in (1000, 9500))
    out = resample(low, 22050, 16000)
    assert len(out) == 16000
    expected = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    assert np.abs(out - expected)[1000:-1000].max() < 2e-3
    assert np.abs(resample(high, 22050, 16000))[1000:-1000].max() < 2e-3


def test_phonemes_lie_in_order_where_the_sound_is() -> None:
    said = synthesise("Bob papa. Mama.", VOICES[0])
    starts = [p.start_s for p in said.phonemes]
    assert starts == sorted(starts) and said.phonemes[0].start_s >= 0
    assert said.phonemes[-1].end_s <= said.duration_s + 1e-9
    vowels = [p for p in said.phonemes if p.ipa[0] in "ɑæaʌ"]
    loud = np.mean([np.abs(said.audio[int(p.start_s * 16000) : int(p.end_s * 16000)]).mean() for p in vowels])
    stops = [p for p in said.phonemes if p.ipa == "p"]
    quiet = np.mean([np.abs(said.audio[int(p.start_s * 16000) : int(p.end_s * 16000)]).mean() for p in stops])
    assert vowels and stops and loud > 3 * quiet


def test_a_missing_voice_names_the_remedy() -> None:
    with pytest.raises(SpeechUnavailable, match="espeak-ng-data"):
        synthesise("hello", Voice("no-such-language"))
    assert synthesise("hello", VOICES[0]).duration_s > 0.3, "an error must not break the next utterance"


def test_lips_close_for_p_b_m_and_rest_in_silence() -> None:
    said = synthesise("Papa may bathe.", VOICES[0])
    track = MouthTrack(said.phonemes, said.duration_s + 2, lead_s=0.0)
    for p in said.phonemes:
        opening = float(track.at((p.start_s + p.end_s) / 2)[0])
        assert (opening < 0.02) if p.ipa in "pbm" else True, f"{p} opening {opening:.2f}"
    assert max(float(track.at(p.start_s + 0.04)[0]) for p in said.phonemes) > 0.4
    assert np.allclose(track.at(said.duration_s + 1.5), REST, atol=0.01)
    assert visemes("aɪ") != visemes("a") and not visemes("ː")


def test_lead_shifts_the_mouth_and_nothing_else() -> None:
    said = synthesise(SENTENCE, VOICES[0])
    times = np.arange(0.2, 4, 0.01)
    early, plain = MouthTrack(said.phonemes, 8, lead_s=0.1), MouthTrack(said.phonemes, 8, lead_s=0.0)
    assert np.allclose(early.at(times), plain.at(times + 0.1), atol=1e-3)


@pytest.mark.parametrize("voice", VOICES)
@pytest.mark.parametrize("lead_s", [0.0, DEFAULT_LEAD_S, 0.3])
def test_mouth_opens_with_the_sound_at_the_declared_lead(voice: Voice, lead_s: float) -> None:
    rendering = render(talk(lead_s, voice))
    times = np.arange(700) / 100
    opening = np.array([rendering.mouth(0, float(t))[0] for t in times], np.float64)
    lag, score = best_lag(opening, envelope(rendering.audio, 700), 50)
    assert abs(lag * 10 - lead_s * 1000) <= 40, f"lips lead by {lag * 10} ms, declared {lead_s * 1000:.0f}"
    assert score > 0.3


@pytest.mark.parametrize("offset_ms", [0.0, 120.0, -80.0])
def test_drawn_lips_agree_with_the_sound_track(offset_ms: float) -> None:
    """From the pixels: lips and the inside of the mouth are darker than skin, so opening darkens the surroundings."""
    rendering = render(talk(0.08, offset_ms=offset_ms))
    truth = rendering.truth()["people"][0]
    dark = []
    for frame, (x, y) in zip(rendering.frames(), truth["mouth"], strict=True):
        patch = frame[round(y) - 10 : round(y) + 11, round(x) - 10 : round(x) + 11]
        dark.append(float((patch.mean(axis=2) < 110).mean()))
    sound = envelope(rendering.audio, 700)[::4]
    lag, score = best_lag(np.array(dark), sound, 12)
    assert abs(lag * 40 - 80 - offset_ms) <= 60 and score > 0.2, f"lag {lag * 40} ms, correlation {score:.2f}"
    opening = np.array([rendering.mouth(0, k / 25)[0] for k in range(len(dark))], np.float64)
    lag, score = best_lag(np.array(dark), np.maximum(opening, 0.0), 12)
    assert lag == 0 and score > 0.7, f"drawn {lag} frames from the trajectory, correlation {score:.2f}"


# ---- truth ----------------------------------------------------------------------------------------------------------


def check_schema(truth: dict) -> None:
    """Every key of TRUTH.md, with its length and range."""
    slots = truth["duration_ms"] // 40
    assert {"width", "height", "fps", "duration_ms", "seed", "cells", "turns", "voiced", "offset_ms", "people"} <= set(
        truth
    )
    assert len(truth["voiced"]) == slots and set(truth["voiced"]) <= {0, 1}
    assert len(truth["cells"]) == len(truth["people"])
    assert truth["turns"][0]["start_ms"] == 0 and truth["turns"][-1]["end_ms"] == truth["duration_ms"]
    for before, after in zip(truth["turns"], truth["turns"][1:], strict=False):
        assert before["end_ms"] == after["start_ms"] and before["who"] != after["who"]
    for turn in truth["turns"]:
        assert turn["who"] is None or -1 <= turn["who"] < len(truth["people"])
    for i, person in enumerate(truth["people"]):
        assert person["id"] == i and person["kind"] in KINDS
        assert len(person["box"]) == len(person["mouth"]) == len(person["speaking"]) == slots
        assert set(person["speaking"]) <= {0, 1}
        for k, (box, mouth) in enumerate(zip(person["box"], person["mouth"], strict=True)):
            seen = any(a <= k * 40 < b for a, b in person["visible"])
            assert (box is not None) == (mouth is not None) == seen
            if box is None:
                continue
            x, y, w, h = box
            assert w > 0 and h > w * 0.8
            assert x < mouth[0] < x + w and y + h * 0.5 < mouth[1] < y + h * 1.02
            cx, cy, cw, ch = truth["cells"][i]
            assert cx <= mouth[0] < cx + cw and cy <= mouth[1] < cy + ch, "a mouth outside its cell"


@pytest.mark.parametrize("seed", range(8))
def test_truth_schema_of_random_scenes(seed: int) -> None:
    people = 1 + seed % 6
    truth = render(Scene.random(seed, duration_s=4.0, people=people)).truth()
    check_schema(json.loads(json.dumps(truth)))
    assert len(truth["people"]) == people


def test_turns_tell_who_is_heard(conversed: Rendering) -> None:
    truth = conversed.truth()
    check_schema(truth)
    assert [t["who"] for t in truth["turns"] if t["who"] is not None] == [0, 1, -1, -1] or [
        t["who"] for t in truth["turns"] if t["who"] is not None
    ] == [0, 1, -1]
    for turn in truth["turns"]:
        if turn["who"] is None:
            continue
        span = slice(turn["start_ms"] * 16, turn["end_ms"] * 16)
        energy = {who: float(np.sum(voice[span].astype(np.float64) ** 2)) for who, voice in conversed.voices.items()}
        loudest = max(energy, key=lambda who: energy[who])
        hidden = turn["start_ms"] >= 7000  # the camera has cut away
        assert loudest == (1 if hidden else turn["who"])


def test_speaking_follows_each_voice_alone(conversed: Rendering) -> None:
    truth = conversed.truth()
    for i, person in enumerate(truth["people"]):
        power = np.mean(conversed.dry[i].reshape(-1, 640).astype(np.float64) ** 2, axis=1)
        speaking = np.array(person["speaking"], bool)
        assert power[~speaking].max(initial=0) < 0.05 * power[speaking].mean()
        starts = [x["start_ms"] for x in truth["lines"] if x["who"] == i and x["heard"]]
        for ms in starts:
            assert speaking[ms // 40 : ms // 40 + 5].any(), f"person {i} begins at {ms} ms"
    assert not np.any(np.array(truth["people"][0]["speaking"])[4600 // 40 : 6200 // 40]), (
        "lips without sound are not speech"
    )
    both = np.array(truth["people"][0]["speaking"]) & np.array(truth["people"][1]["speaking"])
    assert both.any(), "the overlap is in the truth"
    assert truth["people"][0]["visible"] == [[0, 7000]] and truth["people"][1]["box"][200] is None


def test_unheard_lips_move_all_the_same(conversed: Rendering) -> None:
    silent = [float(conversed.mouth(0, t)[0]) for t in np.arange(4.7, 6.0, 0.04)]
    assert max(silent) > 0.3


def test_offset_delays_the_sound_exactly() -> None:
    plain, late = render(talk()), render(talk(offset_ms=120.0))
    assert np.array_equal(late.audio[1920:], plain.audio[:-1920]) and not late.audio[:1920].any()
    assert plain.truth()["voiced"] == late.truth()["voiced"] and late.truth()["offset_ms"] == 120.0


def test_voices_add_up_to_the_sound_track() -> None:
    rendering = render(replace(conversation(), sound=Sound(decay_s=0.3)))
    assert np.allclose(np.sum(list(rendering.voices.values()), axis=0), rendering.audio, atol=1e-5)


# ---- faces ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("yaw", [-0.35, 0.0, 0.35])
@pytest.mark.parametrize("kind", KINDS)
def test_opening_the_mouth_changes_the_picture_at_the_mouth(kind: str, yaw: float) -> None:
    look = Look.random(np.random.default_rng(3), (kind,))
    face = Face(replace(look, beard="none"), 60.0)
    pose = Pose(150, 130, 60.0, roll=0.1, yaw=yaw, pitch=0.1, torso_x=150, torso_y=130)
    shut, wide = REST, np.array([1.0, 0.5, 0.0, 0.0], np.float32)
    pictures = []
    for mouth in (shut, wide):
        frame = np.full((300, 300, 3), 128, np.uint8)
        face.draw(frame, pose, mouth)
        pictures.append(frame.astype(int))
    change = np.abs(pictures[0] - pictures[1]).sum(axis=2)
    x, y = face.mouth_point(pose, wide)
    near = change[round(y) - 25 : round(y) + 30, round(x) - 30 : round(x) + 30]
    above = change[: round(face.box(pose, shut)[1] + 50)]
    assert near.mean() > 5 and above.max() == 0
    centre = np.average(np.arange(300), weights=near_rows(change, y).sum(axis=0))
    assert abs(centre - x) < 6, f"the drawn mouth is {centre - x:.1f} px from the truth"


def near_rows(change: NDArray[np.int_], y: float) -> NDArray[np.int_]:
    """The rows about the mouth: the chin's motion is left out."""
    return change[round(y) - 8 : round(y) + 9]


def test_faces_may_leave_the_picture() -> None:
    face = Face(Look(hair_style="long"), 30.0)
    for x, y in ((-500.0, 70.0), (-10.0, -10.0), (250.0, 400.0), (128.0, 140.0)):
        face.draw(np.zeros((144, 256, 3), np.uint8), Pose(x, y, 30.0, torso_x=x, torso_y=y), REST)


# ---- files ----------------------------------------------------------------------------------------------------------

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def probe(path: Path) -> dict:
    """Frame count, duration and start times as ffprobe sees them."""
    command = ["ffprobe", "-v", "error", "-count_frames", "-of", "json", "-show_entries",
               "stream=codec_type,start_time,nb_read_frames,pix_fmt:format=duration", str(path)]  # fmt: skip
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


@needs_ffmpeg
@pytest.mark.parametrize(("suffix", "fps"), [("mp4", 25.0), ("mkv", 25.0), ("mp4", 30000 / 1001)])
def test_file_keeps_frames_duration_and_sync(tmp_path: Path, suffix: str, fps: float) -> None:
    scene = replace(talk(), fps=fps)
    rendering = render(scene)
    path = tmp_path / f"clip.{suffix}"
    write_video(path, rendering.frames(), rendering.audio, (256, 144), fps)
    facts = probe(path)
    video, sound = (next(s for s in facts["streams"] if s["codec_type"] == kind) for kind in ("video", "audio"))
    assert int(video["nb_read_frames"]) == scene.frame_count and video["pix_fmt"] == "yuv420p"
    assert abs(float(facts["format"]["duration"]) - scene.duration_s) < 0.06
    decode = ["ffmpeg", "-v", "error", "-i", str(path), "-ac", "1", "-ar", "16000", "-f", "f32le", "-"]
    audio = np.frombuffer(subprocess.run(decode, check=True, capture_output=True).stdout, np.float32)
    count = min(len(audio), len(rendering.audio))
    size = 1 << 18
    product = np.fft.rfft(audio[:count], size) * np.conj(np.fft.rfft(rendering.audio[:count], size))
    delay = int(np.argmax(np.fft.irfft(product, size)))
    delay = delay - size if delay > size // 2 else delay
    # Matroska keeps the encoder's 21 ms of priming and starts the picture that much later.
    delay_ms = delay / 16 - 1000 * (float(video["start_time"]) - float(sound["start_time"]))
    assert abs(delay_ms) <= 2, f"the encoder moved the sound by {delay_ms:.1f} ms"
    assert list(tmp_path.iterdir()) == [path], "nothing else is left behind"


@needs_ffmpeg
def test_a_failed_write_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    frames = [np.zeros((144, 256, 3), np.uint8)] * 3
    with pytest.raises(MediaError, match="preset"):
        write_video(tmp_path / "clip.mp4", frames, np.zeros(1920, np.float32), (256, 144), 25.0, preset="no-such")
    with pytest.raises(ValueError, match="frame"):
        write_video(
            tmp_path / "clip.mp4", [np.zeros((10, 10, 3), np.uint8)], np.zeros(640, np.float32), (256, 144), 25.0
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not (MEDIA / "demo.mp4").exists(), reason="the demo clip has not been made")
def test_demo_clip_is_small_and_its_truth_fits() -> None:
    assert (MEDIA / "demo.mp4").stat().st_size < 2_000_000
    truth = json.loads((MEDIA / "demo.truth.json").read_text())
    check_schema(truth)
    assert (truth["width"], truth["height"], truth["duration_ms"]) == (1280, 720, 20_000)
    assert {t["who"] for t in truth["turns"]} == {0, 1, -1, None}
