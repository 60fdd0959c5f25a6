"""Lips from sound alone, and recorded voices in scenes. The recordings here are synthetic voices written to files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seehear_training import acoustics, articulation
from seehear_training.articulation import best_lag, estimate, log_mel, speech_gate, targets
from seehear_training.media import MediaError, write_wav
from seehear_training.mouth import REST, MouthTrack
from seehear_training.recordings import SEGMENT_S, Recordings, split
from seehear_training.render import SLOT_MS, render
from seehear_training.scenes import Scene
from seehear_training.speech import SAMPLE_RATE, Voice, resample, synthesise

FINNISH = (
    "Hyvää huomenta, mammalla on punainen paita ja papalla vanha pyörä. Minä menen aamulla kauppaan ja ostan omenoita."
)
CZECH = "Dobré ráno, máma má novou bundu a táta pije kávu. Dnes půjdeme do parku, potom domů na oběd a večer do kina."
HELD_OUT = ((FINNISH, Voice("fi", "m2", rate_wpm=150)), (CZECH, Voice("cs", "f4", rate_wpm=160)))
"""Voices in languages that training never heard."""


def voice_file(path: Path, text: str, voice: Voice, level_db: float = -26.0) -> None:
    """A recording with pauses before, in and after it, in faint noise."""
    said = acoustics.at_level(synthesise(text, voice).audio, level_db)
    pause = np.zeros(SAMPLE_RATE // 2, np.float32)
    audio = np.concatenate([pause, said, pause, said[: 2 * SAMPLE_RATE], pause])
    write_wav(path, audio + np.random.default_rng(1).standard_normal(len(audio)).astype(np.float32) * 3e-4)


@pytest.fixture(scope="module")
def voices(tmp_path_factory: pytest.TempPathFactory) -> Recordings:
    """Three speakers, one with two files; one file broken, one silent."""
    folder, cache = tmp_path_factory.mktemp("voices"), tmp_path_factory.mktemp("cache")
    voice_file(folder / "11-a-0001.wav", FINNISH, HELD_OUT[0][1])
    voice_file(folder / "11-a-0002.wav", FINNISH, HELD_OUT[0][1])
    voice_file(folder / "12-a-0001.wav", CZECH, HELD_OUT[1][1])
    voice_file(folder / "someone.wav", CZECH, Voice("cs", "m4"), level_db=-40)
    (folder / "broken.flac").write_bytes(b"this is no sound" * 100)
    write_wav(folder / "silent.wav", np.zeros(3 * SAMPLE_RATE, np.float32))
    (folder / "notes.txt").write_text("not a recording")
    return Recordings(folder, cache)


@pytest.mark.parametrize(("text", "voice"), HELD_OUT)
def test_timing_is_unbiased_on_voices_never_heard(text: str, voice: Voice) -> None:
    said = synthesise(text, voice)
    quiet = np.zeros(SAMPLE_RATE // 2, np.float32)
    truth = np.pad(targets(said)[:, 0], 50)
    shape = estimate(np.concatenate([quiet, said.audio[: len(said.audio) // 160 * 160], quiet]))
    lag, score, _ = best_lag(shape[:, 0], truth)
    assert abs(lag * 10) <= 10, f"the estimate is {lag * 10:.1f} ms late"
    assert score > 0.7


def test_estimates_move_with_the_sound() -> None:
    audio = np.pad(synthesise(*HELD_OUT[0]).audio, SAMPLE_RATE)
    late = np.pad(audio, (3200, 0))[: len(audio)]
    lag, score, _ = best_lag(estimate(late)[:, 0], estimate(audio)[:, 0], 30)
    assert abs(lag - 20) < 0.2 and score > 0.98


def test_the_mouth_rests_in_silence_noise_and_pauses() -> None:
    rng = np.random.default_rng(0)
    assert np.array_equal(estimate(np.zeros(SAMPLE_RATE, np.float32)), np.tile(REST, (100, 1)))
    assert estimate(np.zeros(0, np.float32)).shape == (0, 4)
    hiss = acoustics.noise_bed(rng, "pink", 3 * SAMPLE_RATE) * np.float32(0.02)
    assert np.abs(estimate(hiss) - REST).max() < 1e-6, "steady noise is nobody's voice"
    said = acoustics.at_level(synthesise(*HELD_OUT[0]).audio, -24)
    audio = np.concatenate([said, np.zeros(SAMPLE_RATE, np.float32), said])
    audio += acoustics.noise_bed(rng, "white", len(audio)) * np.float32(1e-3)
    shape, middle = estimate(audio), (len(said) + SAMPLE_RATE // 2) // 160
    assert np.abs(shape[middle - 30 : middle + 30] - REST).max() < 0.02
    assert 0.6 < np.percentile(shape[speech_gate(audio) > 0.9, 0], 95) < 1.0


def test_lips_meet_for_p_b_m_and_only_now_and_then() -> None:
    said = synthesise("Mama papa, Bob may bathe.", Voice("en-us", "f2"))
    shape = estimate(np.pad(said.audio, SAMPLE_RATE // 4))[25:]
    shut = [
        shape[int(p.start_s * 100) : int(p.end_s * 100) + 2, 0].min() < 0.1 for p in said.phonemes if p.ipa in "pbm"
    ]
    assert np.mean(shut) > 0.6
    assert 0.01 < (shape[: int(said.duration_s * 100), 0] < 0.03).mean() < 0.5


def test_features_are_centred_and_the_network_is_what_torch_trains() -> None:
    click = np.zeros(SAMPLE_RATE, np.float32)
    click[50 * 160 + 80] = 1
    row = np.exp(log_mel(click)).sum(1)
    assert row.argmax() == 50 and row[49] == pytest.approx(row[51], rel=0.1)
    torch = pytest.importorskip("torch")
    net = articulation._network().eval()
    x = np.random.default_rng(0).standard_normal((70, articulation.BANDS)).astype(np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(x.T[None])).numpy()[0].T
    assert np.allclose(articulation.infer(x, articulation._arrays(net)), expected, atol=1e-4)
    assert articulation.WEIGHTS.stat().st_size < 800_000


def test_a_recorded_track_leads_like_one_of_phonemes() -> None:
    times = (np.arange(200) + 0.5) / 100
    shapes = np.tile(REST, (200, 1))
    shapes[100:120, 0] = 0.8
    track = MouthTrack((), 4.0, lead_s=0.1, effort=0.5, recorded=[(times + 1.0, shapes)])
    assert track.at(2.0)[0] == pytest.approx(0.4, abs=0.02), "sounds from 2.0 to 2.2 s, seen from 1.9 s on"
    assert np.allclose(track.at(np.array([0.5, 1.8, 2.2, 3.9])), REST, atol=0.02)


def test_a_folder_is_listed_split_and_what_cannot_serve_is_named(voices: Recordings) -> None:
    assert len(voices.files) == 4 and voices.speakers == ("11", "12", "someone.wav")
    assert [name for name, _ in voices.skipped] == ["broken.flac", "silent.wav"]
    assert "4 recordings of 3 speakers" in voices.summary() and "2 skipped: broken.flac (unreadable" in voices.summary()
    for recording in voices.files:
        assert len(recording.segments) >= 2
        for a, b in recording.segments:
            assert SEGMENT_S[0] <= b - a <= SEGMENT_S[1] and 0 <= a and b <= recording.duration_s
    again = Recordings(voices.folder, voices.cache)
    assert again.files == voices.files and again.skipped == voices.skipped


def test_nothing_to_hear_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"no")
    with pytest.raises(MediaError, match="1 skipped"):
        Recordings(tmp_path, tmp_path / "cache")
    with pytest.raises(MediaError, match="no such folder"):
        Recordings(tmp_path / "nowhere", tmp_path / "cache")


def test_long_phrases_are_cut_and_pauses_respected() -> None:
    said = acoustics.at_level(
        synthesise(" ".join([CZECH.replace(",", "").replace(".", "")] * 3), HELD_OUT[1][1]).audio, -24
    )
    audio = np.concatenate([said, np.zeros(SAMPLE_RATE, np.float32), said[: 3 * SAMPLE_RATE]])
    segments = split(audio)
    assert len(said) / SAMPLE_RATE > 8 and len(segments) >= 4
    gap = (len(said) / SAMPLE_RATE + 0.2, len(said) / SAMPLE_RATE + 0.8)
    assert not any(a < gap[1] and b > gap[0] for a, b in segments)


def test_excerpts_play_at_their_speed_with_lips_to_match(voices: Recordings) -> None:
    voice = voices.draw(np.random.default_rng(3))
    assert voice == voices.draw(np.random.default_rng(3))
    assert all(0.9 <= voices.draw(np.random.default_rng(k)).speed <= 1.12 for k in range(8))
    assert {voices.draw(np.random.default_rng(k), without=["11", "12"]).speaker for k in range(8)} == {"someone.wav"}
    excerpt = voice.excerpts[0]
    times, shapes = excerpt.mouth()
    assert len(excerpt.audio()) == round(excerpt.duration_s * SAMPLE_RATE)
    assert times[0] >= 0 and times[-1] <= excerpt.duration_s and len(times) == len(shapes)
    # An estimate from the audio as played agrees in time with the one that was stretched along with it.
    played = estimate(np.pad(excerpt.audio(), SAMPLE_RATE))[100:-100, 0]
    stretched = np.interp((np.arange(len(played)) + 0.5) / 100, times, shapes[:, 0])
    lag, score, _ = best_lag(played, stretched)
    assert abs(lag) <= 1 and score > 0.7
    assert len(resample(excerpt.audio(), SAMPLE_RATE, 8000)) > 0


def test_scenes_with_recordings_repeat_and_their_truth_fits(voices: Recordings) -> None:
    scene = Scene.random(4, duration_s=6, people=2, recordings=voices, recorded_share=1.0)
    again = Scene.random(4, duration_s=6, people=2, recordings=voices, recorded_share=1.0)
    assert scene == again and any(x.recording for x in scene.lines)
    assert {p.recorded for p in scene.people} <= set(voices.speakers) and len({p.recorded for p in scene.people}) == 2
    one, two = render(scene), render(again)
    assert np.array_equal(one.audio, two.audio) and np.array_equal(one.frame(50), two.frame(50))
    truth = one.truth()
    assert truth == two.truth()
    for slot in np.flatnonzero(truth["voiced"]):
        time_ms = slot * SLOT_MS
        assert any(x["heard"] and x["start_ms"] - SLOT_MS < time_ms < x["end_ms"] for x in truth["lines"])
    heard_ms = sum(x["end_ms"] - x["start_ms"] for x in truth["lines"] if x["heard"])
    assert sum(truth["voiced"]) * SLOT_MS > 0.5 * min(6000, heard_ms)
    assert [p["voice"] for p in truth["people"]] == [p.recorded for p in scene.people]
    plain = Scene.random(4, duration_s=6, people=2)
    assert not any(x.recording for x in plain.lines) and plain.shots == scene.shots and plain.sound == scene.sound
    assert Scene.random(4, duration_s=6, people=2, recordings=voices, recorded_share=0.0) == plain


def test_drawn_lips_lead_recorded_voices_as_declared(voices: Recordings) -> None:
    for seed in range(20):
        scene = Scene.random(seed, duration_s=8, people=1, recordings=voices, recorded_share=1.0)
        if sum(x.heard and x.who == 0 for x in scene.lines) >= 2:
            break
    rendering = render(scene)
    times = np.arange(800) / 100 + 0.005
    level = np.log(np.exp(log_mel(rendering.dry[0])[:, 6:17]).sum(1))
    opening = np.array([rendering.mouth(0, float(t))[0] for t in times])
    lag, score, _ = best_lag(opening, np.maximum(level, level.max() - 8))
    assert abs(lag * 10 + scene.people[0].lead_s * 1000) <= 50 and score > 0.3
