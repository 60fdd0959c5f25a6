//! `seehear separate` on the demo clip, with a separator that gives everybody the whole mixture: whatever is not the mixture, at its
//! own sample, is a fault of ours.

#![allow(
    clippy::unwrap_used,
    clippy::integer_division,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a test"
)]

mod common;

use common::{demo, ffmpeg, program, seehear};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn separator() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/separator/everything.toml")
}

fn separate(input: &Path, folder: &Path, more: &[&str]) -> (i32, String, String) {
    let separator = separator();
    let mut args: Vec<&std::ffi::OsStr> =
        vec!["separate".as_ref(), input.as_os_str(), "-o".as_ref(), folder.as_os_str()];
    args.extend(["--separator".as_ref(), separator.as_os_str()]);
    args.extend(more.iter().map(AsRef::<std::ffi::OsStr>::as_ref));
    seehear(&args)
}

/// The sound of a file, of its track `n`.
fn sound(file: &Path, n: usize, rate: u32, channels: usize) -> Vec<f32> {
    let mut c = Command::new("ffmpeg");
    c.args(["-v", "error", "-nostdin", "-i"]).arg(file).args(["-map", &format!("0:a:{n}"), "-f", "f32le"]);
    let out = c.args(["-ar", &rate.to_string(), "-ac", &channels.to_string(), "-"]).output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn listing(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("objects.json")).unwrap()).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut all: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    all.sort();
    all
}

/// Largest difference over the stretches in which an object was visible, but for half a second at their ends.
fn off(track: &[f32], mixture: &[f32], object: &Value, rate: usize, channels: usize) -> (f32, usize) {
    let (mut worst, mut judged) = (0.0_f32, 0);
    for v in object["visible"].as_array().unwrap() {
        let at =
            |i: usize, more: f64| ((v[i].as_f64().unwrap() / 1e3 + more).max(0.0) * rate as f64) as usize * channels;
        let (from, to) = (at(0, 0.5), at(1, -0.5).min(track.len()).min(mixture.len()));
        for i in from..to.max(from) {
            worst = worst.max((track[i] - mixture[i]).abs());
            judged += 1;
        }
    }
    (worst, judged / channels)
}

#[test]
fn everybody_who_speaks_has_a_track_at_the_time_and_rate_of_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let mixture = sound(&demo(), 0, 16_000, 1);
    let folder = dir.path().join("16");
    let (code, stdout, stderr) = separate(&demo(), &folder, &["--json", "--solo"]);
    assert_eq!(code, 0, "{stderr}");
    let told = listing(&folder);
    assert_eq!(serde_json::from_str::<Value>(&stdout).unwrap(), told);
    let objects = told["objects"].as_array().unwrap();
    // Two people, in the left and in the right half, first.
    assert!(objects.len() >= 2, "{told}");
    let half = |o: &Value| o["x"].as_f64().unwrap() > 640.0;
    assert!(half(&objects[0]) != half(&objects[1]), "{told}");
    let mut files: Vec<String> = objects.iter().map(|o| o["file"].as_str().unwrap().to_owned()).collect();
    files.extend(["objects.json".to_owned(), "solo.wav".to_owned()]);
    files.sort();
    assert_eq!(names(&folder), files);
    for o in &objects[..2] {
        let track = sound(&folder.join(o["file"].as_str().unwrap()), 0, 16_000, 1);
        assert_eq!(track.len(), mixture.len());
        let (worst, judged) = off(&track, &mixture, o, 16_000, 1);
        // Half a step of 16 bits, and the decoder's rounding.
        assert!(worst < 1e-4 && judged > 3 * 16_000, "{worst} in {judged} samples of {o}");
        assert!(o["speaking_s"].as_f64().unwrap() > 1.0 && !o["trajectory"].as_array().unwrap().is_empty());
    }
    // The solo is whoever is highlighted: with one of them there the mixture, with nobody silence.
    let solo = sound(&folder.join("solo.wav"), 0, 16_000, 1);
    let speaks = |o: &Value, ms: f64, margin: f64| {
        let within = |s: &Value| ms > s[0].as_f64().unwrap() - margin && ms < s[1].as_f64().unwrap() + margin;
        o["speaking"].as_array().unwrap().iter().any(within)
    };
    let mut seen = [0, 0];
    for k in 4..solo.len() / 1_600 - 4 {
        let ms = 100.0 * k as f64;
        let around = |margin: f64| objects.iter().filter(|o| speaks(o, ms, margin)).count();
        let here = |x: &[f32]| x[k * 1_600..][..160].to_vec();
        if (around(-100.0), around(600.0)) == (1, 1) {
            seen[0] += 1;
            assert!(here(&solo).iter().zip(here(&mixture)).all(|(a, b)| (a - b).abs() < 1e-4), "{ms} ms");
        } else if around(600.0) == 0 {
            seen[1] += 1;
            assert!(here(&solo).iter().all(|s| *s == 0.0), "{ms} ms");
        }
    }
    assert!(seen[0] > 30, "{seen:?}");
}

