//! The sound is moved, and nothing else: read back with ffprobe, and decoded.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "a test"
)]

mod common;

use common::{Kind, LENGTH_S, MKV, MOV, MP4, Played, Stored, TS, WEBM, click, make, probe};
use seehear::time::{TimeDelta, Timestamp};
use seehear_sync::fix::{Correction, FixError, Fixed, Knot, Tools, fix, fix_with};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

fn fixed(input: &Path, output: &Path, correction: &Correction) -> Result<Fixed, FixError> {
    let mut last = 0.0;
    let result = fix(input, output, correction, &mut |p| last = p, &AtomicBool::new(false));
    assert!(result.is_err() || last == 1.0, "the progress ends at {last}");
    result
}

fn shift(ms: i64) -> Correction {
    Correction::Shift(TimeDelta::from_ms(ms))
}

fn follow(knots: &[(i64, i64)]) -> Correction {
    Correction::Follow(
        knots
            .iter()
            .map(|&(at, offset)| Knot { at: Timestamp::from_ms(at), offset: TimeDelta::from_ms(offset) })
            .collect(),
    )
}

/// Picture, subtitles, chapters, tags and the sound's parameters of two files are the same, to the byte and the tick.
fn all_but_the_sound_is_the_same(a: &Stored, b: &Stored) {
    assert_eq!(a.packets[0], b.packets[0], "picture");
    assert_eq!(a.packets.get(3), b.packets.get(3), "subtitles");
    assert_eq!((&a.chapters, &a.tags, &a.streams), (&b.chapters, &b.tags, &b.streams));
}

/// The sound's packets are the same, and earlier by `by_s`; those before `zero_s` may be gone.
fn the_sound_has_moved(a: &Stored, b: &Stored, by_s: f64, tick_s: f64, zero_s: Option<f64>) {
    for track in [1, 2] {
        let (a, b) = (&a.packets[track], &b.packets[track]);
        let gone = a.len() - b.len();
        assert!(!b.is_empty() && (gone == 0 || zero_s.is_some()), "{track}: {gone} packets are gone");
        for p in &a[..gone] {
            assert!(p.pts_s() - by_s < zero_s.unwrap_or(0.0) + tick_s, "{track}: {p:?} is gone");
        }
        for (a, b) in a[gone..].iter().zip(b) {
            assert_eq!(a.hash, b.hash, "{track} at {}", a.pts);
            let moved = a.pts_s() - b.pts_s();
            assert!((moved - by_s).abs() <= tick_s, "{track} at {}: moved by {moved}", a.pts);
            // Opus begins a little before zero, by the delay of its decoder.
            assert!(zero_s.is_none_or(|zero| b.pts_s() >= zero - 0.0076), "{track}: {b:?} is before zero");
        }
    }
}

fn shifts(kind: &Kind, tick_s: f64) {
    let dir = tempfile::tempdir().expect("a folder");
    let input = make(dir.path(), kind, "t", &click("t", 1500));
    let bytes = fs::read(&input).expect("read");
    let (stored, played) = (Stored::of(&input), Played::of(&input));
    let is_ts = kind.extension == "ts";
    assert_eq!(stored.chapters.as_array().map(Vec::len), Some(if is_ts { 0 } else { 2 }));
    assert!(stored.streams[2]["tags"]["language"] == "fra" && (is_ts || stored.tags.to_string().contains("Somebody")));
    // What has no edit list has no sound before its zero.
    let zero_s = match kind.extension {
        "mp4" | "mov" => None,
        "ts" => Some(stored.start_s),
        _ => Some(0.0),
    };
    for ms in [83, -120, 417] {
        let output = dir.path().join(format!("out{ms}.{}", kind.extension));
        let done = fixed(&input, &output, &shift(ms)).expect("mended");
        assert!(!done.encoded && done.tracks.len() == 2 && done.lost_tags.is_empty(), "{done}");
        let by_s = ms as f64 / 1000.0;
        let after = Stored::of(&output);
        all_but_the_sound_is_the_same(&stored, &after);
        the_sound_has_moved(&stored, &after, by_s, tick_s, zero_s);
        let after = Played::of(&output);
        for k in 0..2 {
            let (before, after) = (played.distances(k), after.distances(k));
            assert_eq!(after.len(), 6, "{ms} ms, track {k}: {after:?}");
            for ((_, was), (at, is)) in before.iter().zip(&after) {
                assert!((is - was + by_s).abs() < 0.002, "{ms} ms, track {k}, at {at}: {was} became {is}");
            }
        }
    }
    assert_eq!(fs::read(&input).expect("read"), bytes, "the input was touched");
    // Two inputs of `make`, three outputs, the input.
    assert_eq!(fs::read_dir(dir.path()).expect("a folder").count(), 6, "something was left behind");
}

