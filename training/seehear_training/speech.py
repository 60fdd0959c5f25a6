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
WORDS: dict[str, str] = {
    "en-us": "about after again all always another apple because before behind believe better big birthday book both bread "
    "bring brother build busy butter came carry change children clean cloud coffee cold colour dance dinner door down dream "
    "early east every face family far father find fire five flower follow food forward four friend full garden give good "
    "grow half happy have hear help here home house hundred idea important just keep kitchen know large later laugh learn "
    "leave letter light little live long look make many maybe mean money moon morning mother move much music name never "
    "night nothing number often open other over paper people perhaps picture place play please point problem question quick "
    "quiet rain read ready really remember river room round same school seven shape show simple sister slow small smile "
    "something sometimes song soon speak spring start stay still stop story street strong summer sure table talk teach tell "
    "thank think three through time today together tomorrow tree turn under until usual very visit voice wait walk want "
    "warm water week welcome well white whole why window winter woman wonder word work world would write year yellow young",
    "en-gb-x-rp": "afternoon almost answer beautiful between bicycle biscuit bottle bridge bus cheese church corner cousin cup "
    "daughter evening farm favourite field football forest glass grass holiday hope journey kettle lamp market minute "
    "mountain neighbour orange parcel pocket potato postbox quarter rabbit railway rather season shelf shoulder spoon station "
    "sugar supper thunder ticket tomato tower town umbrella village weather whistle wool",
    "de": "aber abend alle apfel arbeit auch baum blume brot bruder buch dann deutsch dorf drei einfach essen fahren familie "
    "fenster feuer finden fisch frage frau freund früh fünf garten geben gehen glück groß gut haben haus heute himmel hören "
    "immer jahr kaffee kind klein kommen küche lachen leben licht machen milch mutter musik nacht neu oder öffnen papier "
    "platz regen schnee schön schule schwester sommer sprechen stadt straße tisch über vater viel vogel wasser wetter wort "
    "zeit zimmer zusammen zwei",
    "es": "abrir agua ahora alegre amigo antes azul bailar barco beber bueno café calle cama camino campo cantar casa cerca "
    "cielo ciudad comer cuando decir dinero dulce escuela esperar familia fiesta flor grande guitarra hablar hermano hoja "
    "huevo invierno jardín joven lejos libro lluvia luna luz madre mañana mesa mujer mundo música niño noche nuevo ojo padre "
    "palabra pan pequeño perro playa pueblo puerta queso reloj río rojo sol sombra tarde tiempo trabajo ventana verano vida",
    "fr": "aimer ami année arbre attendre aujourd'hui avant avec beau beurre blanc boire bois bonjour bouche chaise chambre "
    "chat chemin ciel cœur comme demain dernier dormir eau école enfant entendre été famille femme fenêtre feu fleur frère "
    "froid fromage gare grand heure hiver homme jardin jour jeune lait lettre livre loin lumière lune main maison manger "
    "matin mer monde montagne mot musique neige nuit oiseau ouvrir pain papier parler petit peuple pluie porte pomme rire rouge "
    "route rue silence soleil sœur table temps terre toujours vent ville voix vouloir",
    "it": "acqua albero allegro amico andare anno aprire bambino bello bere bianco bicchiere bosco buono caffè cantare casa "
    "cena chiave cielo città colore correre cucina cuore dare domani dormire estate fame fiore fiume forte fratello freddo "
    "fuoco gatto giallo giardino giorno giovane grande inverno lago latte leggere libro luce luna madre mangiare mare mattina "
    "mondo montagna musica neve notte nuovo occhio pane parlare parola piazza piccolo pioggia porta ragazzo sempre sole "
    "sorella strada tavolo tempo treno uomo vento verde vino voce",
    "pt": "abrir água alegria amigo amanhã ano azul barco beber bola bom cachorro café caminho cantar casa cedo céu chuva "
    "cidade comer coração dançar dia dinheiro dormir escola falar família feliz festa flor fogo frio grande homem irmão "
    "janela jardim jovem livro longe lua luz mãe manhã mar mesa mulher mundo música noite novo olho ouvir pai palavra pão "
    "pequeno porta praia primavera queijo rio rua sol tarde tempo trabalho verde viagem vida vinho",
    "nl": "altijd appel avond bloem boek boom boter broer brood buiten dag deur dorp drie eten familie fiets geel goed groot "
    "half huis jaar jongen kaas kamer keuken kind klein koffie komen koud lachen land leven licht lopen maan meisje melk "
    "moeder mooi morgen muziek nacht nieuw ochtend oog open papier praten regen samen school sneeuw spelen stad stoel straat "
    "tafel thuis tijd tuin twee vader veel vogel voor vriend vuur warm water weer woord zee zomer zon zuster",
    "sv": "alltid barn blomma bok bra bror bröd dag dörr fem fisk flicka fråga fågel glad god gul hav hem himmel hus höst "
    "jord kaffe kall komma kväll köpa landet leka ljus luft mamma mat morgon mycket måne natt ny ost pappa pojke regn röd sjö "
    "skog skola skratta snö sol sommar sova språk stad stol stor syster tala tid träd tåg vacker varm vatten vinter vän väg år ö",
    "pl": "babcia biały brat chleb chłopiec ciepły cisza czas człowiek dobry dom droga drzewo dziecko dzień głos góra jabłko "
    "jesień kawa kobieta kolor kot książka kwiat las lato lekcja list łóżko mama mały miasto mleko morze mowa muzyka noc nowy "
    "obiad okno oko ogień owoc papier pies piękny pociąg pole praca ptak ranek rodzina rok ryba serce siostra słońce słowo "
    "szkoła śnieg świat targ ulica wiatr wieczór woda wszystko zima żółty życie",
    "fi": "aamu aika aina aurinko avata hyvä iloinen ilta isä järvi kahvi kala kaunis kesä kirja kirje kissa koira koti koulu "
    "kuu kukka kuusi kylmä laulaa leipä lintu lumi lämmin maa maito meri metsä musiikki mökki nimi nuori olla omena ovi pieni "
    "poika puhua puu pöytä ruoka saari sade sana silmä sisko suuri syksy talo talvi tie tuli tuuli tyttö uusi vanha vesi "
    "ystävä yö äiti",
    "cs": "barva bílý bratr být cesta chléb dcera den dítě dobrý domov duha dveře dům hlas hora hrad hudba hvězda jablko jaro "
    "kamarád káva kniha kolo květina léto les list louka malý máma mluvit moře město mléko nebe noc nový obchod okno oheň otec "
    "papír pes píseň pole pomalu práce pták ráno řeka ruka sestra slovo slunce sníh stůl strom škola šťastný teplo tráva "
    "ulice velký večer vítr voda vlak zahrada zima žlutý život",
    "tr": "abla açık ağaç akşam anne araba arkadaş ay baba bahçe balık bardak bebek beyaz bulut büyük çiçek çocuk dağ deniz "
    "dil dost dünya ekmek elma ev gece gelmek göz güneş güzel hafta hava her ışık kahve kapı kardeş kış kitap konuşmak köy "
    "kuş küçük masa mavi müzik okul oyun pazar pencere peynir renk ses sabah sarı sokak söz su süt şehir şarkı taş uzun üç "
    "vakit yağmur yaz yeni yeşil yıldız yol zaman",
}


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
        rate_hz = lib.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, 0, None, _PHONEME_EVENTS | _PHONEME_IPA | _DONT_EXIT
        )
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
    # Padding keeps the circular transform from wrapping the end onto the start, and lets the length be a quick one.
    length_in = 1 << int(np.ceil(np.log2(len(audio) + 1024)))
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
    """Say `text`: audio trimmed to the speech (20 ms are left on either side), and its phonemes. Always the same bytes."""
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
    chosen = [str(w) for w in rng.choice(WORDS[language].split(), size=words)]
    return " ".join(w + ("," if rng.random() < 0.08 and i + 1 < words else "") for i, w in enumerate(chosen)) + "."
