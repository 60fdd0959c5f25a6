//! What goes wrong in a room and on air, done on purpose, on this machine: `make faults` prints the table of docs/faults.md.
//!
//! Each fault is done to a whole run, by the clock: a source or a network that misbehaves, a reader that stops, a machine that is too
//! slow. Judged are what was recorded (what a viewer sees), what was told, and what the process held before and after.
//! `make test` does four of them.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stdout,
    reason = "a test, whose result is a table"
)]

#[path = "bench/camera.rs"]
mod camera;
mod common;
#[path = "bench/watch.rs"]
mod watch;

use camera::{Weather, rtsp, send, stream, udp};
use common::{demo, program};
use std::io::Write;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use watch::{Run, Seen, longest};

const CALM: std::ops::Range<f64> = 0.0..0.0;

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn free_udp_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A child that does not outlive the test.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn quiet(mut c: Command) -> Owned {
    Owned(c.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

fn signal(child: &Owned, what: &str) {
    let sent = Command::new("kill").arg(what).arg(child.0.id().to_string()).status().unwrap();
    assert!(sent.success());
}

fn until_open(port: u16) {
    for _ in 0..400 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("nobody listens at {port}");
}

/// An RTSP camera: the program's own server, which has nothing to analyse.
fn rtsp_camera(port: u16) -> Owned {
    let dir = Box::leak(Box::new(tempfile::tempdir().unwrap()));
    let plan = dir.path().join("camera.toml");
    let text = include_str!("../../../pipelines/test.toml");
    let (head, rest) = text.split_once("[queues.video]").unwrap();
    let head = head.split_once("[source]").unwrap().0;
    let source = "[source]\n\
        video = 'videotestsrc is-live=true do-timestamp=true pattern=ball ! video/x-raw,width=640,height=360,framerate=25/1 ! identity'\n\
        audio = 'audiotestsrc is-live=true do-timestamp=true samplesperbuffer=480 ! audio/x-raw,rate=48000,channels=1 ! identity'\n";
    std::fs::write(&plan, format!("{head}{source}[queues.video]{rest}")).unwrap();
    let mut c = program();
    c.args(["run", "test", "--sync", "off", "-p"]).arg(&plan);
    c.arg("--stream").arg(format!("rtsp://127.0.0.1:{port}/live"));
    let camera = quiet(c);
    until_open(port);
    camera
}

/// A live transport stream over UDP.
fn over_udp(bytes: Vec<u8>, speed: f64, mute: std::ops::Range<f64>, seconds: u32) -> Seen {
    let port = free_udp_port();
    let run = Run::start(&[&format!("udp://127.0.0.1:{port}"), "-p", "srt"], seconds);
    run.until(1.0);
    std::thread::spawn(move || send(&bytes, port, speed, mute));
    run.end()
}

fn part(range: (u32, u32), size: &str, fps: u32, shift: u32) -> Vec<u8> {
    stream(tempfile::tempdir().unwrap().path(), range, size, fps, shift)
}

const HOME: &str = "640:360";

fn nothing() -> Seen {
    over_udp(part((0, 18), HOME, 25, 0), 1.0, CALM, 14)
}

fn unplugged() -> Seen {
    let dir = tempfile::tempdir().unwrap();
    let plan = dir.path().join("p.toml");
    let text = include_str!("../../../pipelines/test.toml");
    let (head, rest) = text.split_once("[queues.video]").unwrap();
    let head = head.split_once("[source]").unwrap().0;
    // As v4l2src does, the element says that it has failed.
    let source = "[source]\n\
        video = 'videotestsrc is-live=true do-timestamp=true pattern=ball ! video/x-raw,width=640,height=360,framerate=25/1 ! identity error-after=175'\n\
        audio = 'audiotestsrc is-live=true do-timestamp=true samplesperbuffer=480 ! audio/x-raw,rate=48000,channels=1 ! identity'\n\
        [source.reconnect]\n";
    std::fs::write(&plan, format!("{head}{source}[queues.video]{rest}")).unwrap();
    let run = Run::start(&["test", "-p", plan.to_str().unwrap()], 12);
    run.end()
}

fn server_restarted() -> Seen {
    let port = free_port();
    let camera = rtsp_camera(port);
    let run = Run::start(&[&format!("rtspt://127.0.0.1:{port}/live")], 18);
    run.until(7.0);
    drop(camera);
    run.until(8.5);
    let _again = rtsp_camera(port);
    run.end()
}

fn weather(loss: f64, jitter_ms: u64) -> Weather {
    Weather { loss, jitter: Duration::from_millis(jitter_ms) }
}

fn rtsp_in(weather: Weather, latency: &str) -> Seen {
    let (port, stop) = (free_port(), Arc::new(AtomicBool::new(false)));
    let _camera = rtsp_camera(port);
    let through = rtsp(port, weather, &stop);
    let run = Run::start(&[&format!("rtspu://127.0.0.1:{through}/live"), "--set", latency], 20);
    let seen = run.end();
    stop.store(true, Ordering::Relaxed);
    seen
}

fn srt_in(weather: Weather) -> Seen {
    let (port, stop) = (free_udp_port(), Arc::new(AtomicBool::new(false)));
    let mut c = Command::new("ffmpeg");
    c.args(["-v", "error", "-re", "-stream_loop", "-1", "-i"]).arg(demo()).args(["-c", "copy", "-f", "mpegts"]);
    let _sender = quiet({
        c.arg(format!("srt://127.0.0.1:{port}?mode=listener&latency=1000000"));
        c
    });
    std::thread::sleep(Duration::from_secs(1));
    let through = udp(port, weather, &stop);
    let run = Run::start(&[&format!("srt://127.0.0.1:{through}?latency=1000")], 20);
    let seen = run.end();
    stop.store(true, Ordering::Relaxed);
    seen
}

fn jumps() -> Seen {
    let mut bytes = part((0, 6), HOME, 25, 0);
    bytes.extend(part((6, 5), HOME, 25, 1_000));
    bytes.extend(part((11, 8), HOME, 25, 500));
    over_udp(bytes, 1.0, CALM, 15)
}

fn skewed() -> Seen {
    over_udp([part((0, 19), HOME, 25, 0), part((0, 19), HOME, 25, 19)].concat(), 1.0001, CALM, 32)
}

fn another_size() -> Seen {
    let mut bytes = part((0, 7), HOME, 25, 0);
    bytes.extend(part((7, 10), "960:720", 30, 7));
    over_udp(bytes, 1.0, CALM, 14)
}

fn no_sound() -> Seen {
    over_udp(part((0, 19), HOME, 25, 0), 1.0, 6.0..10.0, 15)
}

fn stalled_viewer() -> Seen {
    let port = free_port();
    let run =
        Run::start(&[demo().to_str().unwrap(), "--realtime", "--stream", &format!("rtsp://127.0.0.1:{port}/x")], 18);
    until_open(port);
    let mut c = Command::new("ffmpeg");
    c.args(["-v", "error", "-rtsp_transport", "tcp", "-i", &format!("rtsp://127.0.0.1:{port}/x"), "-f", "null", "-"]);
    let viewer = quiet(c);
    run.until(6.0);
    signal(&viewer, "-STOP");
    run.until(14.0);
    signal(&viewer, "-CONT");
    run.end()
}

fn stalled_reader() -> Seen {
    let port = free_port();
    let run = Run::start(&[demo().to_str().unwrap(), "--realtime", "--http", &port.to_string()], 18);
    until_open(port);
    // They ask, and never read.
    let asked: Vec<TcpStream> = ["/events", "/picture"]
        .into_iter()
        .map(|path| {
            let mut s = TcpStream::connect(("127.0.0.1", port)).unwrap();
            write!(s, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n").unwrap();
            s
        })
        .collect();
    let seen = run.end();
    drop(asked);
    seen
}

fn broker_gone() -> Seen {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let (conf, serve) = (dir.path().join("conf"), dir.path().join("serve.toml"));
    std::fs::write(&conf, format!("listener {port} 127.0.0.1\nallow_anonymous true\n")).unwrap();
    std::fs::write(&serve, format!("[mqtt]\nurl = \"mqtt://127.0.0.1:{port}/faults\"\n")).unwrap();
    let broker = || {
        let mut c = Command::new("mosquitto");
        c.env("PATH", "/usr/sbin:/usr/bin:/bin").arg("-c").arg(&conf);
        let broker = quiet(c);
        until_open(port);
        broker
    };
    let first = broker();
    let run = Run::start(&[demo().to_str().unwrap(), "--realtime", "--serve-config", serve.to_str().unwrap()], 18);
    run.until(6.0);
    drop(first);
    run.until(9.0);
    let _second = broker();
    let seen = run.end();
    drop(dir);
    seen
}

fn too_slow() -> Seen {
    let run = Run::start(&[demo().to_str().unwrap(), "--realtime", "--net-height", "576"], 18);
    run.end()
}

struct Fault {
    name: &'static str,
    does: fn() -> Seen,
    /// Without a picture at most, s; what the fault itself takes is in it.
    freeze: f64,
    /// The same of sound; what is missing is filled with silence.
    silence: f64,
    /// Latency at most, p99, ms.
    late: f64,
    /// In `make test` too.
    quick: bool,
}

const fn fault(name: &'static str, does: fn() -> Seen, freeze: f64, late: f64, quick: bool) -> Fault {
    Fault { name, does, freeze, silence: 0.2, late, quick }
}

/// A picture every 40 ms, sound every 96 (a FLAC packet): that much is nothing missing. Where the source itself is away, what was
/// under way is told when it is back.
const FAULTS: [Fault; 15] = [
    fault("none", nothing, 0.13, 600.0, false),
    fault("camera unplugged (its element fails)", unplugged, 2.0, 2_500.0, true),
    fault("RTSP server away for 1.5 s", server_restarted, 6.0, 6_500.0, false),
    fault("5 % loss, RTSP over UDP", || rtsp_in(weather(0.05, 0), "latency=200"), 1.5, 1_500.0, false),
    fault(
        "200 ms jitter, RTSP over UDP, latency 400",
        || rtsp_in(weather(0.0, 200), "latency=400"),
        0.5,
        1_500.0,
        false,
    ),
    fault("5 % loss, SRT", || srt_in(weather(0.05, 0)), 0.5, 600.0, false),
    fault("200 ms jitter, SRT", || srt_in(weather(0.0, 200)), 0.5, 600.0, false),
    fault("PTS +1000 s, then −500 s", jumps, 0.5, 600.0, true),
    fault("clock 100 ppm fast", skewed, 0.13, 600.0, false),
    fault("640×360 at 25 becomes 960×720 at 30", another_size, 0.5, 600.0, false),
    fault("no sound for 4 s", no_sound, 0.13, 2_000.0, true),
    fault("a viewer stops reading for 8 s (RTSP, TCP)", stalled_viewer, 0.13, 600.0, false),
    fault("readers of /events and /picture never read", stalled_reader, 0.13, 600.0, false),
    fault("MQTT broker away for 3 s", broker_gone, 0.13, 600.0, false),
    fault("engine takes three times too long", too_slow, 0.13, 900.0, true),
];

fn row(fault: &Fault, seen: &Seen) -> String {
    let s = &seen.told.summary;
    let d = &s.drops;
    let drops = [
        ("video", d.video_overload),
        ("audio", d.audio_overload),
        ("late", d.late_frames),
        ("failed", d.failed_slots),
        ("cut off", d.cut_off_slots),
        ("shed", d.shed_slots),
        ("audio gaps", d.audio_gaps),
        ("undrawn", d.undrawn_frames),
        ("unstreamed", d.unstreamed),
        ("jumps", s.jumps),
        ("reconnects", s.reconnects),
    ]
    .into_iter()
    .filter(|(_, n)| *n > 0)
    .map(|(what, n)| format!("{what} {n}"))
    .collect::<Vec<_>>()
    .join(", ");
    let ms = |t: Option<f64>| t.map_or_else(|| "–".into(), |t| format!("{t:.0}"));
    format!(
        "| {} | {:.2} | {:.2} | {:.0} | {} / {} | {} | {:+.1} / {:+} / {:+} |",
        fault.name,
        longest(&seen.pictures),
        longest(&seen.sound),
        seen.missing_slots(),
        ms(s.latency_ms.p50),
        ms(s.latency_ms.p99),
        if drops.is_empty() { "–".into() } else { drops },
        seen.after.rss_mib - seen.before.rss_mib,
        seen.after.files as i64 - seen.before.files as i64,
        seen.after.threads as i64 - seen.before.threads as i64,
    )
}

/// What must hold whatever goes wrong.
fn judge(fault: &Fault, seen: &Seen) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut must = |holds: bool, what: String| {
        if !holds {
            wrong.push(format!("{}: {what}", fault.name));
        }
    };
    let (freeze, silence) = (longest(&seen.pictures), longest(&seen.sound));
    must(freeze <= fault.freeze, format!("{freeze:.2} s without a picture"));
    must(silence <= fault.silence, format!("{silence:.2} s without sound"));
    // While the source itself is away for more than two seconds there is nothing to tell of.
    let away = if freeze > 2.0 { freeze * 25.0 } else { 0.5 };
    must(seen.missing_slots() < away, format!("{} slots not told", seen.missing_slots()));
    let p99 = seen.told.summary.latency_ms.p99;
    must(p99.is_some_and(|ms| ms < fault.late), format!("latency {p99:?} ms, p99"));
    must(seen.after.files <= seen.before.files + 2, format!("files: {} to {}", seen.before.files, seen.after.files));
    must(
        seen.after.threads <= seen.before.threads + 2,
        format!("threads: {} to {}", seen.before.threads, seen.after.threads),
    );
    wrong
}

#[test]
fn faults() {
    let all = std::env::var_os("FAULTS").is_some();
    let only = std::env::var("FAULT").ok();
    println!(
        "| fault | longest without picture, s | without sound, s | slots not told | latency p50 / p99, ms | told | RSS, MiB / files / threads |"
    );
    println!("|---|---|---|---|---|---|---|");
    let mut wrong = Vec::new();
    for fault in FAULTS.iter().filter(|f| only.as_ref().map_or(all || f.quick, |o| f.name.contains(o.as_str()))) {
        let seen = (fault.does)();
        println!("{}", row(fault, &seen));
        let failed = judge(fault, &seen);
        if !failed.is_empty() {
            println!("{}", seen.said);
        }
        wrong.extend(failed);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
