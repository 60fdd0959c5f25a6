//! The ends of a live run: a source that is lost again and again, streams to others, a program that is killed.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use common::{demo, events, finished, program};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The built-in test source, but of `seconds`, then its end.
fn plan(seconds: u32, reconnect: &str) -> String {
    let text = include_str!("../../../pipelines/test.toml");
    let (source, rest) = text.split_once("[queues.video]").unwrap();
    let head = source.split_once("[source]").unwrap().0;
    format!(
        "{head}[source]\n\
         video = 'videotestsrc is-live=true do-timestamp=true pattern=ball num-buffers={} ! video/x-raw,width=320,height=240,framerate=25/1 ! identity'\n\
         audio = 'audiotestsrc is-live=true do-timestamp=true samplesperbuffer=320 num-buffers={} ! audio/x-raw,rate=16000,channels=1 ! identity'\n\
         {reconnect}\n[queues.video]{rest}",
        seconds * 25,
        seconds * 50,
    )
}

/// Decodes all of it, without an error; how many pictures there are.
fn pictures(file: &Path) -> u32 {
    let probe = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-select_streams", "v", "-show_entries", "stream=nb_read_frames"])
        .args(["-of", "default=nokey=1:noprint_wrappers=1"])
        .arg(file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&probe.stderr).into_owned();
    assert!(probe.status.success() && said.is_empty(), "{said}");
    String::from_utf8(probe.stdout).unwrap().lines().next().unwrap().parse().unwrap()
}

#[test]
fn a_source_that_ends_is_built_again() {
    let dir = tempfile::tempdir().unwrap();
    let (file, out, told) = (dir.path().join("p.toml"), dir.path().join("out.mkv"), dir.path().join("e.jsonl"));
    let reconnect = "[source.reconnect]\nfirst_wait_ms = 300\nlongest_wait_ms = 300\nsilent_after_ms = 3000";
    std::fs::write(&file, plan(2, reconnect)).unwrap();
    let mut c = program();
    c.args(["run", "test", "--duration", "7", "--pipeline"]).arg(&file);
    let (code, _, said) = finished(&c.arg("-o").arg(&out).arg("-e").arg(&told).output().unwrap());
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("the source is lost (the stream has ended); another try in 0."), "{said}");
    assert!(said.contains("the source is back after"), "{said}");
    let told = events(&told);
    let losses = told.summary.reconnects;
    assert!((2..=4).contains(&losses), "{losses}: {said}");
    // One time line: a slot every 40 ms, over the losses too.
    assert!(told.frames.windows(2).all(|w| (w[1].t_ms - w[0].t_ms - 40.0).abs() < 0.01));
    assert!((170..=180).contains(&told.frames.len()), "{}", told.frames.len());
    assert!((150..=200).contains(&pictures(&out)));
}

#[test]
fn without_it_the_end_of_a_source_is_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.toml");
    std::fs::write(&file, plan(1, "")).unwrap();
    let (code, _, said) = finished(&program().args(["run", "test", "-p"]).arg(&file).output().unwrap());
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("lost ("), "{said}");
}

#[test]
fn a_playlist_is_written_and_a_stream_that_fails_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let (out, list) = (dir.path().join("out.mkv"), dir.path().join("live.m3u8"));
    let file = dir.path().join("p.toml");
    std::fs::write(&file, plan(100, "")).unwrap();
    let mut c = program();
    c.args(["run", "test", "--duration", "6", "--pipeline"]).arg(&file).arg("--stream").arg(&list);
    // Nobody listens there.
    c.args(["--stream", "rtmp://127.0.0.1:9/live/a"]).arg("-o").arg(&out);
    let (code, _, said) = finished(&c.output().unwrap());
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("rtmp://127.0.0.1:9/live/a: ") && said.contains("another try in"), "{said}");
    assert!(pictures(&out) >= 120);
    let text = std::fs::read_to_string(&list).unwrap();
    let parts: Vec<&str> = text.lines().filter(|l| l.ends_with(".ts")).collect();
    assert!(parts.len() >= 3 && text.contains("#EXT-X-ENDLIST"), "{text}");
    let first = dir.path().join(parts[0]);
    assert!((49..=51).contains(&pictures(&first)), "{text}");
}

#[test]
fn a_target_of_no_kind_is_refused() {
    let (code, _, said) = finished(&program().args(["run", "test", "--stream", "gopher://a"]).output().unwrap());
    assert_eq!((code, said.lines().count()), (1, 1), "{said}");
    assert!(said.contains("gopher://a") && said.contains("rtmp://"), "{said}");
}

#[test]
fn a_live_recording_can_be_played_after_a_kill() {
    for extension in ["mp4", "mkv"] {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join(format!("out.{extension}"));
        let mut c = program();
        c.arg("run").arg(demo()).args(["--realtime", "-q", "-o"]).arg(&out).stderr(Stdio::null());
        let mut child = c.spawn().unwrap();
        // Started when there is a file; then so long.
        let part = loop {
            let found = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).next();
            match found {
                Some(part) if std::fs::metadata(&part).unwrap().len() > 100_000 => break part,
                _ => std::thread::sleep(Duration::from_millis(20)),
            }
        };
        std::thread::sleep(Duration::from_secs(5));
        child.kill().unwrap();
        child.wait().unwrap();
        let seen = pictures(&part);
        assert!(seen >= 100, "{extension}: {seen} of 125 and more");
    }
}

#[test]
fn viewers_of_the_rtsp_server_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("p.toml");
    std::fs::write(&file, plan(100, "")).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut c = program();
    c.args(["run", "test", "--duration", "14", "-p"]).arg(&file);
    c.args(["--stream", &format!("rtsp://ann:s3%40@127.0.0.1:{port}/room")]).stderr(Stdio::piped());
    let run = c.spawn().unwrap();
    let view = |login: &str, transport: &str| {
        let out = dir.path().join(format!("{transport}.mkv"));
        let mut c = Command::new("ffmpeg");
        c.args([
            "-v",
            "error",
            "-y",
            "-rtsp_transport",
            transport,
            "-i",
            &format!("rtsp://{login}127.0.0.1:{port}/room"),
        ]);
        let done = c.args(["-t", "2", "-c", "copy"]).arg(&out).stdin(Stdio::null()).output().unwrap();
        (out, String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let begun = std::time::Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "nobody listens");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (_, said) = view("", "tcp");
    assert!(said.contains("401"), "{said}");
    for transport in ["tcp", "udp"] {
        // It begins with a key picture, or the first ones could not be decoded.
        let (out, said) = view("ann:s3%40@", transport);
        let seen = pictures(&out);
        assert!((45..=55).contains(&seen), "{transport}: {seen}: {said}");
        let sound = Command::new("ffprobe")
            .args(["-v", "error", "-select_streams", "a", "-show_entries", "stream=codec_name"])
            .arg(&out)
            .output()
            .unwrap();
        assert!(String::from_utf8_lossy(&sound.stdout).contains("aac"), "{transport}");
    }
    let (code, _, said) = finished(&run.wait_with_output().unwrap());
    assert_eq!(code, 0, "{said}");
}