#[test]
fn mp4_is_shifted() {
    shifts(&MP4, 0.0001);
}

#[test]
fn mov_is_shifted() {
    shifts(&MOV, 0.0001);
}

#[test]
fn mkv_is_shifted() {
    shifts(&MKV, 0.0011);
}

#[test]
fn webm_is_shifted() {
    shifts(&WEBM, 0.0021);
}

#[test]
fn ts_is_shifted() {
    shifts(&TS, 0.0001);
}

/// A sine, and how steep it gets at most between two samples.
const SINE: &str = "0.5*sin(2*PI*440*t)";
const STEEPEST: f32 = 0.5 * std::f32::consts::TAU * 440.0 / 48_000.0;

/// Late by 100 ms up to 3.5 s, then early by 60 ms; with a steady sine as the second track.
fn follows_a_step(kind: &Kind) {
    let dir = tempfile::tempdir().expect("a folder");
    let input = make(dir.path(), kind, "(t-if(lt(t,3.5),0.1,-0.06))", SINE);
    let output = dir.path().join(format!("out.{}", kind.extension));
    let (stored, before) = (Stored::of(&input), Played::of(&input).distances(0));
    // ffmpeg itself stores new Opus 6.5 ms early.
    let skew = before[0].1 - 0.1;
    assert!(skew.abs() < 0.0075 && (before[5].1 + 0.06 - skew).abs() < 0.002, "the input is not as asked: {before:?}");
    let done = fixed(&input, &output, &follow(&[(0, 100), (3500, 100), (3500, -60), (7000, -60)])).expect("mended");
    assert!(done.encoded && done.tracks.len() == 2, "{done}");
    all_but_the_sound_is_the_same(&stored, &Stored::of(&output));
    let after = Played::of(&output);
    let distances = after.distances(0);
    assert_eq!(distances.len(), 6, "{distances:?}");
    for (at, is) in &distances {
        assert!((is - skew).abs() < 0.003, "{}: at {at}: {is} (input: {skew})", kind.extension);
    }
    let (times, samples) = &after.sound[1];
    let zero = if kind.extension == "ts" { stored.start_s } else { 0.0 };
    assert!((times[0] - zero).abs() < 0.025, "{}: the sine begins at {}", kind.extension, times[0]);
    let inner = times.partition_point(|&t| t < 0.5 + zero)..times.partition_point(|&t| t < 6.5 + zero);
    assert!(inner.len().abs_diff(6 * 48_000) < 100, "{}: {} samples", kind.extension, inner.len());
    for (w, t) in samples[inner.clone()].windows(2).zip(&times[inner]) {
        // A fade of 10 ms adds a little, a lossy codec too.
        assert!((w[1] - w[0]).abs() < 1.25 * STEEPEST, "{}: a click at {t}: {w:?}", kind.extension);
    }
}

#[test]
fn mp4_follows_a_step() {
    follows_a_step(&MP4);
}

#[test]
fn mov_follows_a_step() {
    follows_a_step(&MOV);
}

#[test]
fn mkv_follows_a_step() {
    follows_a_step(&MKV);
}

#[test]
fn webm_follows_a_step() {
    follows_a_step(&WEBM);
}

#[test]
fn ts_follows_a_step() {
    follows_a_step(&TS);
}

#[test]
fn a_drift_is_followed() {
    for kind in [MP4, MKV] {
        let dir = tempfile::tempdir().unwrap();
        // 20 ms late at first, and 10 ms later every second.
        let input = make(dir.path(), &kind, "(0.99*t-0.02)", &click("(0.99*t-0.02)", 1500));
        assert!(Played::of(&input).distances(0)[5].1 > 0.07, "the input is not what was asked for");
        let output = dir.path().join(format!("out.{}", kind.extension));
        fixed(&input, &output, &follow(&[(0, 20), (7000, 90)])).unwrap();
        let after = Played::of(&output);
        for k in 0..2 {
            let after = after.distances(k);
            assert!(after.len() == 6 && after.iter().all(|(_, d)| d.abs() < 0.003), "{}: {after:?}", kind.extension);
        }
        all_but_the_sound_is_the_same(&Stored::of(&input), &Stored::of(&output));
    }
}

