//! What each container needs to be told so that only the sound moves.
//!
//! | container | sound that begins before zero |
//! |---|---|
//! | MP4, QuickTime | is kept; an edit list begins to play it at zero |
//! | Matroska, WebM | packets before zero are dropped: a time stamp there can't be negative for every reader |
//! | MPEG-TS | packets before the programme's first time stamp are dropped, so that its start does not move |
//!
//! ffmpeg's Matroska muxer has stored Opus early by its codec delay (6.5 ms) at every copy, in some versions; see
//! `trial.rs`.

use super::ffmpeg::Line;
use super::probe::{Media, Stream, seconds};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// A kind of file that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    Mp4,
    Mov,
    Matroska,
    Webm,
    Ts,
    M2ts,
}

/// The extensions of [`Container::of`], for messages.
pub(super) const EXTENSIONS: &str = ".mp4, .m4v, .mov, .mkv, .webm, .ts, .m2ts, .mts";

/// Where a transport stream that is made from another container begins, seconds: no time stamp is below zero.
const TS_START_S: f64 = 1.4;

/// Tags that an MP4 file has a place of its own for; others need the QuickTime way of storing tags.
const ITUNES_TAGS: [&str; 40] = [
    "album",
    "album_artist",
    "artist",
    "comment",
    "compatible_brands",
    "compilation",
    "composer",
    "copyright",
    "creation_time",
    "date",
    "description",
    "disc",
    "encoder",
    "encoding_tool",
    "episode_id",
    "episode_sort",
    "gapless_playback",
    "genre",
    "grouping",
    "hd_video",
    "keywords",
    "lyrics",
    "major_brand",
    "media_type",
    "minor_version",
    "network",
    "performer",
    "rating",
    "season_number",
    "show",
    "sort_album",
    "sort_album_artist",
    "sort_artist",
    "sort_composer",
    "sort_name",
    "sort_show",
    "synopsis",
    "title",
    "track",
    "timecode",
];

impl Container {
    /// By the extension of a file name.
    pub(super) fn of(path: &Path) -> Option<Self> {
        Some(match path.extension()?.to_string_lossy().to_lowercase().as_str() {
            "mp4" | "m4v" => Self::Mp4,
            "mov" => Self::Mov,
            "mkv" => Self::Matroska,
            "webm" => Self::Webm,
            "ts" => Self::Ts,
            "m2ts" | "mts" => Self::M2ts,
            _ => return None,
        })
    }

