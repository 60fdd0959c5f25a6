//! Sound out of files and into them, for `seehear separate`: one track decoded on the file's time line, tracks encoded, and put
//! beside the picture. The ffmpeg program does it.

use crate::fix::FixError;
use crate::fix::ffmpeg::{self, Line, Running, Tools, file};
use crate::fix::pending::Pending;
use crate::fix::probe::{Media, seconds};
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::process::ChildStdout;
use std::sync::atomic::AtomicBool;

/// A file with a picture and sound.
#[derive(Clone, Debug)]
pub struct Source {
    media: Media,
    /// Length, where it is known, seconds.
    pub duration_s: Option<f64>,
    /// When the first picture is shown, seconds from the file's zero.
    pub picture_s: f64,
    /// Of the chosen track, Hz.
    pub rate: u32,
    /// Of the chosen track.
    pub channels: u32,
    stream: usize,
}

impl Source {
    /// Looks into a file, at one of its sound tracks (from 0).
    ///
    /// # Errors
    /// Names the file and what is wrong.
    pub fn look(input: &Path, audio_track: usize, stop: &AtomicBool) -> Result<Self, FixError> {
        let bad = |why: String| FixError::Input { path: input.to_owned(), why };
        let media = Media::probe(&Tools::default(), input, stop)?
            .map_err(|said| bad(format!("is nothing that ffmpeg can read: {said}; does a player play it?")))?;
        let count = media.sound().count();
        let sound = media.sound().nth(audio_track).cloned();
        let sound = sound
            .ok_or_else(|| bad(format!("has {count} sound track(s), number {} is none of them", audio_track + 1)))?;
        let picture = media.streams.iter().find(|s| s.codec_type == "video" && !s.has("attached_pic"));
        let picture_s = picture.and_then(|s| seconds(s.start_time.as_ref())).map_or(0.0, |s| s - media.zero_s());
        let rate = sound.sample_rate.as_ref().and_then(|r| r.parse().ok()).filter(|r| *r > 0);
        Ok(Self {
            duration_s: media.duration_s(),
            picture_s,
            rate: rate.ok_or_else(|| bad(format!("{} has no sample rate", sound.name())))?,
            channels: sound.channels.unwrap_or(1).max(1),
            stream: sound.index,
            media,
        })
    }
}

/// Decodes a track: sample frame `n` is that of the time `n / rate` from the file's zero, gaps are silence.
#[derive(Debug)]
pub struct Decoder {
    child: Running,
    from: BufReader<ChildStdout>,
    bytes: Vec<u8>,
}

impl Decoder {
    /// At this rate, in one channel or two.
    ///
    /// # Errors
    /// When ffmpeg can't be started.
    pub fn start(input: &Path, source: &Source, rate: u32, stereo: bool) -> Result<Self, FixError> {
        let mut line = Line::new();
        line.words(&["-copyts"]).option("-i", file(input)).option("-map", format!("0:{}", source.stream));
        let zero = (source.media.zero_s() * f64::from(rate)).round();
        // Mixed down without getting louder.
        line.option(
            "-af",
            format!(
                "aresample={rate}:async=1:min_hard_comp=0.01:first_pts={zero}:rematrix_maxval=1,\
                 aformat=sample_fmts=flt:sample_rates={rate}:channel_layouts={}",
                if stereo { "stereo" } else { "mono" }
            ),
        );
        line.words(&["-f", "f32le", "pipe:1"]);
        let mut child = Running::start(&Tools::default().ffmpeg, &line)?;
        let from = BufReader::with_capacity(1 << 16, child.stdout());
        Ok(Self { child, from, bytes: Vec::new() })
    }

    /// Fills `samples` (interleaved) as far as there are any; 0 at the end.
    ///
    /// # Errors
    /// Of reading.
    pub fn read(&mut self, samples: &mut [f32]) -> io::Result<usize> {
        self.bytes.resize(4 * samples.len(), 0);
        let mut filled = 0;
        while filled < self.bytes.len() {
            match self.from.read(&mut self.bytes[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        let whole = self.bytes[..filled].chunks_exact(4);
        let n = whole.len();
        for (s, b) in samples.iter_mut().zip(whole) {
            *s = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        }
        Ok(n)
    }

    /// After the end: whether the track was decoded well.
    ///
    /// # Errors
    /// Names the file and what ffmpeg said.
    pub fn finish(self, input: &Path) -> Result<(), FixError> {
        drop(self.from);
        let (status, said) = self.child.finish()?;
        if status.success() {
            return Ok(());
        }
        let why = format!("the sound can't be decoded to its end: {said}; copy or record the file again");
        Err(FixError::Input { path: input.to_owned(), why })
    }
}

/// What kind of file a track is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrackFormat {
    /// 16-bit PCM.
    Wav,
    /// Lossless.
    Flac,
    /// 32 kb/s a channel.
    Opus,
}

impl TrackFormat {
    /// Its files end so.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Flac => "flac",
            Self::Opus => "opus",
        }
    }
}

