//! A/V synchrony is mended: the sound of a file is moved against its picture, and nothing else is touched.
//!
//! An offset is positive when the sound is late, so mending it means to play the sound earlier. One offset for the whole
//! programme ([`Correction::Shift`]) is mended in the time stamps alone: the file is opened twice, the sound is taken
//! from the one whose times are shifted, and nothing is decoded. A curve ([`Correction::Follow`]: steps at cuts, a
//! drifting clock) needs the sound itself: it is decoded, read along the curve, and encoded again as it was; all the
//! rest is copied.
//!
//! The work is done by the ffmpeg program. What it does with the containers' time lines is in `fix/container.rs`; that
//! the picture and the chapters stayed in place is looked up in the finished file before it gets its name.

mod container;
mod encode;
pub(crate) mod ffmpeg;
pub(crate) mod pending;
pub(crate) mod probe;
mod trial;
mod verify;
mod warp;

pub use ffmpeg::Tools;

use container::Container;
use encode::Encoding;
use ffmpeg::{Line, file};
use pending::{Folder, Pending};
use probe::{Media, Stream};
use seehear::time::{TimeDelta, Timestamp};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use warp::TimeMap;

/// What is wrong with the sound's time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Correction {
    /// The sound is late by this, everywhere; negative when it is early.
    Shift(TimeDelta),
    /// The sound is late by an offset that changes: piecewise linear between the knots, constant before the first and
    /// after the last. Knots are in ascending order of time; two at the same time are a step. At most 50 ms of offset
    /// may come or go in a second except at steps, and steps are at most a minute.
    Follow(Vec<Knot>),
}

/// A point of a curve of offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Knot {
    /// When the sound in question is heard in the file as it is. Zero is the time stamp zero of the file; in an MPEG
    /// transport stream, its first time stamp.
    pub at: Timestamp,
    /// By how much it is late then: what is heard at `at` is to be heard at `at − offset`.
    pub offset: TimeDelta,
}

/// What was done. [`fmt::Display`] tells it in one line.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Fixed {
    /// The sound tracks, all of which were moved, in the order of the file.
    pub tracks: Vec<FixedTrack>,
    /// Whether the sound was decoded and encoded again.
    pub encoded: bool,
    /// By how much the sound was late at the beginning. So much of its start is heard no more when that is positive
    /// (in Matroska, WebM and MPEG-TS up to one packet more); when it is negative, the sound begins so much later.
    pub offset: TimeDelta,
    /// Global tags that the output's container did not take.
    pub lost_tags: Vec<String>,
}

/// A sound track that was moved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FixedTrack {
    /// ffmpeg's name of the codec, the same before and after.
    pub codec: String,
    /// The bit rate it was encoded with, bits per second; `None` for copied and for lossless sound.
    pub bit_rate: Option<u64>,
}

impl fmt::Display for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tracks: Vec<String> = self
            .tracks
            .iter()
            .map(|t| match t.bit_rate {
                Some(b) => format!("{} at {} kb/s", t.codec, b.saturating_add(500).div_euclid(1000)),
                None => t.codec.clone(),
            })
            .collect();
        let (n, plural) = (tracks.len(), if tracks.len() == 1 { "" } else { "s" });
        let tracks = tracks.join(", ");
        let (by, late) = (self.offset.abs(), self.offset > TimeDelta::ZERO);
        if self.encoded {
            write!(f, "{n} sound track{plural} moved along the curve and encoded again ({tracks})")?;
        } else {
            let way = if late { "earlier" } else { "later" };
            write!(f, "{n} sound track{plural} ({tracks}) moved {by} {way}, not encoded again")?;
        }
        if late {
            write!(f, "; the first {by} of the sound are cut off")?;
        } else if by > TimeDelta::ZERO {
            write!(f, "; the sound begins {by} later")?;
        }
        if !self.lost_tags.is_empty() {
            write!(f, "; this kind of file has no place for the tags {}", self.lost_tags.join(", "))?;
        }
        Ok(())
    }
}

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FixError {
    /// ffmpeg or ffprobe is missing or can't be run.
    #[error("{program}: {why}")]
    Program {
        /// As it was called.
        program: String,
        /// What is wrong and how to get it.
        why: String,
    },
    /// The input can't be read, or is nothing that can be mended.
    #[error("{}: {why}", path.display())]
    Input {
        /// The input.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// The output can't be written.
    #[error("{}: {why}", path.display())]
    Output {
        /// The output.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// The correction makes no sense.
    #[error("correction: {why}")]
    Correction {
        /// What is wrong.
        why: String,
    },
    /// `stop` was set.
    #[error("stopped; nothing was written")]
    Stopped,
}

/// A correction that was found possible.
enum Plan {
    Shift(TimeDelta),
    Follow(TimeMap),
}

/// Everything that the steps of the work want to know.
struct Task<'a> {
    tools: &'a Tools,
    input: &'a Path,
    media: &'a Media,
    sound: Vec<Sound<'a>>,
    container: Container,
    pending: &'a Pending,
    stop: &'a AtomicBool,
}

/// A sound track of the input.
struct Sound<'a> {
    stream: &'a Stream,
    /// Sample frames per second.
    rate: u32,
    channels: u32,
    /// In ffmpeg's words, as `stereo`.
    layout: String,
}

