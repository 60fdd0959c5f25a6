"""Text to speech with exact phoneme times: espeak-ng through its C library.

A formant synthesiser is no match for a human voice, but it knows to the sample when each phoneme begins, which no
recording does, and that is what a lip trajectory with a true zero needs. The library is driven through ctypes, so
nothing has to be compiled and no process is started.

Times are seconds from the first sample of the utterance's audio. Audio is float32, mono, 16 kHz, within -1..1.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .words import WORDS

SAMPLE_RATE = 16_000
"""Rate of all audio in this package, Hz."""

LIBRARY = "libespeak-ng.so.1"
REMEDY = "install the Debian packages libespeak-ng1 and espeak-ng-data (apt-get install libespeak-ng1 espeak-ng-data)"

# From espeak-ng's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_PHONEME_EVENTS, _PHONEME_IPA, _DONT_EXIT = 0x0001, 0x0002, 0x8000
_EVENT_LIST_TERMINATED, _EVENT_PHONEME = 0, 7
_CHARS_UTF8 = 1
_RATE, _PITCH, _RANGE = 1, 3, 4

FEMALE_VARIANTS = ("f1", "f2", "f3", "f4", "f5", "Annie", "Andrea", "belinda", "linda", "steph", "aunty")
MALE_VARIANTS = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "adam", "david", "boris", "max", "Mike", "john")
ODD_VARIANTS = ("klatt2", "klatt4", "croak", "grandma", "grandpa", "UniRobot", "whisper")

# Ordinary words, a handful a language: the lips need variety of sounds, not of meaning.


class SpeechUnavailable(RuntimeError):
    """espeak-ng, its data or one of its voices is missing; the message names the remedy."""


@dataclass(frozen=True)
class Voice:
    """How a speaker sounds. `formant_scale` > 1 is a shorter vocal tract (higher formants, and pitch with them)."""

    language: str = "en-us"
    variant: str = "f3"
    rate_wpm: int = 165
    pitch: int = 50
    """Base pitch, espeak's 0..99."""
    pitch_range: int = 50
    """Liveliness of the intonation, espeak's 0..99."""
    formant_scale: float = 1.0

    @staticmethod
    def random(rng: np.random.Generator) -> Voice:
        """Draw a voice: English twice as often as any other language, now and then an odd one."""
        languages = [*WORDS, "en-us"]
        variants = (FEMALE_VARIANTS, MALE_VARIANTS, ODD_VARIANTS)[int(rng.choice(3, p=[0.47, 0.47, 0.06]))]
        return Voice(
            language=str(rng.choice(languages)),
            variant=str(rng.choice(variants)),
            rate_wpm=int(rng.integers(125, 215)),
            pitch=int(rng.integers(20, 80)),
            pitch_range=int(rng.integers(20, 85)),
            formant_scale=float(rng.uniform(0.9, 1.12)),
        )


@dataclass(frozen=True)
class Phoneme:
    """One sound: [start_s, end_s) and its symbol in the International Phonetic Alphabet; pauses are not phonemes."""

    start_s: float
    end_s: float
    ipa: str


@dataclass(frozen=True)
class Utterance:
    """What was said: float32 [N] at `SAMPLE_RATE`, and when each phoneme sounds."""

    audio: NDArray[np.float32]
    phonemes: tuple[Phoneme, ...]
    text: str

    @property
    def duration_s(self) -> float:
        """Length of the audio, seconds."""
        return len(self.audio) / SAMPLE_RATE


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms, rounded: `sample` is exact
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


