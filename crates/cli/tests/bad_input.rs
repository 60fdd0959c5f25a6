//! Bad input: a clear error that names the file, the time where there is one, and the remedy; exit code 1; nothing
//! left behind; no panic.

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

use common::{demo, engine, events, ffmpeg, finished, program, seehear};
use seehear::asd::Voice;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs with all outputs; the error must hold every one of `words`, and nothing may have been written.
fn refused(input: &Path, words: &[&str]) {
    let out = tempfile::tempdir().unwrap();
    let (code, _, stderr) = seehear(&[
        "run".as_ref(),
        input.as_os_str(),
        "--output".as_ref(),
        out.path().join("o.mp4").as_os_str(),
        "--events".as_ref(),
        out.path().join("e.jsonl").as_os_str(),
    ]);
    assert_eq!(code, 1, "{}: {stderr}", input.display());
    let error = stderr.lines().last().unwrap_or_default();
    assert!(error.starts_with("seehear: "), "{stderr}");
    for word in words.iter().chain(&[input.file_name().unwrap().to_str().unwrap()]) {
        assert!(error.contains(word), "{}: \"{word}\" is not in: {error}", input.display());
    }
    assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0, "{}: something was left behind", input.display());
}

struct Media {
    dir: tempfile::TempDir,
}

impl Media {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn make(&self, name: &str, args: &str) -> PathBuf {
        let file = self.dir.path().join(name);
        ffmpeg(args, &[&demo()], &file);
        file
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let file = self.dir.path().join(name);
        fs::write(&file, bytes).unwrap();
        file
    }

    /// A copy of `of` with a third of its bytes, from the middle on, made noise.
    fn corrupt(&self, name: &str, of: &Path) -> PathBuf {
        let mut bytes = fs::read(of).unwrap();
        let (n, mut x) = (bytes.len(), 12_345_u32);
        for b in &mut bytes[n / 2 - n / 12..n / 2 + n / 12] {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *b = x.to_be_bytes()[0];
        }
        self.write(name, &bytes)
    }
}

#[test]
fn what_is_not_there() {
    refused(Path::new("/nowhere/at/all.mp4"), &["no such file"]);
    refused(Path::new("/dev/video63"), &["no such camera"]);
    let dir = tempfile::tempdir().unwrap();
    refused(dir.path(), &["is a folder"]);
}

#[test]
fn streams_that_are_missing() {
    let m = Media::new();
    refused(&m.make("silent.mp4", "-c copy -an"), &["no audio track"]);
    refused(&m.make("dark.mp4", "-c copy -vn"), &["no video track"]);
    refused(&m.make("dark.wav", "-vn"), &["no video track"]);
}

#[test]
fn files_that_are_no_media() {
    let m = Media::new();
    refused(&m.write("empty.mp4", b""), &["0 bytes"]);
    refused(&m.write("text.mp4", b"hello, this is a letter to my aunt\n"), &["player"]);
    // Found by its type, decoded by nobody.
    let codec = m.make("codec.mkv", "-c:v libx264 -preset ultrafast -c:a copy -t 1");
    let mut bytes = fs::read(&codec).unwrap();
    let at = bytes.windows(15).position(|w| w == b"V_MPEG4/ISO/AVC").unwrap();
    bytes[at..at + 15].copy_from_slice(b"V_MPEG9/ISO/XVC");
    refused(&m.write("unknown.mkv", &bytes), &["video"]);
}

#[test]
fn damaged_files() {
    let m = Media::new();
    let mkv = m.make("whole.mkv", "-c copy");
    let whole = fs::read(demo()).unwrap();
    // No index at its end, so nothing at all can be read.
    let headless = m.make("headless.mp4", "-c copy -movflags -faststart");
    let bytes = fs::read(&headless).unwrap();
    refused(&m.write("cut.mp4", &bytes[..bytes.len() / 2]), &["truncated"]);
    let bytes = fs::read(&mkv).unwrap();
    refused(&m.write("cut.mkv", &bytes[..bytes.len() / 2]), &["at 0:00:", "truncated", "--salvage"]);
    refused(&m.corrupt("corrupt.mkv", &mkv), &["at 0:00:", "corrupt"]);
    refused(&m.corrupt("corrupt.mp4", &demo()), &["at 0:00:", "corrupt", "--salvage"]);
    assert!(whole.len() > 100_000);

    // What can be read is to be had.
    let lines = m.dir.path().join("e.jsonl");
    let cut = m.dir.path().join("cut.mkv");
    let (code, _, stderr) = seehear(&[
        "run".as_ref(),
        cut.as_os_str(),
        "--salvage".as_ref(),
        "--events".as_ref(),
        lines.as_os_str(),
        "-q".as_ref(),
    ]);
    assert_eq!(code, 0, "{stderr}");
    assert!(events(&lines).frames.len() > 150);
}