    /// ffmpeg's muxer.
    pub(super) fn muxer(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Mov => "mov",
            Self::Matroska => "matroska",
            Self::Webm => "webm",
            Self::Ts | Self::M2ts => "mpegts",
        }
    }

    pub(super) fn is_matroska(self) -> bool {
        matches!(self, Self::Matroska | Self::Webm)
    }

    fn is_quicktime(self) -> bool {
        matches!(self, Self::Mp4 | Self::Mov)
    }

    /// Where the programme's time zero lies on the time stamps of a file made from `input`, seconds.
    pub(super) fn zero_s(self, input: &Media) -> f64 {
        match self {
            Self::Ts | Self::M2ts if input.is("mpegts") => input.zero_s(),
            Self::Ts | Self::M2ts => TS_START_S,
            // The picture begins at zero: ffmpeg's muxer can't have it begin later when its DTS are below zero.
            Self::Mp4 | Self::Mov if input.is("mpegts") => {
                let picture = input.tracks().find(|s| s.codec_type == "video");
                let start_s = picture.and_then(|s| seconds(s.start_time.as_ref()));
                start_s.map_or(0.0, |start_s| input.zero_s() - start_s)
            }
            _ => 0.0,
        }
    }

    /// Which of the sound's packets are dropped, as an expression of ffmpeg's `noise` bit stream filter. `late` says
    /// that copied sound is moved towards zero; what is `encoded` begins with its encoder's priming, before zero.
    ///
    /// Below zero holds in every unit: which one a filter's `tb` stands for differs from version to version, but not
    /// where the container stays the same.
    pub(super) fn dropped(self, input: &Media, sound: &Stream, encoded: bool, late: bool) -> Option<String> {
        match self {
            Self::Mp4 | Self::Mov => None,
            // Opus has its priming taken off by the container.
            Self::Matroska | Self::Webm => {
                let needed = if encoded { sound.codec_name != "opus" } else { late };
                needed.then(|| "lt(pts\\,0)".into())
            }
            Self::Ts | Self::M2ts if input.is("mpegts") && late && !encoded => {
                Some(format!("lt(pts*tb\\,{:.6})", self.zero_s(input) - 0.0005))
            }
            Self::Ts | Self::M2ts => Some("lt(pts\\,0)".into()),
        }
    }

    /// The muxer's options; `path` is the input.
    pub(super) fn options(self, input: &Media, path: &Path, line: &mut Line) {
        // Without this all streams are moved so that none begins before zero.
        line.words(&["-avoid_negative_ts", "disabled", "-max_muxing_queue_size", "4096"]);
        match self {
            Self::Mp4 | Self::Mov => {
                let mut flags = String::new();
                if begins_with_index(path) {
                    flags += "+faststart";
                }
                // Where tags are stored in QuickTime's way, ffmpeg writes no cover.
                let other = input.format.tags.keys().any(|k| !ITUNES_TAGS.contains(&k.to_lowercase().as_str()));
                if other && !input.tracks().any(|s| s.has("attached_pic")) {
                    flags += "+use_metadata_tags";
                }
                if !flags.is_empty() {
                    line.option("-movflags", flags);
                }
                // The start of a late track is counted in these: in milliseconds by default. What the input has is
                // taken, whether or not ffmpeg calls it experimental.
                line.words(&["-movie_timescale", "90000", "-strict", "experimental"]);
            }
            Self::Matroska | Self::Webm => {
                line.words(&["-default_mode", "passthrough"]);
            }
            Self::Ts | Self::M2ts => {
                line.words(&["-mpegts_copyts", "1"]);
                line.words(&["-mpegts_m2ts_mode", if self == Self::M2ts { "1" } else { "0" }]);
                if let [program] = input.programs.as_slice() {
                    line.option("-mpegts_service_id", program.program_num.max(1).to_string());
                    if self == Self::Ts && (32..=8186).contains(&program.pmt_pid) {
                        line.option("-mpegts_pmt_start_pid", program.pmt_pid.to_string());
                    }
                    for (key, value) in &program.tags {
                        line.option("-metadata", format!("{key}={value}"));
                    }
                }
                if self == Self::Ts && input.is("mpegts") {
                    for (k, stream) in input.tracks().enumerate() {
                        let id = stream.id.as_deref().and_then(|id| id.strip_prefix("0x"));
                        if let Some(pid) = id.and_then(|id| u16::from_str_radix(id, 16).ok()) {
                            line.option("-streamid", format!("{k}:{pid}"));
                        }
                    }
                }
            }
        }
    }

    /// How far a time stamp may be from where it should be, seconds: the container's tick.
    pub(super) fn tick_s(self) -> f64 {
        if self.is_quicktime() { 0.0005 } else { 0.0015 }
    }
}

/// Does an MP4 or QuickTime file have its index (moov) before its media (mdat), so that it can be played while it is
/// loaded?
fn begins_with_index(path: &Path) -> bool {
    let Ok(mut file) = File::open(path) else { return false };
    let mut header = [0; 16];
    // The first boxes tell; 64 is more than any file has before both.
    for _ in 0..64 {
        if file.read_exact(&mut header[..8]).is_err() {
            return false;
        }
        let (size, kind) = (u32::from_be_bytes([header[0], header[1], header[2], header[3]]), &header[4..8]);
        match kind {
            b"moov" => return true,
            b"mdat" | [0, ..] => return false,
            _ => {}
        }
        let rest = if size == 1 {
            if file.read_exact(&mut header[8..16]).is_err() {
                return false;
            }
            let mut long = [0; 8];
            long.copy_from_slice(&header[8..16]);
            i64::from_be_bytes(long) - 16
        } else {
            i64::from(size) - 8
        };
        if rest < 0 || file.seek(SeekFrom::Current(rest)).is_err() {
            return false;
        }
    }
    false
}