/// 16-bit PCM in a file, after so many bytes of something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pcm<'a> {
    /// The file.
    pub path: &'a Path,
    /// Bytes before the first sample.
    pub skip: u64,
    /// Hz.
    pub rate: u32,
    /// Interleaved.
    pub channels: usize,
}

/// Encodes PCM into `output`, at the rate `rate`.
///
/// # Errors
/// Names `target`, the name that the output is to have, and what ffmpeg said.
pub fn encode(
    pcm: Pcm<'_>,
    format: TrackFormat,
    rate: u32,
    (output, target): (&Path, &Path),
    stop: &AtomicBool,
) -> Result<(), FixError> {
    let mut line = Line::new();
    line.option("-f", "s16le").option("-skip_initial_bytes", pcm.skip.to_string());
    line.option("-ar", pcm.rate.to_string()).option("-ac", pcm.channels.to_string()).option("-i", file(pcm.path));
    match format {
        TrackFormat::Wav => {
            line.option("-ar", rate.to_string()).words(&["-c:a", "pcm_s16le", "-rf64", "auto", "-f", "wav"])
        }
        TrackFormat::Flac => {
            line.option("-ar", rate.to_string()).words(&["-c:a", "flac", "-sample_fmt", "s16", "-f", "flac"])
        }
        // Opus knows a few rates only, and plays at 48 kHz whatever it was given.
        TrackFormat::Opus => {
            let bits = 32_000 * pcm.channels;
            line.words(&["-ar", "48000", "-c:a", "libopus", "-f", "opus"]).option("-b:a", bits.to_string())
        }
    };
    line.words(&["-progress", "pipe:1"]).word(file(output));
    ffmpeg::run(&Tools::default().ffmpeg, &line, &mut |_| {}, stop)?
        .map_err(|said| FixError::Output { path: target.to_owned(), why: format!("ffmpeg failed: {said}") })
}

/// A track to be put beside the picture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beside<'a> {
    /// The track's file.
    pub path: &'a Path,
    /// Told to who chooses a track.
    pub title: String,
    /// What is played where nobody chooses.
    pub programme: bool,
}

/// Writes `output`: the file `input` with these tracks beside its own; only they are encoded. `progress` is told 0 … 1.
///
/// # Errors
/// Names the file and the remedy; nothing is left behind then.
pub fn mux(
    input: &Path,
    source: &Source,
    tracks: &[Beside<'_>],
    output: &Path,
    progress: &mut dyn FnMut(f64),
    stop: &AtomicBool,
) -> Result<(), FixError> {
    let unwritable = |why: String| FixError::Output { path: output.to_owned(), why };
    let codec: &[&str] = match output.extension().and_then(|e| e.to_str()) {
        Some("mkv") => &["flac"],
        Some("mp4" | "mov" | "m4v") => &["aac", "-b:a", "96k"],
        Some("webm") => &["libopus", "-b:a", "64k"],
        _ => return Err(unwritable("what kind of file? The name must end in .mkv, .mp4, .mov or .webm".into())),
    };
    let pending = Pending::create(input, output)?;
    let mut line = Line::new();
    line.option("-i", file(input));
    // ffmpeg lets a file begin where its first stream does; the tracks begin at the file's zero.
    let late = seconds(source.media.format.start_time.as_ref()).map_or(0.0, |s| s - source.media.zero_s());
    for track in tracks {
        if late > 0.0 {
            line.option("-ss", format!("{late:.6}"));
        }
        line.option("-i", file(track.path));
    }
    let (first, rest): (Vec<_>, Vec<_>) = (1..).zip(tracks).partition(|(_, t)| t.programme);
    line.words(&["-map", "0:v"]);
    for (i, _) in &first {
        line.option("-map", format!("{i}:a"));
    }
    line.words(&["-map", "0:a", "-map", "0:s?"]);
    for (i, _) in &rest {
        line.option("-map", format!("{i}:a"));
    }
    line.words(&["-c", "copy"]);
    let own = source.media.sound().count();
    let places = (0..first.len()).chain(first.len() + own..);
    for (place, (_, track)) in places.zip(first.iter().chain(&rest)) {
        line.option(&format!("-c:a:{place}"), codec[0]);
        if let [_, _, rate] = codec {
            line.option(&format!("-b:a:{place}"), rate);
        }
        line.option(&format!("-metadata:s:a:{place}"), format!("title={}", track.title));
        line.option(&format!("-metadata:s:a:{place}"), format!("handler_name={}", track.title));
    }
    for place in 0..own + tracks.len() {
        line.option(&format!("-disposition:a:{place}"), if place == 0 { "default" } else { "0" });
    }
    line.words(&["-progress", "pipe:1"]).word(file(pending.path()));
    let mut told = |at_s: f64| progress(source.duration_s.map_or(0.0, |d| (at_s / d).clamp(0.0, 1.0)));
    ffmpeg::run(&Tools::default().ffmpeg, &line, &mut told, stop)?
        .map_err(|said| unwritable(format!("ffmpeg failed: {said}; what this kind of file can't hold, an .mkv can")))?;
    pending.commit()
}