#[test]
fn lossless_sound_stays_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let input = make(dir.path(), &MOV, "t", "0.3*sin(2*PI*300*t)+0.1*random(0)");
    let output = dir.path().join("out.mov");
    fixed(&input, &output, &follow(&[(0, 50)])).unwrap();
    let raw = |f: &Path, k: usize| {
        let map = format!("0:a:{k}");
        common::ffmpeg(&["-i", f.to_str().unwrap(), "-map", &map, "-f", "s32le", "-"])
    };
    for (k, frame) in [(0, 8), (1, 4)] {
        assert!(raw(&input, k)[2400 * frame..] == raw(&output, k)[..], "track {k} has changed");
    }
    let f: Value = probe(&output, &["-show_entries", "format=duration"]);
    assert!(f["format"]["duration"].as_str().unwrap().starts_with(&LENGTH_S.to_string()));
}

#[test]
fn covers_and_attachments_stay() {
    let dir = tempfile::tempdir().unwrap();
    let plain = make(dir.path(), &MKV, "t", "0");
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (plain, cover, input) = (plain.to_str().unwrap(), at("cover.png"), at("attached.mkv"));
    let (output, subtitles) = (at("out.mkv"), at("subtitles.srt"));
    common::ffmpeg(&["-f", "lavfi", "-i", "color=red:s=32x32", "-frames:v", "1", &cover]);
    let mut args = vec!["-i", plain, "-map", "0", "-c", "copy", "-attach", &subtitles];
    args.extend(["-metadata:s:t:0", "mimetype=text/plain", "-metadata:s:t:0", "filename=notes.txt", "-attach", &cover]);
    args.extend(["-metadata:s:t:1", "mimetype=image/png", "-metadata:s:t:1", "filename=front.png", &input]);
    common::ffmpeg(&args);
    let streams = |f: &str| {
        let entries =
            "stream=codec_type,codec_name:stream_disposition=attached_pic,default:stream_tags=filename,mimetype";
        probe(Path::new(f), &["-show_entries", entries])["streams"].clone()
    };
    for correction in [shift(100), follow(&[(0, 100)])] {
        fixed(Path::new(&input), Path::new(&output), &correction).unwrap();
        assert_eq!(streams(&input), streams(&output));
        assert!(streams(&output).to_string().contains("front.png"));
    }
}

#[test]
fn what_cannot_be_done_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let input = make(dir.path(), &MKV, "t", "0");
    let bytes = fs::read(&input).unwrap();
    fs::hard_link(&input, at("hard.mkv")).unwrap();
    std::os::unix::fs::symlink(&input, at("soft.mkv")).unwrap();
    fs::write(at("text.mkv"), b"a letter to my aunt").unwrap();
    fs::create_dir(at("folder.mkv")).unwrap();
    let dark = at("silent.mkv");
    common::ffmpeg(&["-i", input.to_str().unwrap(), "-map", "0:v", "-c", "copy", dark.to_str().unwrap()]);
    let files = fs::read_dir(dir.path()).unwrap().count();
    for (input, output, words) in [
        (at("gone.mkv"), at("o.mkv"), vec!["gone.mkv", "no such file"]),
        (at("folder.mkv"), at("o.mkv"), vec!["folder.mkv", "is a folder"]),
        (at("text.mkv"), at("o.mkv"), vec!["text.mkv", "Invalid data"]),
        (dark, at("o.mkv"), vec!["silent.mkv", "no sound track"]),
        (input.clone(), input.clone(), vec!["in.mkv", "the input itself"]),
        (input.clone(), at("hard.mkv"), vec!["hard.mkv", "the input itself"]),
        (input.clone(), at("soft.mkv"), vec!["soft.mkv", "the input itself"]),
        (at("soft.mkv"), input.clone(), vec!["in.mkv", "the input itself"]),
        (input.clone(), at("folder.mkv"), vec!["folder.mkv", "is a folder"]),
        (input.clone(), at("nowhere/o.mkv"), vec!["nowhere/o.mkv", "a folder that exists"]),
        (input.clone(), at("o.avi"), vec!["o.avi", ".mkv"]),
        (input.clone(), at("o"), vec![".mkv"]),
        // Subtitles as text, which MP4 does not know, and FLAC, which WebM does not; named each.
        (input.clone(), at("o.mp4"), vec!["o.mp4", "stream 3 (subtitle, subrip)", "-map -0:3"]),
        (input.clone(), at("o.webm"), vec!["stream 0 (video, h264)", "stream 2 (audio, flac)", "stream 3"]),
        // ffmpeg would write the subtitles as private data, which nobody reads.
        (input.clone(), at("o.ts"), vec!["o.ts", "stream 3 (subtitle, subrip)"]),
    ] {
        let error = fixed(&input, &output, &shift(100)).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "\"{word}\" is not in: {error}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), files, "{error}: something was left behind");
    }
    let error = fixed(&input, &at("o.mkv"), &shift(7100)).unwrap_err().to_string();
    assert!(error.contains("can't be moved by 7100.0 ms"), "{error}");
    assert_eq!(fs::read(&input).unwrap(), bytes, "the input was touched");
}

