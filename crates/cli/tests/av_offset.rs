//! `seehear calibrate av-offset`: the pattern that the program writes, moved by a known time, filmed, spoilt.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{demo, ffmpeg, seehear};
use serde_json::Value;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The pattern, written once.
fn pattern() -> &'static Path {
    static WRITTEN: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = WRITTEN.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pattern.mp4");
        let (code, _, stderr) =
            seehear(&["calibrate".as_ref(), "av-offset".as_ref(), "--pattern".as_ref(), path.as_os_str()]);
        assert!(code == 0 && stderr.contains("60 s, 54 flashes with beeps"), "{stderr}");
        (dir, path)
    });
    path
}

fn measure(args: &[&OsStr]) -> (i32, Value, String) {
    let mut all: Vec<&OsStr> = vec!["calibrate".as_ref(), "av-offset".as_ref(), "--json".as_ref()];
    all.extend(args);
    let (code, stdout, stderr) = seehear(&all);
    (code, serde_json::from_str(&stdout).unwrap_or(Value::Null), stderr)
}

fn offset(args: &[&OsStr]) -> f64 {
    let (code, told, stderr) = measure(args);
    assert_eq!(code, 0, "{stderr}");
    told["offset_ms"].as_f64().unwrap_or_else(|| panic!("{told}"))
}

/// The pattern with its sound late by so much, as it came or encoded again.
fn late(seconds: &str, more: &str, output: &Path) {
    let p = pattern().display().to_string();
    ffmpeg(&format!("-itsoffset {seconds} -i {p} -map 0:v -map 1:a {more}"), &[pattern()], output);
}

#[test]
fn a_known_offset_is_measured_to_three_milliseconds() {
    let dir = tempfile::tempdir().unwrap();
    let zero = offset(&[pattern().as_os_str()]);
    assert!(zero.abs() <= 1.0, "the pattern is in sync: {zero} ms");
    for (name, seconds, more, want) in [
        ("late.mp4", "0.085", "-c copy", 85.0),
        ("early.mp4", "-0.040", "-c copy", -40.0),
        ("late.mkv", "1.9", "-c:v copy -c:a flac", 1_900.0),
        // What a camera's rate and a smaller picture leave of it.
        ("25.mp4", "0.085", "-vf fps=25:round=up,scale=320:180 -preset veryfast -c:a copy", 85.0),
    ] {
        let file = dir.path().join(name);
        late(seconds, more, &file);
        let got = offset(&[file.as_os_str()]);
        assert!((got - want).abs() <= 3.0, "{name}: {got} ms");
    }
    let far: &[&OsStr] = &[pattern().as_os_str(), "--distance-m".as_ref(), "10".as_ref()];
    assert!((offset(far) - zero + 29.1).abs() < 0.2, "ten metres of air");
}

#[test]
fn a_small_screen_in_a_noisy_room_is_measured_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("filmed.mp4");
    // The screen lies in a corner of the demo clip, whose talkers go on talking, 10 dB below the beeps.
    let filter = "-filter_complex [1:v]fps=30000/1001:round=up,scale=200:112,format=yuv420p[s];\
        [0:v]scale=640:360,fps=30000/1001[b];[b][s]overlay=400:20:shortest=1,noise=alls=12:allf=t[v];\
        [1:a]adelay=60:all=1,volume=0.5[p];[0:a]volume=0.5[t];[p][t]amix=inputs=2:duration=first:normalize=0[a]";
    let p = pattern().display().to_string();
    let d = demo().display().to_string();
    ffmpeg(
        &format!("-stream_loop 3 -i {d} -i {p} {filter} -map [v] -map [a] -preset veryfast -c:a aac -t 60"),
        &[],
        &file,
    );
    let (code, told, stderr) = measure(&[file.as_os_str()]);
    assert_eq!(code, 0, "{stderr}");
    let got = told["offset_ms"].as_f64().unwrap();
    assert!((got - 60.0).abs() <= 3.0, "{told}");
    assert!(told["events"].as_u64().unwrap() >= 45 && told["undecided_ms"].as_f64().unwrap() <= 3.0, "{told}");
}

#[test]
fn a_calibrated_device_is_in_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (device, file, out) = (dir.path().join("device.mp4"), dir.path().join("d.toml"), dir.path().join("out.mkv"));
    late("0.120", "-c copy", &device);
    let speaking = "[speaking]\nengine = \"av-small\"\nslope = 1.1\nbias = 0.2\n";
    std::fs::write(&file, format!("by = \"x\"\nat = \"2026-11-23T11:20:00Z\"\n{speaking}")).unwrap();
    let got = offset(&[device.as_os_str(), "-o".as_ref(), file.as_os_str()]);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(speaking) && text.contains(&format!("ms = {got:.1}\n")), "{text}");
    assert!(text.contains("calibrate av-offset") && text.contains("events = 5"), "{text}");
    // What the run writes of the device is in sync.
    let args: &[&OsStr] = &[
        "run".as_ref(),
        device.as_os_str(),
        "--calibration".as_ref(),
        file.as_os_str(),
        "-o".as_ref(),
        out.as_os_str(),
        "--duration".as_ref(),
        "40".as_ref(),
    ];
    let (code, _, stderr) = seehear(args);
    assert!(code == 0 && stderr.contains("its sound is 120 ms late"), "{stderr}");
    let left = offset(&[out.as_os_str()]);
    assert!(left.abs() <= 3.0, "{left} ms");
}

