//! Files with a flash and a click every second, and what ffprobe and a decoder make of them.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Seconds that every file lasts; flashes and clicks are at 1, 2, … seconds.
pub(crate) const LENGTH_S: u32 = 7;

const CHAPTERS: &str = ";FFMETADATA1
title=Example; with \\= signs
artist=Somebody
comment=A comment
[CHAPTER]
TIMEBASE=1/1000
START=0
END=2000
title=One
[CHAPTER]
TIMEBASE=1/1000
START=2000
END=7000
title=Two
";
const SUBTITLES: &str = "1\n00:00:00,500 --> 00:00:01,500\nHello\n\n2\n00:00:03,000 --> 00:00:04,000\nWorld\n";

/// A container to make a file in: the extension and the options of its encoders.
pub(crate) struct Kind {
    pub(crate) extension: &'static str,
    pub(crate) picture: &'static str,
    pub(crate) sound: &'static str,
    pub(crate) subtitles: &'static str,
}

const H264: &str = "-c:v libx264 -preset ultrafast -bf 2 -g 25";
pub(crate) const MP4: Kind = Kind {
    extension: "mp4",
    picture: H264,
    sound: "-c:a aac -b:a 128k -movflags +faststart",
    subtitles: "-c:s mov_text",
};
pub(crate) const MOV: Kind =
    Kind { extension: "mov", picture: H264, sound: "-c:a:0 pcm_s16le -c:a:1 pcm_s24le", subtitles: "-c:s mov_text" };
pub(crate) const MKV: Kind =
    Kind { extension: "mkv", picture: H264, sound: "-c:a:0 aac -b:a:0 128k -c:a:1 flac", subtitles: "-c:s srt" };
pub(crate) const WEBM: Kind = Kind {
    extension: "webm",
    picture: "-c:v libvpx -deadline realtime -cpu-used 8 -b:v 200k",
    sound: "-c:a:0 libopus -b:a:0 96k -c:a:1 libvorbis",
    subtitles: "-c:s webvtt",
};
pub(crate) const TS: Kind =
    Kind { extension: "ts", picture: H264, sound: "-c:a:0 aac -b:a:0 128k -c:a:1 mp2", subtitles: "" };

/// Runs ffmpeg, which must succeed.
pub(crate) fn ffmpeg(args: &[&str]) -> Vec<u8> {
    let out = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostdin", "-v", "error", "-y"])
        .args(args)
        .stderr(Stdio::inherit())
        .output()
        .expect("ffmpeg starts");
    assert!(out.status.success(), "ffmpeg {args:?}");
    out.stdout
}

/// Makes a file: a picture with flashes, two sound tracks, chapters, tags, subtitles where they fit. `clock` is the
/// time at which what is heard at t ought to be heard, as an expression of t; `second` is the second track's sound.
pub(crate) fn make(dir: &Path, kind: &Kind, clock: &str, second: &str) -> PathBuf {
    let file = dir.join(format!("in.{}", kind.extension));
    let (chapters, subtitles) = (dir.join("chapters.txt"), dir.join("subtitles.srt"));
    std::fs::write(&chapters, CHAPTERS).expect("written");
    std::fs::write(&subtitles, SUBTITLES).expect("written");
    let d = LENGTH_S;
    let picture = format!(
        "color=black:size=160x120:rate=25:duration={d},drawbox=c=white:t=fill:enable='lt(mod(t+0.001,1),0.039)*gte(t,0.9)'"
    );
    let sound = format!("aevalsrc='{}':s=48000:c=stereo:d={d}", [click(clock, 1000), click(clock, 1000)].join("|"));
    let second = format!("aevalsrc='{second}':s=48000:d={d}");
    let text = |p: &Path| p.to_str().expect("a plain path").to_owned();
    let (chapters, subtitles, out) = (text(&chapters), text(&subtitles), text(&file));
    let mut args = vec!["-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", &sound, "-f", "lavfi", "-i", &second];
    args.extend(["-i", &subtitles, "-i", &chapters, "-map", "0", "-map", "1", "-map", "2"]);
    if !kind.subtitles.is_empty() {
        args.extend(["-map", "3"]);
    }
    args.extend(["-map_metadata", "4", "-map_chapters", "4"]);
    args.extend(["-metadata:s:a:0", "language=eng", "-metadata:s:a:1", "language=fra"]);
    for options in [kind.picture, kind.sound, kind.subtitles] {
        args.extend(options.split_whitespace());
    }
    args.push(&out);
    ffmpeg(&args);
    file
}

/// 10 ms of a tone at each full second of a clock.
pub(crate) fn click(clock: &str, hz: u32) -> String {
    format!("if(lt(mod({clock},1),0.01)*gte({clock},0.9),0.8*sin(2*PI*{hz}*mod({clock},1)),0)")
}

/// ffprobe's answer.
pub(crate) fn probe(file: &Path, words: &[&str]) -> Value {
    let out = Command::new("ffprobe")
        .args(["-v", "error", "-of", "json"])
        .args(words)
        .arg(file)
        .output()
        .expect("ffprobe starts");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("JSON")
}

/// A packet: time stamps (as text), flags, hash of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) pts: String,
    pub(crate) dts: String,
    pub(crate) flags: String,
    pub(crate) hash: String,
}

impl Packet {
    pub(crate) fn pts_s(&self) -> f64 {
        self.pts.parse().expect("a time")
    }
}