#[test]
fn the_source_keeps_its_rate_and_channels_and_the_tracks_go_beside_the_picture() {
    let dir = tempfile::tempdir().unwrap();
    let stereo = dir.path().join("stereo.mkv");
    ffmpeg("-t 8 -c:v copy -ac 2 -ar 48000 -c:a flac", &[&demo()], &stereo);
    let (folder, video) = (dir.path().join("v"), dir.path().join("out.mkv"));
    let to = video.to_str().unwrap();
    let (code, _, stderr) =
        separate(&stereo, &folder, &["--rate", "source", "--format", "flac", "--replace", to, "-q"]);
    assert_eq!(code, 0, "{stderr}");
    let told = listing(&folder);
    assert_eq!((told["sample_rate"].as_u64(), told["channels"].as_u64()), (Some(48_000), Some(2)));
    let mixture = sound(&stereo, 0, 48_000, 2);
    let object = &told["objects"][0];
    let track = sound(&folder.join(object["file"].as_str().unwrap()), 0, 48_000, 2);
    let (worst, judged) = off(&track, &mixture, object, 48_000, 2);
    assert!(worst < 1e-4 && judged > 48_000, "{worst} in {judged}");
    // The picture is the same, its own sound comes first, and every speaker is there by name.
    let copy = |file: &Path, what: &str| {
        let mut c = Command::new("ffmpeg");
        c.args(["-v", "error", "-nostdin", "-i"]).arg(file).args(["-map", what, "-c", "copy", "-f", "md5", "-"]);
        String::from_utf8(c.output().unwrap().stdout).unwrap()
    };
    assert_eq!(copy(&video, "0:v"), copy(&stereo, "0:v"));
    assert_eq!(copy(&video, "0:a:0"), copy(&stereo, "0:a:0"));
    let beside = sound(&video, 1, 48_000, 2);
    let first = told["objects"].as_array().unwrap().iter().min_by_key(|o| o["id"].as_u64()).unwrap();
    let alone = sound(&folder.join(first["file"].as_str().unwrap()), 0, 48_000, 2);
    let n = beside.len().min(alone.len());
    assert!(n > 7 * 96_000 && beside[..n].iter().zip(&alone).all(|(a, b)| (a - b).abs() < 1e-4));
    // At 44.1 kHz a hop is no whole number of samples: it goes by way of 48 kHz.
    let cd = dir.path().join("cd.mkv");
    ffmpeg("-t 6 -c:v copy -ac 1 -ar 44100 -c:a flac", &[&demo()], &cd);
    let (code, _, stderr) = separate(&cd, &folder, &["--rate", "source", "-q"]);
    assert_eq!(code, 0, "{stderr}");
    let told = listing(&folder);
    assert_eq!(told["sample_rate"].as_u64(), Some(44_100));
    let object = &told["objects"][0];
    let (track, mixture) =
        (sound(&folder.join(object["file"].as_str().unwrap()), 0, 44_100, 1), sound(&cd, 0, 44_100, 1));
    let (worst, _) = off(&track, &mixture, object, 44_100, 1);
    // Two resamplings: what lies near half the rate is not quite the same.
    assert!(worst < 0.01, "{worst}");
}

#[test]
fn what_is_wrong_is_said_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("v");
    for (more, why) in [
        (&["--solo", "99"][..], "--solo 99"),
        (&["--audio-track", "3"][..], "1 sound track(s), number 3"),
        (&["--engine", common::engine("av-small-int8").to_str().unwrap()][..], "takes the embeddings of av-small"),
    ] {
        let mut c = if more[0] == "--engine" { Command::new(env!("CARGO_BIN_EXE_seehear")) } else { program() };
        if more[0] == "--engine" {
            let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.deps/onnxruntime/libonnxruntime.so");
            c.arg("--onnxruntime").arg(library);
        }
        c.arg("separate").arg(demo()).arg("-o").arg(&folder).arg("--separator").arg(separator()).args(more);
        let (code, _, stderr) = common::finished(&c.args(["--duration", "3"]).output().unwrap());
        assert!(code == 1 && stderr.contains(why), "{stderr}");
        assert!(!folder.exists() || names(&folder).is_empty(), "{:?}", names(&folder));
    }
    let (code, _, stderr) = separate(&demo(), &folder, &["--separator", common::engine("av-small").to_str().unwrap()]);
    assert!(code == 2 || stderr.contains("not of a separator"), "{stderr}");
}

#[test]
fn ctrl_c_leaves_nothing_or_whole_files() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("long.mkv");
    let mut c = Command::new("ffmpeg");
    c.args(["-v", "error", "-nostdin", "-stream_loop", "5", "-i"]).arg(demo()).args(["-c", "copy"]).arg(&long);
    assert!(c.status().unwrap().success());
    // As soon as there is a track: in the second pass. Before: in the first.
    for second in [false, true] {
        let folder = dir.path().join(if second { "2" } else { "1" });
        let mut c = program();
        c.arg("separate").arg(&long).arg("-o").arg(&folder).arg("--separator").arg(separator());
        let child = c.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let began = Instant::now();
        let sign = if second { ".speaker-" } else { ".objects.slots" };
        while !(folder.exists() && names(&folder).iter().any(|n| n.starts_with(sign))) {
            assert!(began.elapsed() < Duration::from_secs(300), "it never began");
            std::thread::sleep(Duration::from_millis(5));
        }
        let kill = Command::new("kill").arg("-INT").arg(child.id().to_string()).status().unwrap();
        assert!(kill.success());
        let (code, _, stderr) = common::finished(&child.wait_with_output().unwrap());
        if second {
            assert_eq!(code, 0, "{stderr}");
            let told = listing(&folder);
            // A fast machine may have been done.
            let length = told["duration_ms"].as_f64().unwrap() / 1e3;
            assert!(told["interrupted"] == true || length > 100.0, "{told}");
            assert!(names(&folder).iter().all(|n| !n.starts_with('.')), "{:?}", names(&folder));
            for o in told["objects"].as_array().unwrap() {
                let track = sound(&folder.join(o["file"].as_str().unwrap()), 0, 16_000, 1);
                assert!((track.len() as f64 / 16_000.0 - length).abs() < 1e-3, "{} of {length}", track.len());
            }
        } else {
            assert!(code == 1 && stderr.contains("nothing was written"), "{stderr}");
            assert!(names(&folder).is_empty(), "{:?}", names(&folder));
        }
    }
}