#[test]
fn nothing_to_tell_is_none() {
    let m = Media::new();
    let lines = m.dir.path().join("e.jsonl");
    let still =
        m.make("still.mp4", "-vf select=eq(n\\,30),loop=-1:1:0 -r 25 -t 8 -c:v libx264 -preset ultrafast -c:a aac");
    let quiet = m.make("quiet.mp4", "-af volume=0 -t 8 -c:v copy -c:a aac");
    for file in [still, quiet] {
        let (code, _, stderr) =
            seehear(&["run".as_ref(), file.as_os_str(), "--events".as_ref(), lines.as_os_str(), "-q".as_ref()]);
        assert_eq!(code, 0, "{stderr}");
        let told = events(&lines);
        assert!(told.frames.len() >= 195, "{}", told.frames.len());
        // A still is known as one after a second.
        for f in told.frames.iter().filter(|f| f.t_ms > 1_200.0) {
            assert_eq!(f.voice, Voice::None, "{} at {} ms", file.display(), f.t_ms);
        }
        assert!(told.frames.iter().all(|f| f.objects.iter().all(|o| !o.speaking)));
    }
}

#[test]
fn outputs_that_cannot_be_written() {
    let run = |output: &str| {
        let (code, _, stderr) = seehear(&["run".as_ref(), demo().as_os_str(), "--output".as_ref(), output.as_ref()]);
        assert_eq!(code, 1, "{stderr}");
        assert!(stderr.contains(output), "{stderr}");
        stderr
    };
    assert!(run("/nowhere/o.mp4").contains("can't be written"));
    assert!(run("/tmp/o.gif").contains("it writes .mkv, .mp4"));
    assert!(run(demo().to_str().unwrap()).contains("is the input itself"));
}

#[test]
fn a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    // A file system of its own, of half a megabyte, in a namespace of its own.
    let script = "mount -t tmpfs -o size=500k tmpfs \"$1\" && shift && \"$@\"; code=$?; ls -A \"$0\" >&2; exit $code";
    let run = |args: &[&std::ffi::OsStr]| {
        let p = program();
        let mut c = Command::new("unshare");
        c.args(["-r", "-m", "sh", "-c", script]).arg(dir.path()).arg(dir.path());
        c.arg(p.get_program()).args(p.get_args()).args(args);
        c.output()
    };
    match run(&["--version".as_ref()]) {
        Ok(out) if out.status.success() => {}
        other => {
            eprintln!("skipped: no name space with a file system of its own here ({other:?})");
            return;
        }
    }
    let demo_path = demo();
    let output = dir.path().join("o.mp4");
    let out =
        run(&["run".as_ref(), demo().as_os_str(), "--output".as_ref(), output.as_os_str(), "-q".as_ref()]).unwrap();
    let (code, _, stderr) = finished(&out);
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("o.mp4") && stderr.contains("disk is full"), "{stderr}");
    assert!(!stderr.contains(".part"), "something was left behind: {stderr}");
    // What was recorded live is kept, and nothing is waited for in vain.
    let live = dir.path().join("o.mkv");
    let began = std::time::Instant::now();
    let mut args = ["run", "", "--realtime", "--output", ""].map(std::ffi::OsStr::new);
    (args[1], args[4]) = (demo_path.as_os_str(), live.as_os_str());
    let (code, _, stderr) = finished(&run(&args).unwrap());
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("disk is full") && stderr.contains("kept up to the failure"), "{stderr}");
    assert_eq!(stderr.lines().last(), Some("o.mkv"), "{stderr}");
    assert!(began.elapsed() < std::time::Duration::from_secs(15), "{:?}", began.elapsed());
    let events = dir.path().join("e.jsonl");
    let full = dir.path().join("filler");
    fs::write(&full, "").unwrap();
    let out =
        run(&["run".as_ref(), demo().as_os_str(), "--events".as_ref(), events.as_os_str(), "-q".as_ref()]).unwrap();
    // 500 slots of events fit into half a megabyte: this one is in order.
    assert_eq!(finished(&out).0, 0);
}

