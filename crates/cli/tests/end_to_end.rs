//! The main job on the demo clip, whose truth is known: who speaks when, in events and in the picture.

#![allow(
    clippy::unwrap_used,
    clippy::integer_division,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    clippy::float_cmp,
    reason = "a test"
)]

mod common;

use common::{demo, events, ffmpeg, program, seehear, truth};
use seehear::asd::Voice;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

fn raw(file: &Path, args: &str) -> Vec<u8> {
    let mut c = Command::new("ffmpeg");
    c.args(["-v", "error", "-nostdin", "-i"]).arg(file).args(args.split_whitespace()).arg("-");
    let out = c.output().unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    out.stdout
}

fn sound(file: &Path) -> Vec<f32> {
    let bytes = raw(file, "-map 0:a:0 -ac 1 -ar 48000 -f f32le");
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// By how many samples `b` is later than `a`, by cross-correlation over ±100 ms.
fn lag(a: &[f32], b: &[f32]) -> i64 {
    let score = |lag: i64| -> f64 {
        (48_000..48_000 * 8_i64).step_by(3).map(|i| f64::from(a[i as usize]) * f64::from(b[(i + lag) as usize])).sum()
    };
    (-4800..=4800).max_by(|&x, &y| score(x).total_cmp(&score(y))).unwrap()
}

#[test]
fn who_speaks_when_and_the_picture_shows_it() {
    let dir = tempfile::tempdir().unwrap();
    for container in ["mp4", "mkv"] {
        let (video, lines) = (dir.path().join(format!("out.{container}")), dir.path().join("e.jsonl"));
        let (code, stdout, stderr) = seehear(&[
            "run".as_ref(),
            demo().as_os_str(),
            "--output".as_ref(),
            video.as_os_str(),
            "--events".as_ref(),
            lines.as_os_str(),
            "--json".as_ref(),
        ]);
        assert_eq!(code, 0, "{stderr}");
        let summary: seehear::events::Summary = serde_json::from_str(&stdout).unwrap();
        let told = events(&lines);
        assert_eq!(summary, told.summary);
        assert_eq!((told.header.width, told.header.height, told.header.latency_ms), (1280, 720, 200.0));
        assert_eq!(told.frames.len(), 500);
        for (k, f) in told.frames.iter().enumerate() {
            assert_eq!(f.t_ms, k as f64 * 40.0);
            assert!(f.objects.iter().all(|o| (0.0..=1.0).contains(&o.score) && o.x > 0.0 && o.x < 1280.0));
        }
        assert_eq!(told.summary.drops, seehear::events::Drops::default());

        let truth = truth();
        let pointing = truth.pointing(&told.frames, 0.0);
        assert!(pointing > 0.85, "pointing {pointing}");
        // The one who speaks most in a cell is the same all the time.
        let mut ids: [BTreeMap<u32, usize>; 2] = Default::default();
        for f in &told.frames {
            if let Some(Some(who)) = truth.who(f.t_ms) {
                for o in f.objects.iter().filter(|o| o.speaking && truth.cell(o.x, o.y) == Some(who)) {
                    *ids[who].entry(o.id).or_default() += 1;
                }
            }
        }
        let main = ids.map(|m| {
            let all: usize = m.values().sum();
            let (id, n) = m.into_iter().max_by_key(|(_, n)| *n).unwrap();
            (id, n as f64 / all as f64)
        });
        assert!(main[0].0 != main[1].0 && main.iter().all(|m| m.1 > 0.6), "{main:?}");
        // In the pause nobody is heard.
        let pause = truth.turns.iter().find(|t| t.who.is_none() && t.end_ms - t.start_ms > 1_000.0).unwrap();
        let in_pause = told.frames.iter().filter(|f| f.t_ms > pause.start_ms + 500.0 && f.t_ms + 40.0 < pause.end_ms);
        assert!(in_pause.clone().count() > 10 && in_pause.clone().all(|f| f.voice == Voice::None));

        // The picture: every frame there, at its own time, the highlight drawn in the speaker's half.
        let shape = "-map 0:v:0 -vf scale=320:180 -f rawvideo -pix_fmt rgb24";
        let (before, after) = (raw(&demo(), shape), raw(&video, shape));
        assert_eq!(before.len(), 500 * 320 * 180 * 3);
        assert_eq!(after.len(), before.len(), "{container}");
        let mut drawn = (0, 0);
        for (k, (a, b)) in before.chunks(320 * 180 * 3).zip(after.chunks(320 * 180 * 3)).enumerate() {
            let mut changed = [0_usize; 2];
            for (i, (p, q)) in a.chunks(3).zip(b.chunks(3)).enumerate() {
                // The speaking green, where it was not before.
                let green = |c: &[u8]| c[1] > 140 && c[1] > c[0].saturating_add(60) && c[1] > c[2].saturating_add(40);
                if green(q) && !green(p) {
                    changed[usize::from(i % 320 >= 160)] += 1;
                }
            }
            if let Some(Some(who)) = truth.who(k as f64 * 40.0) {
                drawn.1 += 1;
                drawn.0 += usize::from(changed[who] > 60);
            }
        }
        assert!(drawn.0 * 100 > drawn.1 * 80, "the speaker is highlighted in {} of {} frames", drawn.0, drawn.1);
        // The original sound, in sync to a millisecond.
        let lag = lag(&sound(&demo()), &sound(&video));
        assert!(lag.abs() <= 48, "{container}: the sound is {lag} samples late");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3, "nothing but the outputs is left");
}

#[test]
fn any_frame_rate_codec_and_sound_format() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        ("a.mp4", "-r 24000/1001 -c:v libx264 -preset ultrafast -c:a aac", 0.0),
        ("b.mp4", "-r 30000/1001 -c:v libx264 -preset ultrafast -c:a aac -ar 44100 -ac 2", 0.0),
        ("c.mkv", "-r 60 -c:v mpeg4 -q:v 4 -c:a libopus -b:a 64k", 0.0),
        ("d.ts", "-r 50 -c:v mpeg2video -q:v 5 -c:a mp2 -ar 48000 -ac 2", 0.0),
        ("e.webm", "-r 24 -c:v libvpx -deadline realtime -cpu-used 8 -b:v 3M -c:a libvorbis", 0.0),
        // Variable frame rate: the odd frames of every second second are missing.
        (
            "f.mkv",
            "-vf select='not(mod(floor(t),2)*mod(n,2))' -fps_mode vfr -c:v libx264 -preset ultrafast -c:a flac",
            0.0,
        ),
        ("g.mov", "-c:v libx264 -preset ultrafast -c:a pcm_s16le -ac 6 -ar 48000", 0.0),
        // Both streams begin late, each by its own time.
        ("h.mkv", "-c:v libx264 -preset ultrafast -c:a aac -output_ts_offset 3", 3_000.0),
    ];
    for (name, how, shift_ms) in cases {
        let (file, lines) = (dir.path().join(name), dir.path().join("e.jsonl"));
        let args = if name.starts_with('g') { format!("{how} -t 12") } else { how.to_owned() };
        ffmpeg(&args, &[&demo()], &file);
        let (code, _, stderr) =
            seehear(&["run".as_ref(), file.as_os_str(), "--events".as_ref(), lines.as_os_str(), "-q".as_ref()]);
        assert_eq!(code, 0, "{name}: {stderr}");
        let told = events(&lines);
        let seconds = if name.starts_with('g') { 12 } else { 20 };
        let n = told.frames.len();
        assert!(n.abs_diff(seconds * 25) <= 3, "{name}: {n} slots");
        assert_eq!((told.summary.jumps, told.summary.drops.late_frames), (0, 0), "{name}");
        // GStreamer's running time begins with the earliest stream, wherever the container's own time begins.
        let shift = if told.frames[0].t_ms > 1_000.0 { shift_ms } else { 0.0 };
        let pointing = truth().pointing(&told.frames, shift);
        assert!(pointing > 0.75, "{name}: pointing {pointing}");
    }
}

