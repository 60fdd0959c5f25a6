//! Posts made-up data, or replays the events of a real run, to everything that this crate serves.
//!
//! ```text
//! cargo run -p seehear-serve --example demo -- --http 8080
//! cargo run -p seehear-serve --example demo -- --http 8080 --events out/demo.events.jsonl --video demo.mp4
//! ```
//!
//! Further: `--token T`, `--mqtt URL`, `--record FILE`, `--seconds N`, `--trouble` (a lost source, an offset far off).

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

use seehear::asd::Voice;
use seehear::av_object::TrackState;
use seehear::correct::SyncState;
use seehear::events::{Event, FrameEvent, Header, ObjectEvent, Summary, SyncEvent};
use seehear_serve::vitals::Severity;
use seehear_serve::{Change, Drops, Hub, Settings, SyncMode, Timing, http, mqtt, notify, record, rotate};
use std::collections::HashMap;
use std::error::Error;
use std::io::{BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SLOT: Duration = Duration::from_millis(40);
/// Of a second 25 slots, every third has a picture.
const PICTURE_EVERY: u64 = 3;

type Res<T> = Result<T, Box<dyn Error>>;

fn main() -> Res<()> {
    let mut args: HashMap<String, String> = HashMap::new();
    let mut words = std::env::args().skip(1);
    while let Some(key) = words.next() {
        let value = if key == "--trouble" { String::new() } else { words.next().ok_or("every option has a value")? };
        args.insert(key, value);
    }
    let hub = Hub::new("studio-1");
    hub.update_settings(|s| {
        *s = Settings {
            threshold: Some(0.5),
            overlay: Some(true),
            heatmap: Some(false),
            sync: Some(SyncMode::Correct),
            sync_modes: vec![SyncMode::Off, SyncMode::Measure, SyncMode::Correct],
            step_sync: true,
        }
    });
    let mut options = http::Options::new(http::parse_addr(args.get("--http").map_or("8080", String::as_str))?);
    options.token = args.get("--token").cloned();
    let server = http::serve(&options, &hub)?;
    eprintln!("http://{}/", server.addr());
    let publisher =
        args.get("--mqtt").map(|url| mqtt::publish(&mqtt::Address::parse(url, hub.name())?, &hub)).transpose()?;
    let recorder = args
        .get("--record")
        .map(|path| record::record(&hub, Path::new(path), rotate::Limits::default()))
        .transpose()?;
    let notifier = notify::start(&hub)?;

    let seconds: u64 = args.get("--seconds").map_or(Ok(u64::MAX), |s| s.parse())?;
    let replay = args.get("--events").map(|p| load(Path::new(p))).transpose()?;
    let trouble = args.contains_key("--trouble");
    run(&hub, replay, args.get("--video").map(Path::new), seconds.saturating_mul(25), trouble)?;

    hub.summary(&Summary { slots: hub.slots(), ..Summary::default() });
    drop(notifier);
    recorder.into_iter().for_each(record::Recorder::stop);
    publisher.into_iter().for_each(mqtt::Publisher::stop);
    server.stop();
    Ok(())
}

fn run(
    hub: &Hub,
    replay: Option<(Header, Vec<FrameEvent>)>,
    video: Option<&Path>,
    slots: u64,
    trouble: bool,
) -> Res<()> {
    let made_up = Header {
        schema: 1,
        source: "rtsp://user:password@camera-2.lan/main".to_owned(),
        width: 1280,
        height: 720,
        engine: "av-small".to_owned(),
        backend: "onnxruntime-cpu".to_owned(),
        latency_ms: 200.0,
    };
    hub.header(replay.as_ref().map_or(&made_up, |(h, _)| h));
    let mut pictures = video.map(Pictures::open).transpose()?;
    let began = Instant::now();
    for i in 0..slots {
        let t_ms = ms(i) * 40.0;
        let mut frame = match &replay {
            Some((_, frames)) => {
                let at = usize::try_from(i)? % frames.len();
                if at == 0 && i > 0 {
                    pictures = video.map(Pictures::open).transpose()?;
                }
                FrameEvent { t_ms, ..frames[at].clone() }
            }
            None => made_up_frame(i, t_ms),
        };
        if trouble {
            frame.offset_ms = Some(-107.3);
            frame.offset_confidence = 1.0;
            frame.sync = None;
        }
        let wave = (ms(i) / 90.0).sin();
        let timing = Timing {
            busy: Duration::from_secs_f64(0.011 + 0.003 * wave),
            latency: Some(Duration::from_secs_f64(0.219 + 0.006 * wave + if i % 97 == 0 { 0.02 } else { 0.0 })),
        };
        hub.frame(&frame, timing);
        if i % 25 == 0 {
            let lost = if trouble { i } else { i.div_euclid(1500) };
            hub.drops(&Drops { undrawn_frames: lost, ..Drops::default() });
            let what = (Severity::Failing, "no data from the camera for 4 s; connecting again".to_owned());
            hub.trouble("source", trouble.then_some(what));
        }
        if i % PICTURE_EVERY == 0 {
            let wanted = hub.picture_wanted();
            let jpeg = match &mut pictures {
                Some(video) => video.next()?,
                None => wanted.then(|| made_up_picture(i)).transpose()?,
            };
            if let Some(jpeg) = jpeg.filter(|_| wanted)
                && let Err(why) = hub.picture(t_ms, jpeg)
            {
                println!("picture at {t_ms} ms: {why:?}");
            }
        }
        for change in hub.take_changes() {
            println!("asked for: {change:?}");
            if change != Change::StepSync {
                hub.update_settings(|s| s.take_over(change));
            }
        }
        std::thread::sleep((began + SLOT * u32::try_from(i + 1)?).saturating_duration_since(Instant::now()));
    }
    Ok(())
}

fn load(path: &Path) -> Res<(Header, Vec<FrameEvent>)> {
    let mut header = None;
    let mut frames = Vec::new();
    for line in std::fs::read_to_string(path)?.lines() {
        match serde_json::from_str(line)? {
            Event::Header(h) => header = Some(h),
            Event::Frame(f) => frames.push(f),
            Event::Summary(_) => {}
        }
    }
    Ok((header.ok_or("no header")?, frames))
}

#[expect(clippy::cast_precision_loss, reason = "a slot's number")]
fn ms(i: u64) -> f64 {
    i as f64
}

#[expect(clippy::cast_possible_truncation, reason = "made up")]
fn made_up_frame(i: u64, t_ms: f64) -> FrameEvent {
    let s = t_ms / 1000.0;
    // A conversation of three, with pauses and a voice off screen: 24 s, then again.
    let (talks, voice) = match s % 24.0 {
        x if x < 6.0 => (1, Voice::OnScreen),
        x if x < 6.8 => (0, Voice::None),
        x if x < 12.0 => (2, Voice::OnScreen),
        x if x < 12.5 => (0, Voice::Ambiguous),
        x if x < 16.0 => (0, Voice::OffScreen),
        x if x < 17.0 => (0, Voice::None),
        _ => (3, Voice::OnScreen),
    };
    let object = |id: u32| {
        let x = 250.0 + 390.0 * (f64::from(id) - 1.0) + 12.0 * (s * 0.7 + f64::from(id)).sin();
        ObjectEvent {
            id,
            x: x as f32,
            y: (310.0 + 8.0 * (s + f64::from(id)).cos()) as f32,
            w: 150.0,
            h: 170.0,
            score: if talks == id { (0.86 + 0.08 * (s * 3.0).sin()) as f32 } else { 0.06 },
            speaking: talks == id,
            state: if id == 4 { TrackState::Tentative } else { TrackState::Confirmed },
        }
    };
    let measured = i > 75;
    let offset = 62.0 + 4.0 * (s / 7.0).sin();
    let applied = (ms(i.saturating_sub(100)) * 0.4).min(60.0);
    let state = if applied < 60.0 { SyncState::Slewing } else { SyncState::Holding };
    FrameEvent {
        t_ms,
        objects: (1..=4).map(object).collect(),
        voice,
        offset_ms: measured.then_some((offset * 10.0).round() / 10.0),
        offset_confidence: if measured { 0.97 } else { 0.0 },
        sync: Some(SyncEvent { state, applied_ms: applied, target_ms: 60.0 }),
    }
}

/// Three grey heads before a blue wall.
fn made_up_picture(i: u64) -> Res<Vec<u8>> {
    const W: u16 = 640;
    const H: u16 = 360;
    let s = ms(i) * 0.04;
    let mut rgb = Vec::with_capacity(usize::from(W) * usize::from(H) * 3);
    for y in 0..H {
        for x in 0..W {
            let head = (1..=3).any(|id| {
                let id = f64::from(id);
                let dx = f64::from(x) - (125.0 + 195.0 * (id - 1.0) + 6.0 * (s * 0.7 + id).sin());
                let dy = f64::from(y) - (155.0 + 4.0 * (s + id).cos());
                (dx / 34.0).powi(2) + (dy / 44.0).powi(2) < 1.0
                    || (dy > 60.0 && (dx / 70.0).powi(2) + (60.0 / dy) < 1.3)
            });
            let shade = u8::try_from(y >> 2)?;
            rgb.extend(if head { [150, 140, 130] } else { [20 + (shade >> 1), 34 + (shade >> 1), 60 + shade] });
        }
    }
    let mut jpeg = Vec::new();
    jpeg_encoder::Encoder::new(&mut jpeg, 80).encode(&rgb, W, H, jpeg_encoder::ColorType::Rgb)?;
    Ok(jpeg)
}

/// A video's pictures, by ffmpeg, one for every third slot.
struct Pictures {
    ffmpeg: Child,
    bytes: BufReader<std::process::ChildStdout>,
}

impl Pictures {
    fn open(path: &Path) -> Res<Self> {
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-nostdin", "-i"]).arg(path);
        command.args(["-vf", "fps=25,select=not(mod(n\\,3)),scale=960:-2", "-fps_mode", "passthrough"]);
        let mut ffmpeg = command.args(["-q:v", "5", "-f", "mjpeg", "-"]).stdout(Stdio::piped()).spawn()?;
        let bytes = BufReader::new(ffmpeg.stdout.take().ok_or("a pipe was asked for")?);
        Ok(Self { ffmpeg, bytes })
    }

    /// The next one; `None` after the last.
    fn next(&mut self) -> Res<Option<Vec<u8>>> {
        let mut jpeg = Vec::new();
        for byte in self.bytes.by_ref().bytes() {
            jpeg.push(byte?);
            if jpeg.ends_with(&[0xFF, 0xD9]) {
                return Ok(Some(jpeg));
            }
        }
        Ok(None)
    }
}

impl Drop for Pictures {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.ffmpeg.kill());
        drop(self.ffmpeg.wait());
    }
}