#[test]
fn engines_and_libraries_that_do_not_fit() {
    let dir = tempfile::tempdir().unwrap();
    let from = engine("av-small");
    let text = fs::read_to_string(&from).unwrap();
    for file in ["av-small.video.onnx", "av-small.audio.onnx"] {
        fs::copy(from.with_file_name(file), dir.path().join(file)).unwrap();
    }
    let manifest = dir.path().join("e.toml");
    let run = |manifest: &Path, extra: &[&str]| {
        let mut c = Command::new(env!("CARGO_BIN_EXE_seehear"));
        c.arg("--engine").arg(manifest).args(extra).arg("run").arg(demo()).arg("-q");
        let (code, _, stderr) = finished(&c.output().unwrap());
        assert_eq!(code, 1, "{stderr}");
        stderr
    };
    fs::write(&manifest, text.replace("schema = 1", "schema = 7")).unwrap();
    assert!(run(&manifest, &[]).contains("schema = 7"));
    fs::write(&manifest, text.replace("slots = 5", "slots = 5\nslips = 4")).unwrap();
    assert!(run(&manifest, &[]).contains("slips"));
    fs::write(&manifest, text.replace("sha256 = \"", "sha256 = \"00")).unwrap();
    let error = run(&manifest, &[]);
    assert!(error.contains("SHA-256") && error.contains("av-small.video.onnx"), "{error}");
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.deps/onnxruntime/libonnxruntime.so");
    let library = library.to_str().unwrap();
    fs::write(&manifest, text.replace("input = \"slots\"", "input = \"slides\"")).unwrap();
    let error = run(&manifest, &["--onnxruntime", library]);
    assert!(error.contains("slides") && error.contains("av-small.video.onnx"), "{error}");
    let error = run(&dir.path().join("none.toml"), &[]);
    assert!(error.contains("none.toml"), "{error}");
    fs::write(&manifest, &text).unwrap();
    let error = run(&manifest, &["--onnxruntime", "/nowhere/libonnxruntime.so"]);
    assert!(error.contains("/nowhere/libonnxruntime.so") && error.contains("make setup"), "{error}");
}

#[test]
fn usage_is_exit_code_2_and_check_names_the_bad_file() {
    for args in [&["run"][..], &["run", "x", "--nope"], &["dance"]] {
        assert_eq!(seehear(args).0, 2, "{args:?}");
    }
    let correct = |input: &str, more: &[&str]| seehear(&[&["run", input, "--sync", "correct"], more].concat());
    for (told, words) in [
        (correct("x.mp4", &["-o", "y.mkv"]), ["needs a live pipeline", "seehear sync --fix"]),
        (correct("test", &[]), ["--output FILE", "--display"]),
    ] {
        assert_eq!(told.0, 2);
        assert!(words.iter().all(|w| told.2.contains(w)), "{}", told.2);
    }
    let dir = tempfile::tempdir().unwrap();
    let bad = dir.path().join("bad.toml");
    let good = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/file.toml")).unwrap();
    fs::write(&bad, good.replace("x264enc", "x265nope")).unwrap();
    let (code, _, stderr) = seehear(&["check".as_ref(), bad.as_os_str()]);
    assert_eq!(code, 1);
    assert!(stderr.contains("bad.toml") && stderr.contains("x265nope"), "{stderr}");
    let (code, stdout, _) = seehear(&["check"]);
    assert_eq!((code, stdout.lines().count()), (0, gstseehear::plan::BUILT_IN.len()), "{stdout}");
    // Where there is no such hardware that is said, and not taken for a fault.
    let other = |l: &&str| l.starts_with("jetson") || l.starts_with("nvdec");
    assert!(stdout.lines().filter(other).all(|l| l.contains(": ok (") || l.contains("it needs an NVIDIA")), "{stdout}");
    assert!(stdout.lines().filter(|l| !other(l)).all(|l| l.contains(": ok (")), "{stdout}");
}
