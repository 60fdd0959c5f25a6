//! The sound along a curve of time: each track is decoded by an ffmpeg of its own, read along the curve here, and goes
//! through a socket to the one ffmpeg that encodes them all and copies the rest. Nothing but the output is written to
//! the disk.

use super::ffmpeg::{self, Line, Running, file};
use super::pending::Folder;
use super::probe::bit_rate;
use super::warp::{TimeMap, warp};
use super::{FixError, FixedTrack, Sound, Task, seconds, trial};
use std::io::{self, ErrorKind};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How a track is encoded again.
#[derive(Clone, Debug)]
pub(super) struct Encoding {
    codec: String,
    encoder: String,
    /// Bits per second; `None` for what is lossless.
    bit_rate: Option<u64>,
    /// In place of the bit rate, for an encoder that wants it so.
    quality: Option<f64>,
    /// Sample format and bits per sample, for what is lossless.
    format: Option<(String, Option<String>)>,
}

impl Encoding {
    pub(super) fn track(&self) -> FixedTrack {
        FixedTrack { codec: self.codec.clone(), bit_rate: self.bit_rate }
    }

    fn options(&self, k: usize, line: &mut Line) {
        line.option(&format!("-c:a:{k}"), &self.encoder);
        if let Some(q) = self.quality {
            line.option(&format!("-q:a:{k}"), format!("{q:.2}"));
        } else if let Some(b) = self.bit_rate {
            line.option(&format!("-b:a:{k}"), b.to_string());
        }
        if let Some((format, bits)) = &self.format {
            line.option(&format!("-sample_fmt:a:{k}"), format);
            if let Some(bits) = bits {
                line.option(&format!("-bits_per_raw_sample:a:{k}"), bits);
            }
        }
    }
}

/// Chooses encoders for the sound tracks.
///
/// # Errors
/// Names the codecs that can't be written.
pub(super) fn plan(task: &Task<'_>) -> Result<Vec<Encoding>, FixError> {
    task.sound.iter().map(|s| encoding(task, s)).collect()
}

fn encoding(task: &Task<'_>, sound: &Sound<'_>) -> Result<Encoding, FixError> {
    let codec = sound.stream.codec_name.clone();
    let (encoder, lossless) = match codec.as_str() {
        "mp3" => ("libmp3lame", false),
        "opus" => ("libopus", false),
        "vorbis" => ("libvorbis", false),
        "aac" | "ac3" | "eac3" | "mp2" => (codec.as_str(), false),
        "flac" | "alac" | "tta" | "wavpack" => (codec.as_str(), true),
        // The codec's name holds the sample format.
        pcm if pcm.starts_with("pcm_") => {
            return Ok(Encoding { encoder: codec.clone(), codec, bit_rate: None, quality: None, format: None });
        }
        _ => {
            let why = format!(
                "{} can't be encoded again by ffmpeg; bring the sound to another codec first (ffmpeg -i FILE -map 0 -c \
                 copy -c:a flac OUT.mkv), or correct one offset only",
                sound.stream.name()
            );
            return Err(FixError::Input { path: task.input.to_owned(), why });
        }
    };
    let encoder = encoder.to_owned();
    if lossless {
        let bits = sound.stream.bits_per_raw_sample.clone().filter(|b| b != "0");
        let format = sound.stream.sample_fmt.clone().map(|f| (f, bits));
        return Ok(Encoding { codec, encoder, bit_rate: None, quality: None, format });
    }
    // In these the rate is part of the format, and the frames say it.
    let fixed = matches!(codec.as_str(), "mp2" | "mp3" | "ac3" | "eac3");
    let told = sound.stream.bit_rate.as_ref().and_then(|b| b.parse().ok()).filter(|_| fixed);
    let bit_rate = match told {
        Some(b) => b,
        None => {
            let found = bit_rate(task.tools, task.input, task.media, sound.stream.index, task.stop)?;
            // A quiet track needs little; that is no reason to encode it badly. The high-efficiency profiles are
            // written as the plain one, which needs more.
            let efficient = sound.stream.profile.as_ref().is_some_and(|p| p.starts_with("HE-"));
            let least = if efficient { 48_000 } else { 32_000 } * u64::from(sound.channels);
            found.unwrap_or(0).max(least)
        }
    };
    let quality = (codec == "vorbis").then(|| vorbis_quality(bit_rate, sound));
    Ok(Encoding { codec, encoder, bit_rate: Some(bit_rate), quality, format: None })
}

/// The quality of Vorbis for a bit rate per channel: its encoder refuses rates outside a range that depends on
/// everything, and is made to be told a quality. At 44.1 and 48 kHz; other rates scale.
fn vorbis_quality(bit_rate: u64, sound: &Sound<'_>) -> f64 {
    /// Bits per second and channel of the qualities 0, 1, …, 10 (nominal rates of libvorbis in stereo).
    const RATES: [f64; 11] = [32e3, 40e3, 48e3, 56e3, 64e3, 80e3, 96e3, 112e3, 128e3, 160e3, 250e3];
    let bits: f64 = f64::from(u32::try_from(bit_rate).unwrap_or(u32::MAX));
    let per_channel = bits / f64::from(sound.channels) * (44_100.0 / f64::from(sound.rate)).max(1.0);
    let mut quality = 0.0;
    for pair in RATES.windows(2) {
        quality += ((per_channel - pair[0]) / (pair[1] - pair[0])).clamp(0.0, 1.0);
    }
    quality
}