/// Channels of the first sound track.
fn channels(file: &Path) -> String {
    let out = Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "a:0", "-show_entries", "stream=channels"])
        .args(["-of", "csv=p=0"])
        .arg(file)
        .output()
        .unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

#[test]
fn sound_of_any_channels_is_written() {
    let dir = tempfile::tempdir().unwrap();
    for (name, how, want, said) in [
        // qtdemux knows no positions of PCM.
        ("field.mov", "-c:a pcm_s16le -ac 4", "2", true),
        ("surround.mkv", "-c:a aac -ac 6", "6", false),
        // Its decoder asks for memory a second time, when sound is under way.
        ("flac.mkv", "-c:a flac", "1", false),
    ] {
        let file = dir.path().join(name);
        ffmpeg(&format!("-map 0:v:0 -map 0:a:0 -c:v copy -t 10 {how}"), &[&demo()], &file);
        for container in ["o.mp4", "o.mkv"] {
            let video = dir.path().join(container);
            let (code, _, stderr) =
                seehear(&["run".as_ref(), file.as_os_str(), "--output".as_ref(), video.as_os_str()]);
            assert_eq!(code, 0, "{name} to {container}: {stderr}");
            assert_eq!(stderr.contains("no positions"), said, "{stderr}");
            assert_eq!(channels(&video), want, "{name} to {container}");
            let lag = lag(&sound(&file), &sound(&video));
            assert!(lag.abs() <= 48, "{name} to {container}: the sound is {lag} samples late");
        }
    }
}