#[test]
fn without_ffmpeg_the_remedy_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let input = make(dir.path(), &MKV, "t", "0");
    let nowhere = Tools { ffmpeg: "/nowhere/ffmpeg".into(), ffprobe: "/nowhere/ffprobe".into() };
    let only_ffprobe = Tools { ffprobe: "ffprobe".into(), ..nowhere.clone() };
    for (tools, name) in [(nowhere, "ffprobe"), (only_ffprobe, "ffmpeg")] {
        for correction in [shift(10), follow(&[(0, 10)])] {
            let output = dir.path().join("out.mkv");
            let result = fix_with(&tools, &input, &output, &correction, &mut |_| {}, &AtomicBool::new(false));
            let error = result.unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("apt-get install ffmpeg"), "{error}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "something was left behind");
        }
    }
}

/// Processes whose command line holds `text`.
fn processes(text: &str) -> usize {
    let folders = fs::read_dir("/proc").expect("Linux").filter_map(Result::ok);
    let lines = folders.filter_map(|f| fs::read(f.path().join("cmdline")).ok());
    lines.filter(|line| String::from_utf8_lossy(line).contains(text)).count()
}

#[test]
fn stopped_half_way_it_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let short = make(dir.path(), &MKV, "t", "0.1*sin(1000*t)");
    let input = dir.path().join("long.mkv");
    let long = ["-stream_loop", "400", "-i", short.to_str().unwrap(), "-map", "0:v", "-map", "0:a", "-c", "copy"];
    common::ffmpeg(&[&long[..], &[input.to_str().unwrap()]].concat());
    let output = dir.path().join("out.mkv");
    fs::write(&output, b"of before").unwrap();
    let mine = output.to_str().unwrap().replace("out.mkv", "");
    let stop = AtomicBool::new(false);
    let mut seen = 0.0;
    // Asked for at the first word of progress, which must not be the last.
    let mut look = |p: f64| {
        seen = p;
        stop.store(true, Ordering::Release);
    };
    let error = fix(&input, &output, &follow(&[(0, 0), (1_000_000, 5000)]), &mut look, &stop).unwrap_err();
    assert!(matches!(error, FixError::Stopped), "{error}");
    assert!(seen < 0.9, "it was over: {seen}");
    let error = fix(&input, &output, &shift(10), &mut |_| {}, &stop).unwrap_err();
    assert!(matches!(error, FixError::Stopped), "{error}");
    assert_eq!(fs::read(&output).unwrap(), b"of before");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 5, "something was left behind");
    assert_eq!(processes(&mine), 0, "a process was left behind");
}

#[test]
fn odd_names_are_names() {
    let dir = tempfile::tempdir().unwrap();
    let made = make(dir.path(), &MKV, "t", &click("t", 1500));
    for name in ["-i.mkv", "http:x.mkv", "a%03d b'\"\\.mkv", "pipe:1.mkv", "ä,:;[x].mkv"] {
        let (input, output) = (dir.path().join(name), dir.path().join(format!("{name}.out.mkv")));
        fs::copy(&made, &input).unwrap();
        fixed(&input, &output, &shift(-40)).unwrap();
        let moved = Stored::of(&output).packets[2][0].pts_s() - Stored::of(&made).packets[2][0].pts_s();
        assert!((moved - 0.04).abs() < 0.002, "{name}: {moved}");
    }
}