/// Writes `output`: the file `input`, all of whose sound tracks are moved so that they are in time.
///
/// `progress` is told how much is done, 0 … 1, about twice a second. `stop` ends the work within a fraction of a second.
/// `output` gets its name when it is whole, and replaces a file of that name only then.
///
/// # Errors
/// Names the file and the remedy. Nothing is left behind then, and no process.
pub fn fix(
    input: &Path,
    output: &Path,
    correction: &Correction,
    progress: &mut dyn FnMut(f64),
    stop: &AtomicBool,
) -> Result<Fixed, FixError> {
    fix_with(&Tools::default(), input, output, correction, progress, stop)
}

/// As [`fix`], with the programs to use.
///
/// # Errors
/// As [`fix`].
pub fn fix_with(
    tools: &Tools,
    input: &Path,
    output: &Path,
    correction: &Correction,
    progress: &mut dyn FnMut(f64),
    stop: &AtomicBool,
) -> Result<Fixed, FixError> {
    let unreadable = |why: String| FixError::Input { path: input.to_owned(), why };
    let unwritable = |why: String| FixError::Output { path: output.to_owned(), why };
    match std::fs::metadata(input) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(unreadable("no such file".into())),
        Err(e) => return Err(unreadable(format!("can't be read: {e}"))),
        Ok(m) if m.is_dir() => return Err(unreadable("is a folder; name a file in it".into())),
        Ok(m) if !m.is_file() => return Err(unreadable("is no file, but a device or a pipe; record it first".into())),
        Ok(_) => {}
    }
    let container = Container::of(output).ok_or_else(|| {
        unwritable(format!("what kind of file? The name must end in one of {}", container::EXTENSIONS))
    })?;
    let plan = match correction {
        Correction::Shift(offset) => Plan::Shift(*offset),
        Correction::Follow(knots) => Plan::Follow(TimeMap::new(knots)?),
    };
    let media = Media::probe(tools, input, stop)?
        .map_err(|said| unreadable(format!("is nothing that ffmpeg can read: {said}; does a player play it?")))?;
    check(&media, container, correction).map_err(unreadable)?;
    let sound = media.sound().map(Sound::of).collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    let pending = Pending::create(input, output)?;
    let task = Task { tools, input, media: &media, sound, container, pending: &pending, stop };

    let (duration, zero) = (media.duration_s(), task.container.zero_s(&media));
    let mut told = |at_s: f64| {
        if let Some(duration) = duration {
            progress(((at_s - zero) / duration).clamp(0.0, 1.0));
        }
    };
    let (tracks, result) = match &plan {
        Plan::Shift(offset) => {
            let result = shift(&task, *offset, &mut told)?;
            (task.sound.iter().map(FixedTrack::copied).collect(), result)
        }
        Plan::Follow(map) => {
            let encodings = encode::plan(&task)?;
            let result = encode::run(&task, map, &encodings, &mut told)?;
            (encodings.iter().map(Encoding::track).collect(), result)
        }
    };
    if let Err(said) = result {
        let refused = trial::refused(&task)?;
        return Err(unwritable(match refused.as_slice() {
            [] => format!("ffmpeg failed: {said}"),
            streams => format!("{} (ffmpeg: {said})", cannot_hold(streams, input)),
        }));
    }
    let lost_tags = verify::verify(&task)?;
    if stop.load(Ordering::Acquire) {
        return Err(FixError::Stopped);
    }
    pending.commit()?;
    progress(1.0);
    let offset = match correction {
        Correction::Shift(offset) => *offset,
        Correction::Follow(knots) => knots.first().map_or(TimeDelta::ZERO, |k| k.offset),
    };
    Ok(Fixed { tracks, encoded: matches!(plan, Plan::Follow(_)), offset, lost_tags })
}

