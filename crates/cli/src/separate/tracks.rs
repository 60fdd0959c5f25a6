//! The tracks on the disk: 16-bit PCM, written where it belongs as it comes; silence in between is never written, only skipped.

use anyhow::Context;
use gstseehear::output::PendingFile;
use seehear_sync::voices::{Pcm, TrackFormat, encode};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// Bytes of a WAV file's header.
const HEADER: u64 = 44;

/// Whose voice a track is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Whose {
    /// Whoever is highlighted.
    Solo,
    Speaker(u32),
}

impl Whose {
    /// File name without extension, and title of the stream.
    pub(crate) fn name(self) -> (String, String) {
        match self {
            Self::Solo => ("solo".to_owned(), "active speaker".to_owned()),
            Self::Speaker(id) => (format!("speaker-{id}"), format!("speaker {id}")),
        }
    }
}

/// The tracks of a run, in one folder; none has its name before [`Tracks::finish`].
pub(crate) struct Tracks {
    folder: PathBuf,
    format: TrackFormat,
    /// That they are computed at, and that they are written at.
    rates: (u32, u32),
    channels: usize,
    files: BTreeMap<Whose, PendingFile>,
    bytes: Vec<u8>,
}

impl Tracks {
    /// Begins one for everybody.
    pub(crate) fn create(
        folder: &Path,
        format: TrackFormat,
        rates: (u32, u32),
        channels: usize,
        whose: &[Whose],
    ) -> anyhow::Result<Self> {
        let mut files = BTreeMap::new();
        for who in whose {
            // What is still to be encoded never gets this name.
            let extension = if rates.0 == rates.1 && format == TrackFormat::Wav { "wav" } else { "pcm" };
            files.insert(*who, PendingFile::create(&folder.join(format!("{}.{extension}", who.name().0)))?);
        }
        Ok(Self { folder: folder.to_owned(), format, rates, channels, files, bytes: Vec::new() })
    }

    /// Writes samples (interleaved) from this sample frame on. Files are opened for each piece: there may be more of them than a
    /// process may hold open.
    pub(crate) fn write(&mut self, whose: Whose, start: u64, samples: &[f32]) -> anyhow::Result<()> {
        let Some(file) = self.files.get(&whose) else { return Ok(()) };
        self.bytes.clear();
        for s in samples {
            self.bytes.extend(sixteen_bit(*s).to_le_bytes());
        }
        let at = HEADER + start * 2 * self.channels as u64;
        let write = || -> io::Result<()> {
            let mut out = OpenOptions::new().write(true).open(file.path())?;
            out.seek(SeekFrom::Start(at))?;
            out.write_all(&self.bytes)
        };
        write().with_context(|| format!("{}: can't be written", file.target().display()))
    }

    /// Brings all to a length of `frames`, encodes them, and gives them their names; where they are now.
    pub(crate) fn finish(
        self,
        frames: u64,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(f64),
    ) -> anyhow::Result<BTreeMap<Whose, PathBuf>> {
        let mut done = BTreeMap::new();
        let count = self.files.len();
        for (n, (whose, file)) in self.files.into_iter().enumerate() {
            let target = self.folder.join(format!("{}.{}", whose.name().0, self.format.extension()));
            let length = HEADER + frames * 2 * self.channels as u64;
            if file.target() == target {
                let header = header(self.rates.0, self.channels, length).with_context(|| {
                    format!("{}: is longer than a WAV file can be; choose --format flac", target.display())
                })?;
                lengthen(file.path(), length, &header).with_context(|| target.display().to_string())?;
                file.commit()?;
            } else {
                lengthen(file.path(), length, &[]).with_context(|| target.display().to_string())?;
                let encoded = PendingFile::create(&target)?;
                let pcm = Pcm { path: file.path(), skip: HEADER, rate: self.rates.0, channels: self.channels };
                encode(pcm, self.format, self.rates.1, (encoded.path(), &target), stop)?;
                encoded.commit()?;
            }
            done.insert(whose, target);
            #[expect(clippy::cast_precision_loss, reason = "a share")]
            progress((n + 1) as f64 / count as f64);
        }
        Ok(done)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "clamped to 16 bits")]
fn sixteen_bit(x: f32) -> i16 {
    (x * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16
}

/// Puts the header before the samples, and silence after them.
fn lengthen(path: &Path, length: u64, header: &[u8]) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).open(path)?;
    file.set_len(length)?;
    file.write_all(header)
}

/// The header of a WAV file of so many bytes; `None` where they are too many for one.
fn header(rate: u32, channels: usize, length: u64) -> Option<Vec<u8>> {
    let riff = u32::try_from(length - 8).ok()?;
    let channels = u16::try_from(channels).ok()?;
    let mut h = Vec::with_capacity(44);
    h.extend(b"RIFF");
    h.extend(riff.to_le_bytes());
    h.extend(b"WAVEfmt ");
    h.extend(16_u32.to_le_bytes());
    h.extend(1_u16.to_le_bytes()); // PCM
    h.extend(channels.to_le_bytes());
    h.extend(rate.to_le_bytes());
    h.extend((rate * 2 * u32::from(channels)).to_le_bytes());
    h.extend((2 * channels).to_le_bytes());
    h.extend(16_u16.to_le_bytes());
    h.extend(b"data");
    h.extend((riff - 36).to_le_bytes());
    Some(h)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_is_a_wave_file_with_silence_where_nothing_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut tracks =
            Tracks::create(dir.path(), TrackFormat::Wav, (16_000, 16_000), 1, &[Whose::Speaker(3)]).unwrap();
        tracks.write(Whose::Speaker(3), 4, &[0.5, -2.0, 2.0]).unwrap();
        tracks.write(Whose::Speaker(9), 0, &[1.0]).unwrap(); // nobody's
        assert!(!dir.path().join("speaker-3.wav").exists());
        tracks.finish(10, &AtomicBool::new(false), &mut |_| {}).unwrap();
        let bytes = std::fs::read(dir.path().join("speaker-3.wav")).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let (head, data) = bytes.split_at(44);
        assert_eq!((&head[..4], &head[8..16], &head[36..40]), (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..]));
        assert_eq!((head[4], head[40], data.len()), (56, 20, 20));
        let samples: Vec<i16> = data.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect();
        assert_eq!(samples, [0, 0, 0, 0, 16_384, -32_768, 32_767, 0, 0, 0]);
        assert_eq!(header(48_000, 2, 1 << 33), None);
    }
}