def _run_espeak(text: str, voice: Voice) -> tuple[NDArray[np.int16], int, list[tuple[int, str]]]:
    """Speak once; returns samples, their rate in Hz, and (first sample, IPA) of each phoneme or pause ("").

    The library is loaded, used and unloaded for every utterance: it keeps oscillator and noise state in static
    variables which even espeak_Terminate leaves behind, so a second utterance would depend on the first and the same
    seed would not give the same bytes. Loading takes a few milliseconds.
    """
    process = ctypes.CDLL(None)
    try:
        lib = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise SpeechUnavailable(f"{LIBRARY} cannot be loaded ({error}); {REMEDY}") from error
    blocks: list[NDArray[np.int16]] = []
    events: list[tuple[int, str]] = []

    def on_audio(samples: ctypes._Pointer, count: int, event: ctypes._Pointer) -> int:  # type: ignore[type-arg]
        if samples and count > 0:
            blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        i = 0
        while event[i].type != _EVENT_LIST_TERMINATED:
            if event[i].type == _EVENT_PHONEME:
                events.append((event[i].sample, event[i].id.string.decode("utf-8", "ignore")))
            i += 1
        return 0

    callback = _Callback(on_audio)  # kept in a local: C holds only a bare pointer to it
    try:
        rate_hz = lib.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, None, _PHONEME_EVENTS | _PHONEME_IPA | _DONT_EXIT)
        if rate_hz <= 0:
            raise SpeechUnavailable(f"{LIBRARY} finds no voice data; {REMEDY}")
        name = f"{voice.language}+{voice.variant}"
        if lib.espeak_SetVoiceByName(name.encode()) != 0:
            raise SpeechUnavailable(f"espeak-ng has no voice {name!r}; {REMEDY}, or choose another language")
        lib.espeak_SetSynthCallback(callback)
        for parameter, value in ((_RATE, voice.rate_wpm), (_PITCH, voice.pitch), (_RANGE, voice.pitch_range)):
            lib.espeak_SetParameter(parameter, value, 0)
        process.srand(1)  # breath noise comes from C's rand()
        data = text.encode()
        lib.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 1, 0, _CHARS_UTF8, None, None)
    finally:
        lib.espeak_Terminate()  # also after an error: unloading an initialised library hangs the next one
        process.dlclose(ctypes.c_void_p(lib._handle))
    samples = np.concatenate(blocks) if blocks else np.zeros(0, np.int16)
    return samples, rate_hz, events


def resample(audio: NDArray[np.float32], rate_in: float, rate_out: float) -> NDArray[np.float32]:
    """Change the sample rate without aliasing: the spectrum is cut below the lower Nyquist rate and transformed back.

    The last 5 % of the band roll off as a raised cosine, else the edge rings for tens of milliseconds. float32 [N] to
    [round(N * rate_out / rate_in)].
    """
    if not len(audio):
        return np.zeros(0, np.float32)
    # Padding keeps the circular transform from wrapping the end onto the start.
    # Both lengths must be whole, so the padding is chosen where their ratio comes closest to that of the rates.
    candidates = len(audio) + 1024 + np.arange(512)
    error = np.abs(candidates * rate_out / rate_in - np.round(candidates * rate_out / rate_in))
    length_in = int(candidates[np.argmin(error)])
    length_out = round(length_in * rate_out / rate_in)
    spectrum = np.fft.rfft(np.pad(audio, (0, length_in - len(audio))))
    keep = min(length_in, length_out) // 2 + 1
    edge = max(1, keep // 20)
    spectrum = spectrum[:keep]
    spectrum[-edge:] *= 0.5 + 0.5 * np.cos(np.pi * np.arange(1, edge + 1) / edge)
    full = np.zeros(length_out // 2 + 1, np.complex128)
    full[:keep] = spectrum
    out = np.fft.irfft(full, length_out) * (length_out / length_in)
    return out[: round(len(audio) * rate_out / rate_in)].astype(np.float32)


@lru_cache(maxsize=64)
def synthesise(text: str, voice: Voice) -> Utterance:
    """Say `text`: audio trimmed to the speech (20 ms are left on either side), and its phonemes; always the same."""
    samples, rate_hz, events = _run_espeak(text, voice)
    speed = voice.formant_scale  # played `speed` times faster, everything shortens and every frequency rises by it
    audio = resample(samples.astype(np.float32) / 32768.0, rate_hz * speed, SAMPLE_RATE)
    starts = [sample / (rate_hz * speed) for sample, _ in events] + [len(audio) / SAMPLE_RATE]
    phonemes = [
        Phoneme(starts[i], starts[i + 1], ipa)
        for i, (_, ipa) in enumerate(events)
        if ipa.strip("_: ˈˌ|") and starts[i + 1] > starts[i]
    ]
    if not phonemes:
        raise ValueError(f"espeak-ng found nothing to say in {text!r} ({voice.language})")
    first = max(0, int((phonemes[0].start_s - 0.02) * SAMPLE_RATE))
    last = min(len(audio), int((phonemes[-1].end_s + 0.02) * SAMPLE_RATE))
    shift_s = first / SAMPLE_RATE
    return Utterance(
        audio=audio[first:last],
        phonemes=tuple(Phoneme(p.start_s - shift_s, p.end_s - shift_s, p.ipa) for p in phonemes),
        text=text,
    )


def random_text(rng: np.random.Generator, language: str, words: int) -> str:
    """`words` words of the language in random order, with commas where a speaker would breathe."""
    chosen = [str(w) for w in rng.choice(WORDS[language], size=words)]
    return " ".join(w + ("," if rng.random() < 0.08 and i + 1 < words else "") for i, w in enumerate(chosen)) + "."