/// What can be known to be wrong before anything is written.
fn check(media: &Media, container: Container, correction: &Correction) -> Result<(), String> {
    if media.sound().next().is_none() {
        return Err("has no sound track: there is nothing to move".into());
    }
    if media.tracks().any(|s| s.has("timed_thumbnails")) {
        return Err("has pictures for its chapters, which ffmpeg does not write".into());
    }
    if media.programs.len() > 1 && matches!(container, Container::Ts | Container::M2ts) {
        let numbers: Vec<String> = media.programs.iter().map(|p| p.program_num.to_string()).collect();
        return Err(format!(
            "holds the programmes {}, of which ffmpeg would make one; take one out first (ffmpeg -i FILE -map 0:p:{} -c \
             copy OUT)",
            numbers.join(", "),
            numbers[0]
        ));
    }
    if let (Correction::Shift(offset), Some(duration)) = (correction, media.duration_s())
        && offset.as_s_f64().abs() >= duration
    {
        return Err(format!("lasts {duration:.1} s; its sound can't be moved by {offset}"));
    }
    Ok(())
}

/// A message that names streams.
fn cannot_hold(streams: &[&Stream], input: &Path) -> String {
    let names: Vec<String> = streams.iter().map(|s| s.name()).collect();
    let without: Vec<String> = streams.iter().map(|s| format!("-map -0:{}", s.index)).collect();
    format!(
        "this kind of file can't hold {}, as ffmpeg writes it; choose .mkv or the input's own kind, or leave that out \
         first (ffmpeg -i {} -map 0 {} -c copy OUT)",
        names.join(", "),
        input.display(),
        without.join(" ")
    )
}

impl FixedTrack {
    fn copied(sound: &Sound<'_>) -> Self {
        Self { codec: sound.stream.codec_name.clone(), bit_rate: None }
    }
}

impl<'a> Sound<'a> {
    fn of(stream: &'a Stream) -> Result<Self, String> {
        let rate = stream.sample_rate.as_ref().and_then(|r| r.parse().ok()).filter(|&r| r > 0);
        let (Some(rate), Some(channels @ 1..)) = (rate, stream.channels) else {
            return Err(format!("{} has no sample rate or no channels; is it damaged?", stream.name()));
        };
        let layout = stream.channel_layout.clone().filter(|l| l != "unknown").unwrap_or_else(|| format!("{channels}c"));
        Ok(Self { stream, rate, channels, layout })
    }
}

