//! What a file holds, as ffprobe tells it.

use super::FixError;
use super::ffmpeg::{Tools, ask};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// A file.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Media {
    #[serde(default)]
    pub(crate) streams: Vec<Stream>,
    #[serde(default)]
    pub(crate) chapters: Vec<Chapter>,
    #[serde(default)]
    pub(crate) programs: Vec<Program>,
    pub(crate) format: Format,
}

/// A track; times are in seconds, as text.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Stream {
    pub(crate) index: usize,
    #[serde(default = "unknown")]
    pub(crate) codec_type: String,
    #[serde(default = "unknown")]
    pub(crate) codec_name: String,
    #[serde(default)]
    pub(crate) codec_tag_string: String,
    /// The PID in MPEG-TS, as 0x100.
    pub(crate) id: Option<String>,
    pub(crate) start_time: Option<String>,
    pub(crate) sample_rate: Option<String>,
    pub(crate) channels: Option<u32>,
    pub(crate) channel_layout: Option<String>,
    pub(crate) sample_fmt: Option<String>,
    pub(crate) bits_per_raw_sample: Option<String>,
    pub(crate) bit_rate: Option<String>,
    pub(crate) profile: Option<String>,
    #[serde(default)]
    pub(crate) disposition: BTreeMap<String, u8>,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
}

/// A chapter; times are in seconds, as text.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Chapter {
    pub(crate) start_time: String,
    pub(crate) end_time: String,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
}

/// A programme of an MPEG transport stream.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Program {
    pub(crate) program_num: u32,
    pub(crate) pmt_pid: u32,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
}

/// The file as a whole; times are in seconds, as text.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Format {
    pub(crate) format_name: String,
    pub(crate) start_time: Option<String>,
    pub(crate) duration: Option<String>,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
}

fn unknown() -> String {
    "unknown".to_owned()
}

/// Seconds of a time that ffprobe gives as text; `None` for "N/A".
pub(crate) fn seconds(text: Option<&String>) -> Option<f64> {
    text?.parse().ok()
}

impl Stream {
    pub(crate) fn is_sound(&self) -> bool {
        self.codec_type == "audio"
    }

    pub(crate) fn has(&self, disposition: &str) -> bool {
        self.disposition.get(disposition).is_some_and(|&on| on != 0)
    }

    /// For people: `stream 3 (subtitle, subrip)`.
    pub(crate) fn name(&self) -> String {
        let codec = match self.codec_name.as_str() {
            "unknown" if !self.codec_tag_string.is_empty() => &self.codec_tag_string,
            name => name,
        };
        format!("stream {} ({}, {codec})", self.index, self.codec_type)
    }
}

impl Media {
    /// Looks into a file. The inner error is what ffprobe said.
    pub(crate) fn probe(tools: &Tools, path: &Path, stop: &AtomicBool) -> Result<Result<Self, String>, FixError> {
        let words = ["-show_format", "-show_streams", "-show_chapters", "-show_programs"];
        Ok(match ask(tools, &words, path, stop)? {
            Ok(json) => serde_json::from_slice(&json).map_err(|e| format!("ffprobe's answer is not understood: {e}")),
            Err(said) => Err(said),
        })
    }

    /// The tracks, without the one in which MP4 and QuickTime keep the chapters: the muxer writes that one itself.
    pub(crate) fn tracks(&self) -> impl Iterator<Item = &Stream> {
        let chapters = !self.chapters.is_empty();
        self.streams.iter().filter(move |s| !(chapters && s.codec_name == "bin_data" && s.codec_tag_string == "text"))
    }

    pub(crate) fn sound(&self) -> impl Iterator<Item = &Stream> {
        self.tracks().filter(|s| s.is_sound())
    }

    pub(crate) fn is(&self, format: &str) -> bool {
        self.format.format_name.split(',').any(|name| name == format)
    }

    /// Where the programme's time zero lies on the file's time stamps, seconds: at their zero, but for MPEG-TS, whose
    /// time stamps begin anywhere.
    pub(crate) fn zero_s(&self) -> f64 {
        if self.is("mpegts") { seconds(self.format.start_time.as_ref()).unwrap_or(0.0) } else { 0.0 }
    }

    /// Length, seconds; `None` when it is not known.
    pub(crate) fn duration_s(&self) -> Option<f64> {
        seconds(self.format.duration.as_ref()).filter(|&s| s > 0.0)
    }
}

/// The bit rate of a sound track, bits per second, from its packets at three places of 30 s. (What ffprobe says itself is
/// a guess from the first frames for some codecs, and nothing for others.)
pub(crate) fn bit_rate(
    tools: &Tools,
    path: &Path,
    media: &Media,
    index: usize,
    stop: &AtomicBool,
) -> Result<Option<u64>, FixError> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        packets: Vec<Packet>,
    }
    #[derive(Deserialize)]
    struct Packet {
        size: String,
        duration_time: Option<String>,
    }
    let index = index.to_string();
    let places = match media.duration_s() {
        Some(d) if d > 180.0 => format!("%+30,{:.0}%+30,{:.0}%+30", d / 3.0, d / 1.5),
        _ => "%+90".to_owned(),
    };
    let words = ["-read_intervals", &places, "-select_streams", &index, "-show_entries", "packet=size,duration_time"];
    let Ok(json) = ask(tools, &words, path, stop)? else { return Ok(None) };
    let Ok(answer) = serde_json::from_slice::<Answer>(&json) else { return Ok(None) };
    let bits: f64 = answer.packets.iter().filter_map(|p| p.size.parse::<f64>().ok()).sum::<f64>() * 8.0;
    let length_s: f64 = answer.packets.iter().filter_map(|p| seconds(p.duration_time.as_ref())).sum();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and no rate is near 2^64")]
    Ok((length_s > 0.0).then(|| (bits / length_s).round() as u64))
}