/// Does all of it. The inner error is what ffmpeg said.
pub(super) fn run(
    task: &Task<'_>,
    map: &TimeMap,
    encodings: &[Encoding],
    progress: &mut dyn FnMut(f64),
) -> Result<Result<(), String>, FixError> {
    let codec = |line: &mut Line| {
        line.words(&["-c", "copy"]);
        for (k, e) in encodings.iter().enumerate() {
            e.options(k, line);
        }
    };
    let late_s = trial::displacements(task, true, &codec)?;
    let sockets = Folder::create().map_err(|e| task.folder_error(&e))?;
    let mut line = task.line();
    let mut pumps = Vec::new();
    for (k, sound) in task.sound.iter().enumerate() {
        let (path, listener) = listen(&sockets, k).map_err(|e| task.folder_error(&e))?;
        pumps.push((sound, listener));
        line.option("-itsoffset", seconds(task.container.zero_s(task.media) - late_s[k]));
        line.option("-f", "f64le").option("-ar", sound.rate.to_string()).option("-ch_layout", &sound.layout);
        let mut url = std::ffi::OsString::from("unix:");
        url.push(path);
        line.option("-i", url);
    }
    let mut inputs = 1..;
    for stream in task.mapped() {
        let sound = if stream.is_sound() { inputs.next() } else { None };
        line.option("-map", sound.map_or_else(|| format!("0:{}", stream.index), |i| format!("{i}:a")));
    }
    codec(&mut line);
    let _covers = task.finish(&mut line, true, false)?;

    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let pumps: Vec<_> = pumps
            .into_iter()
            .map(|(sound, listener)| scope.spawn(|| pump(task, map, sound, listener, &over)))
            .collect();
        let result = ffmpeg::run(&task.tools.ffmpeg, &line, progress, task.stop);
        over.store(true, Ordering::Release);
        let mut broken = None;
        for pump in pumps {
            match pump.join().expect("no panic in a pump") {
                Ok(()) => {}
                // ffmpeg ended before it had taken everything: its own error says why.
                Err(Failure::Cut) => broken = broken.or(Some(Failure::Cut)),
                Err(failure) => broken = Some(failure),
            }
        }
        match (result?, broken) {
            (_, Some(Failure::Fix(error))) => Err(error),
            (Ok(()), Some(Failure::Cut)) => Ok(Err("it ended before the sound did".into())),
            (result, _) => Ok(result),
        }
    })
}

/// Why a pump ended early.
enum Failure {
    /// The encoder takes no more.
    Cut,
    Fix(FixError),
}

impl From<FixError> for Failure {
    fn from(error: FixError) -> Self {
        Self::Fix(error)
    }
}

/// Decodes one track and hands it on along the curve.
fn pump(
    task: &Task<'_>,
    map: &TimeMap,
    sound: &Sound<'_>,
    listener: UnixListener,
    over: &AtomicBool,
) -> Result<(), Failure> {
    let Some(mut sink) = accept(&listener, over).map_err(|e| task.folder_error(&e))? else {
        return Err(Failure::Cut);
    };
    drop(listener);
    let mut line = Line::new();
    line.words(&["-copyts"]).option("-i", file(task.input)).option("-map", format!("0:{}", sound.stream.index));
    // The first sample is that of time zero, gaps are filled: from here on the index is the time. Errors below 10 ms
    // are left to the containers, many of which round to a millisecond.
    let zero = (task.media.zero_s() * f64::from(sound.rate)).round();
    line.option(
        "-af",
        format!(
            "aresample=async=1:min_hard_comp=0.01:first_pts={zero}:isf=dblp,aformat=sample_fmts=dbl:sample_rates={}:\
             channel_layouts={}",
            sound.rate, sound.layout
        ),
    );
    line.words(&["-f", "f64le", "pipe:1"]);
    let mut decoder = Running::start(&task.tools.ffmpeg, &line)?;
    let mut decoded = decoder.stdout();
    let channels = usize::try_from(sound.channels).expect("a number of channels");
    let go_on = || !over.load(Ordering::Acquire);
    let broken = |why: String| FixError::Input { path: task.input.to_owned(), why };
    let frames = match warp(map, sound.rate, channels, &mut decoded, &mut sink, &go_on) {
        Ok(frames) => frames,
        Err(e) if matches!(e.kind(), ErrorKind::Interrupted | ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
            return Err(Failure::Cut);
        }
        Err(e) => return Err(broken(format!("{}: {e}", sound.stream.name())).into()),
    };
    drop(decoded);
    let (status, said) = decoder.finish()?;
    if frames == 0 || !status.success() {
        let said = if said.is_empty() { "no sound comes out".into() } else { said };
        return Err(broken(format!("{} can't be decoded: {said}", sound.stream.name())).into());
    }
    Ok(())
}

/// Waits until the encoder connects; `None` when it is over before.
fn accept(listener: &UnixListener, over: &AtomicBool) -> io::Result<Option<UnixStream>> {
    listener.set_nonblocking(true)?;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                return Ok(Some(stream));
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
        if over.load(Ordering::Acquire) {
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn listen(folder: &Folder, k: usize) -> io::Result<(PathBuf, UnixListener)> {
    let path = folder.path().join(k.to_string());
    let listener = UnixListener::bind(&path)?;
    Ok((path, listener))
}