impl Task<'_> {
    /// How much later the output's time stamps are than the input's, seconds: 0 within a kind of container.
    fn base_s(&self) -> f64 {
        self.container.zero_s(self.media) - self.media.zero_s()
    }

    /// The beginning of a command: the file, as it is.
    fn line(&self) -> Line {
        let mut line = Line::new();
        // Times are taken as they are: without this the file's first one is made zero.
        line.words(&["-copyts"]);
        line.option("-itsoffset", seconds(self.base_s())).option("-i", file(self.input));
        line
    }

    /// The end of a command: what each stream keeps, which packets are dropped, and the output.
    /// What is given back must last until the command has run.
    fn finish(&self, line: &mut Line, encoded: bool, late: bool) -> Result<Option<Folder>, FixError> {
        for (k, stream) in self.mapped().enumerate() {
            let on: Vec<&str> = stream.disposition.iter().filter(|d| *d.1 != 0).map(|d| d.0.as_str()).collect();
            // Told in full: ffmpeg would make the first of several tracks the default one.
            line.option(&format!("-disposition:{k}"), if on.is_empty() { "0".into() } else { on.join("+") });
            line.option(&format!("-map_metadata:s:{k}"), format!("0:s:{}", stream.index));
            if stream.is_sound()
                && let Some(dropped) = self.container.dropped(self.media, stream, encoded, late)
            {
                line.option(&format!("-bsf:{k}"), format!("noise=amount=0:drop={dropped}"));
            }
        }
        line.words(&["-map_metadata", "0", "-map_chapters", "0", "-copy_unknown"]);
        self.container.options(self.media, self.input, line);
        let covers = self.attach_covers(line)?;
        line.words(&["-progress", "pipe:1", "-f", self.container.muxer()]).word(file(self.pending.path()));
        Ok(covers)
    }

    /// The tracks that are mapped to the output, in its order.
    fn mapped(&self) -> impl Iterator<Item = &Stream> {
        self.media.tracks().filter(|s| !self.is_attached_cover(s))
    }

    /// Matroska keeps a cover among the attachments. ffmpeg reads it as a picture track, and would write it as one.
    fn is_attached_cover(&self, stream: &Stream) -> bool {
        self.container.is_matroska() && stream.has("attached_pic")
    }

    fn attach_covers(&self, line: &mut Line) -> Result<Option<Folder>, FixError> {
        let covers: Vec<&Stream> = self.media.tracks().filter(|s| self.is_attached_cover(s)).collect();
        if covers.is_empty() {
            return Ok(None);
        }
        let folder = Folder::create().map_err(|e| self.folder_error(&e))?;
        let first = self.mapped().count();
        for (k, cover) in (first..).zip(covers) {
            let mut take = Line::new();
            take.option("-i", file(self.input)).option("-map", format!("0:{}", cover.index));
            take.words(&["-c", "copy", "-frames:v", "1", "-f", "data", "pipe:1"]);
            let (status, bytes, said) = ffmpeg::output(&self.tools.ffmpeg, &take, self.stop)?;
            if !status.success() || bytes.is_empty() {
                let why = format!("{} can't be read: {said}", cover.name());
                return Err(FixError::Input { path: self.input.to_owned(), why });
            }
            let path = folder.path().join(k.to_string());
            std::fs::write(&path, bytes).map_err(|e| self.folder_error(&e))?;
            line.option("-attach", file(&path));
            let tag = |name: &str| cover.tags.iter().find(|t| t.0.eq_ignore_ascii_case(name)).map(|t| t.1.clone());
            let kind = if cover.codec_name == "mjpeg" { "jpeg" } else { &cover.codec_name };
            let name = tag("filename").unwrap_or_else(|| format!("cover.{}", kind.replace("jpeg", "jpg")));
            let mime = tag("mimetype").unwrap_or_else(|| format!("image/{kind}"));
            line.option(&format!("-metadata:s:{k}"), format!("filename={name}"));
            line.option(&format!("-metadata:s:{k}"), format!("mimetype={mime}"));
        }
        Ok(Some(folder))
    }

    fn folder_error(&self, e: &std::io::Error) -> FixError {
        let why = format!("no place for what ffmpeg needs in {}: {e}; set TMPDIR", std::env::temp_dir().display());
        FixError::Output { path: self.pending.target().to_owned(), why }
    }
}

/// Seconds as ffmpeg's options and expressions take them.
fn seconds(s: f64) -> String {
    format!("{s:.6}")
}

/// The sound is moved by its time stamps. The inner error is what ffmpeg said.
fn shift(task: &Task<'_>, offset: TimeDelta, progress: &mut dyn FnMut(f64)) -> Result<Result<(), String>, FixError> {
    let copy = |line: &mut Line| {
        line.words(&["-c", "copy"]);
    };
    let late_s = trial::displacements(task, false, &copy)?;
    let mut line = task.line();
    // Opened once for each sound track: each may have to be stored at a place of its own.
    for late_s in late_s {
        let by = task.base_s() - offset.as_s_f64() - late_s;
        line.option("-itsoffset", seconds(by)).option("-i", file(task.input));
    }
    let mut inputs = 1..;
    for stream in task.mapped() {
        let input = if stream.is_sound() { inputs.next() } else { None };
        line.option("-map", format!("{}:{}", input.unwrap_or(0), stream.index));
    }
    copy(&mut line);
    let _covers = task.finish(&mut line, false, offset > TimeDelta::ZERO)?;
    ffmpeg::run(&task.tools.ffmpeg, &line, progress, task.stop)
}