#[test]
fn events_on_standard_output_end_cleanly_with_their_reader() {
    let mut child = program()
        .args(["run".as_ref(), demo().as_os_str(), "--events".as_ref(), "-".as_ref(), "-q".as_ref()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();
    assert!(line.starts_with(r#"{"type":"header","schema":1,"#), "{line}");
    let out = child.wait_with_output().unwrap();
    assert_eq!(common::finished(&out).0, 0, "{}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn ctrl_c_leaves_whole_files() {
    let dir = tempfile::tempdir().unwrap();
    for (mode, name) in [("--realtime", "live.mp4"), ("-q", "file.mkv")] {
        let (video, lines) = (dir.path().join(name), dir.path().join("e.jsonl"));
        // Three minutes of it, so that a fast machine does not come to the end first.
        let long = dir.path().join("long.mkv");
        let list = dir.path().join("list");
        std::fs::write(&list, format!("file '{}'\n", demo().display()).repeat(9)).unwrap();
        let made = Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin", "-y", "-f", "concat", "-safe", "0", "-i"])
            .arg(&list)
            .args(["-c", "copy"])
            .arg(&long)
            .status();
        assert!(made.unwrap().success());
        let mut child = program()
            .args(["run".as_ref(), long.as_os_str(), mode.as_ref(), "--output".as_ref(), video.as_os_str()])
            .args(["--events".as_ref(), lines.as_os_str(), "--json".as_ref()])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_secs(5));
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        assert!(!video.exists(), "the output has its name before it is whole");
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let (code, stdout, stderr) = common::finished(&child.wait_with_output().unwrap());
        assert_eq!(code, 0, "{stderr}");
        let summary: seehear::events::Summary = serde_json::from_str(&stdout).unwrap();
        assert!(summary.interrupted);
        let told = events(&lines);
        assert!(told.frames.len() > 50, "{}", told.frames.len());
        // Playable to its end, and as long as what was told.
        let pictures = raw(&video, "-map 0:v:0 -vf scale=16:16 -f rawvideo -pix_fmt gray").len() / 256;
        assert!(pictures.abs_diff(told.frames.len()) < 60, "{pictures} pictures, {} slots", told.frames.len());
        assert!(sound(&video).len() > 48_000);
        if mode == "--realtime" {
            let l = told.summary.latency_ms;
            // Under whatever else this machine runs: bounded by the queues, not by luck.
            assert!(l.p50.unwrap() < 2_000.0 && l.algorithmic == 200.0, "{l:?}");
        }
    }
}

/// The crop follows who speaks, and is of the size that was asked for; every picture is there.
#[test]
fn who_speaks_is_framed() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("framed.mp4");
    let (code, _, said) =
        seehear(&["run", demo().to_str().unwrap(), "--frame-speaker=640x360", "-q", "-o", out.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    let picture = |file: &std::path::Path, at: &str| {
        let png = dir.path().join("at.gray");
        ffmpeg(&format!("-ss {at} -frames:v 1 -vf scale=64:36,format=gray -f rawvideo"), &[file], &png);
        std::fs::read(png).unwrap()
    };
    let difference = |a: &[u8], b: &[u8]| {
        a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>()
            / f64::from(u32::try_from(a.len()).unwrap())
    };
    // Before anybody has spoken for a second the whole picture is shown; then the first speaker, on the left.
    assert!(difference(&picture(&out, "0.2"), &picture(&demo(), "0.2")) < 3.0);
    assert!(difference(&picture(&out, "5"), &picture(&demo(), "5")) > 15.0);
    let probe = std::process::Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-select_streams", "v", "-of", "csv=p=0"])
        .args(["-show_entries", "stream=width,height,nb_read_frames"])
        .arg(&out)
        .output()
        .unwrap();
    let said = String::from_utf8(probe.stdout).unwrap();
    let n: Vec<u32> = said.trim().trim_end_matches(',').split(',').map(|n| n.parse().unwrap()).collect();
    assert_eq!(n[..2], [640, 360]);
    assert_eq!(n[2], 500, "{said}");
    let (code, _, said) =
        seehear(&["run", demo().to_str().unwrap(), "--frame-speaker=641x360", "-o", out.to_str().unwrap()]);
    assert!(code == 2 && said.contains("641x360") && said.contains("1280x720"), "{said}");
}

/// The pipelines for NVIDIA's hardware, with software in its place; and without it, an error that says what is missing.
#[test]
fn pipelines_for_other_hardware_have_the_right_shape() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out.mkv");
    for name in ["jetson-file", "nvdec-file"] {
        let text = std::fs::read_to_string(format!("../../pipelines/{name}.toml")).unwrap();
        let text = text
            .replace("nvvidconv ! video/x-raw(memory:NVMM),format=NV12 ! nvv4l2h264enc bitrate=8000000 iframeinterval=50 idrinterval=50 insert-sps-pps=true", "x264enc speed-preset=ultrafast")
            .replace("nvh264enc bitrate=8000 gop-size=50", "x264enc speed-preset=ultrafast")
            .replace("nvvidconv", "videoconvert")
            .replace("cudadownload", "videoconvert");
        assert!(!text.lines().any(|l| !l.starts_with('#') && (l.contains(" nvv") || l.contains("nvh"))), "{text}");
        let file = dir.path().join("p.toml");
        std::fs::write(&file, text).unwrap();
        let told = dir.path().join("e.jsonl");
        let (code, _, said) = seehear(&[
            "run",
            demo().to_str().unwrap(),
            "--duration",
            "3",
            "-p",
            file.to_str().unwrap(),
            "-o",
            out.to_str().unwrap(),
            "-e",
            told.to_str().unwrap(),
        ]);
        assert_eq!(code, 0, "{name}: {said}");
        assert!((74..=76).contains(&events(&told).frames.len()), "{name}");
    }
    let (code, _, said) = seehear(&["run", "csi", "-p", "jetson-csi", "-o", out.to_str().unwrap()]);
    if !said.contains("nvarguscamerasrc") {
        return;
    }
    assert!(code == 1 && said.lines().count() == 1 && said.contains("an NVIDIA Jetson with JetPack 5 or 6"), "{said}");
}