#[test]
fn a_live_source_is_recorded_by_the_clock() {
    let dir = tempfile::tempdir().unwrap();
    let (picture, sound, plan) = (dir.path().join("v.mkv"), dir.path().join("a.mkv"), dir.path().join("camera.toml"));
    // A camera and a microphone of their own, as in the camera pipeline; what is behind decodebin is linked late.
    ffmpeg("-map 0:v -c copy", &[pattern()], &picture);
    ffmpeg("-map 0:a -af adelay=85:all=1 -c:a flac", &[pattern()], &sound);
    let source =
        |path: &Path, end: &str| format!("filesrc location={} ! decodebin ! {end} ! clocksync", path.display());
    let text: Vec<String> = include_str!("../../../pipelines/camera.toml")
        .lines()
        .map(|line| match line.split_once(" = ").map(|(key, _)| key) {
            Some("video") => format!("video = \"{}\"", source(&picture, "videoconvert")),
            Some("audio") => format!("audio = \"{}\"", source(&sound, "audioconvert")),
            _ => line.to_owned(),
        })
        .collect();
    std::fs::write(&plan, text.join("\n")).unwrap();
    let (code, told, stderr) =
        measure(&["test".as_ref(), "-p".as_ref(), plan.as_os_str(), "--duration".as_ref(), "20".as_ref()]);
    assert_eq!(code, 0, "{stderr}");
    let got = told["offset_ms"].as_f64().unwrap();
    assert!((got - 85.0).abs() <= 3.0 && told["events"].as_u64().is_some_and(|n| (12..20).contains(&n)), "{told}");
}

#[test]
fn speech_will_do_where_there_is_no_pattern() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("talk.mp4");
    let d = demo().display().to_string();
    ffmpeg(&format!("-itsoffset 0.12 -i {d} -map 0:v -map 1:a -c copy"), &[&demo()], &file);
    let (code, told, stderr) = measure(&[file.as_os_str(), "--speech".as_ref()]);
    assert_eq!(code, 0, "{stderr}");
    let got = told["offset_ms"].as_f64().unwrap();
    assert!((got - 120.0).abs() < 25.0 && told["method"] == "speech", "{told}");
    let silent = dir.path().join("silent.mp4");
    ffmpeg("-c:v copy -af volume=0 -c:a aac", &[&demo()], &silent);
    let (code, _, stderr) = measure(&[silent.as_os_str(), "--speech".as_ref()]);
    assert!(code == 1 && stderr.contains("can't be told from speech"), "{stderr}");
}

#[test]
fn what_can_t_be_measured_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    ffmpeg("-c:v copy -af volume=0 -c:a aac", &[pattern()], &file("silent.mp4"));
    ffmpeg("-t 6 -c copy", &[pattern()], &file("short.mp4"));
    late("3.0", "-c copy", &file("far.mp4"));
    std::fs::write(file("no.toml"), "x = 1\n").unwrap();
    for (args, want) in [
        (&[demo().as_os_str()][..], "no flashes of the pattern were seen"),
        (&[file("silent.mp4").as_os_str()], "no beeps of the pattern were heard (54 flashes were seen)"),
        (&[file("short.mp4").as_os_str()], "no flashes of the pattern were seen"),
        (&[file("far.mp4").as_os_str()], "beyond ±2 s: about 3.0 s"),
        (&["/nowhere.mp4".as_ref()], "no such file"),
        (&["/dev/video63".as_ref()], "no such camera"),
        (&[pattern().as_os_str(), "-o".as_ref(), file("no.toml").as_os_str()], "no.toml"),
        (&[pattern().as_os_str(), "-o".as_ref(), file("no/where.toml").as_os_str()], "can't be written"),
        (&["--pattern".as_ref(), file("p.avi").as_os_str()], "it writes .mkv, .mp4"),
    ] {
        let (code, _, stderr) = measure(args);
        assert!(code == 1 && stderr.contains(want), "{args:?}: {stderr}");
        assert!(stderr.starts_with("seehear: ") && !stderr[1..].contains("seehear: "), "{stderr}");
    }
    assert_eq!(std::fs::read_to_string(file("no.toml")).unwrap(), "x = 1\n");
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(left.len(), 4, "nothing is left behind: {left:?}");
    for args in [&[][..], &["--pattern".as_ref(), "a.mp4".as_ref(), "b.mp4".as_ref()]] {
        assert_eq!(measure(args).0, 2, "{args:?}");
    }
}