/// What ffprobe says of a file as it is stored.
pub(crate) struct Stored {
    /// By stream.
    pub(crate) packets: Vec<Vec<Packet>>,
    /// Seconds and titles; the unit they are stored in may differ.
    pub(crate) chapters: Value,
    pub(crate) tags: Value,
    /// Codec, parameters and tags of each stream.
    pub(crate) streams: Value,
    /// First time stamp, seconds.
    pub(crate) start_s: f64,
}

impl Stored {
    pub(crate) fn of(file: &Path) -> Self {
        let entries = "packet=stream_index,pts_time,dts_time,flags,data_hash:chapter=start_time,end_time:\
                       chapter_tags=title:format=start_time:format_tags=title,artist,ARTIST,comment,COMMENT:\
                       stream=codec_name,sample_rate,channels,channel_layout,sample_fmt,width:stream_tags=language,title";
        let answer = probe(file, &["-show_data_hash", "md5", "-show_entries", entries]);
        let streams = answer["streams"].clone();
        let mut packets = vec![Vec::new(); streams.as_array().expect("a list").len()];
        for p in answer["packets"].as_array().expect("a list") {
            let text = |key: &str| p[key].as_str().unwrap_or("none").to_owned();
            let index = usize::try_from(p["stream_index"].as_u64().expect("a number")).expect("small");
            let flags = text("flags");
            packets[index].push(Packet {
                pts: text("pts_time"),
                dts: text("dts_time"),
                flags,
                hash: text("data_hash"),
            });
        }
        let start = answer["format"]["start_time"].as_str().and_then(|t| t.parse().ok());
        Self {
            packets,
            chapters: answer["chapters"].clone(),
            tags: answer["format"]["tags"].clone(),
            streams,
            start_s: start.expect("a time"),
        }
    }
}

/// Times of the decoded frames of each stream, seconds, and their lengths in samples.
fn frames(file: &Path) -> Vec<Vec<(f64, usize)>> {
    let answer = probe(file, &["-show_entries", "frame=stream_index,pts_time,nb_samples"]);
    let mut streams = vec![Vec::new(); 8];
    for f in answer["frames"].as_array().expect("a list") {
        let Some(index) = f["stream_index"].as_u64() else { continue };
        let time = f["pts_time"].as_str().and_then(|t| t.parse().ok()).unwrap_or(f64::NAN);
        let samples = usize::try_from(f["nb_samples"].as_u64().unwrap_or(0)).expect("small");
        streams[usize::try_from(index).expect("small")].push((time, samples));
    }
    streams
}

/// What is seen and heard of a file.
pub(crate) struct Played {
    /// When flashes are seen, seconds.
    pub(crate) flashes: Vec<f64>,
    /// The sound tracks' first channels: the time of each sample by its frame's time stamp, seconds, and the samples.
    pub(crate) sound: [(Vec<f64>, Vec<f32>); 2],
}

impl Played {
    /// Of a file as [`make`] makes them.
    pub(crate) fn of(file: &Path) -> Self {
        let frames = frames(file);
        let path = file.to_str().expect("a plain path");
        let take =
            |map: &str, options: &[&str]| ffmpeg(&[&["-copyts", "-i", path, "-map", map], options, &["-"]].concat());
        let gray = ["-vf", "scale=8:8", "-pix_fmt", "gray", "-vsync", "0", "-f", "rawvideo"];
        let raw = take("0:v:0", &gray);
        assert_eq!(raw.len(), frames[0].len() * 64, "ffprobe and ffmpeg disagree");
        let bright = raw.chunks_exact(64).map(|f| f.iter().map(|&b| u32::from(b)).sum::<u32>() > 64 * 128);
        let flashes = frames[0].iter().zip(bright).filter(|(_, bright)| *bright).map(|(t, _)| t.0).collect();
        let sound = [1, 2].map(|stream| {
            let raw = take(&format!("0:{stream}"), &["-af", "pan=mono|c0=c0", "-f", "f32le"]);
            let samples: Vec<f32> = raw.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
            let spread = |&(t, n): &(f64, usize)| (0..n).map(move |i| t + i as f64 / 48_000.0);
            let times: Vec<f64> = frames[stream].iter().flat_map(spread).collect();
            assert_eq!(times.len(), samples.len(), "stream {stream}: ffprobe and ffmpeg disagree");
            (times, samples)
        });
        Self { flashes, sound }
    }

    /// When clicks are heard in a track, seconds.
    pub(crate) fn clicks(&self, track: usize) -> Vec<f64> {
        let (times, samples) = &self.sound[track];
        let mut found: Vec<f64> = Vec::new();
        for (t, x) in times.iter().zip(samples) {
            if x.abs() > 0.25 && found.last().is_none_or(|last| t - last > 0.5) {
                found.push(*t);
            }
        }
        found
    }

    /// Flashes, seconds, and the distances to their clicks (> 0: the sound is late), where one is within 0.45 s.
    pub(crate) fn distances(&self, track: usize) -> Vec<(f64, f64)> {
        let clicks = self.clicks(track);
        let near = |&flash: &f64| {
            let near = clicks.iter().map(|c| c - flash).min_by(|a, b| a.abs().total_cmp(&b.abs()))?;
            (near.abs() < 0.45).then_some((flash, near))
        };
        self.flashes.iter().filter_map(near).collect()
    }
}
