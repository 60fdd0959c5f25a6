//! `seehear sync`.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "slots of a stretch, pixels of a thumbnail"
)]

use crate::bar::Bar;
use crate::engine::Use;
use crate::run::parse_seconds;
use crate::{EngineArgs, calibrate, engine, say};
use anyhow::Context;
use gstseehear::input::Input;
use gstseehear::output::PendingFile;
use gstseehear::plan::Plan;
use gstseehear::run::{Control, Job, Observer, Progress, Sample, SlotTiming};
use seehear::events::Header;
use seehear::net::Engine;
use seehear::session::Report;
use seehear::sync::{self, Estimate, EstimateConfig};
use seehear::sync_meter::{Stretch, SyncMeterConfig};
use seehear::time::{SLOT, TimeDelta, Timestamp};
use seehear_sync::fix::{Correction, Knot, fix};
use seehear_sync::report::{self, SyncReport, Thumbnail};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const EXAMPLES: &str = "\
Examples:
  seehear sync programme.mxf                        how late or early is the sound, in words
  seehear sync talk.mp4 --fix talk.fixed.mp4        a corrected copy; only time stamps change
  seehear sync talk.mp4 --report talk.html          a page: the offset over time, segments, verdicts
  seehear sync film.mkv --fast                      a third of it, in samples of 20 s
  seehear sync news.ts --audio-track 2 --json       another language, for machines
  seehear sync worse.mp4 --range 2000               further off than 600 ms

> 0 means that the sound is late. Somebody must be seen and heard speaking; otherwise the answer is \"can't tell\" (exit \
code 0, offset_ms null). What the standards ask for and how sure the answer is: docs/sync.md.

Exit codes: 0 done, 1 failed, 2 usage.";

/// Measure how late or early the sound is against the picture, and write a corrected copy.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A file or a URI
    input: String,

    /// Write a copy whose sound is in sync: .mp4, .mov, .mkv, .webm, .ts; a constant offset by time stamps alone, a changing
    /// one by encoding the sound again
    #[arg(long, value_name = "FILE")]
    fix: Option<PathBuf>,

    /// Write the report as one page of HTML
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,

    /// Print the report as one line of JSON on standard output, and nothing else
    #[arg(long)]
    json: bool,

    /// No progress bar and no words
    #[arg(short, long)]
    quiet: bool,

    /// Look for offsets up to this, ms, either way; more takes longer
    #[arg(long, value_name = "MS", default_value_t = 600, value_parser = clap::value_parser!(u16).range(200..=2000))]
    range: u16,

    /// Analyse 20 s of every minute only
    #[arg(long)]
    fast: bool,

    /// What `seehear calibrate` measured of this device or room: a file, or the name of one in calibration/
    #[arg(long, value_name = "NAME|FILE")]
    calibration: Option<String>,

    /// Which of the input's sound tracks is measured, from 1; --fix moves all of them alike
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    audio_track: u16,

    /// Take what can be read of a truncated or corrupt file, instead of refusing it
    #[arg(long)]
    salvage: bool,

    /// Measure this much from the beginning only, seconds
    #[arg(long, value_name = "S", value_parser = parse_seconds)]
    duration: Option<f64>,
}

impl Args {
    /// For what another verb measures from speech: nothing is written or told.
    pub(crate) fn of_speech(input: &str, range: u16, audio_track: u16, quiet: bool) -> Self {
        Self {
            input: input.to_owned(),
            fix: None,
            report: None,
            json: false,
            quiet,
            range,
            fast: false,
            calibration: None,
            audio_track,
            salvage: false,
            duration: None,
        }
    }
}

/// What was measured of one input.
pub(crate) struct Measured {
    pub(crate) estimate: Estimate,
    engine: Engine,
    job: Job,
    listener: Listener,
    length: TimeDelta,
}

impl Measured {
    /// Why there is no offset.
    pub(crate) fn why(&self, args: &Args) -> String {
        why(args, &self.listener, &self.estimate)
    }
}

/// The 8-bit variant is as right as the other (docs/sync.md), and an hour takes minutes less.
const ENGINE: &str = "av-small-int8";
/// Where talkers are looked for, ms, one standard deviation: with 120, the engine's own, half of the scenes whose sound is
/// moved by up to 400 ms can't be told.
const FAR_MS: f32 = 400.0;
/// Of `--fast`.
const SAMPLE: Sample = Sample { every: TimeDelta::from_ms(60_000), take: TimeDelta::from_ms(20_000) };

pub(crate) fn main(args: &Args, engine_args: &EngineArgs) -> anyhow::Result<()> {
    let input = Input::parse(&args.input);
    input.check()?;
    if let (Some(fix), Input::File(path)) = (&args.fix, &input) {
        same_file(path, fix)?;
    } else if args.fix.is_some() {
        anyhow::bail!("--fix needs a file to copy; {} is none", input.name());
    }
    let (control, stop) = (Arc::new(Control::default()), Arc::new(AtomicBool::new(false)));
    let asked = (Arc::clone(&control), Arc::clone(&stop));
    ctrlc::set_handler(move || {
        asked.0.stop();
        asked.1.store(true, Ordering::Release);
    })
    .context("Ctrl-C can't be caught")?;
    let measured = measure(args, input, engine_args, &control)?;
    let told = told(args, &measured);
    let Measured { estimate, job, listener, .. } = &measured;

    if let Some(path) = &args.report {
        let file = PendingFile::create(path)?;
        std::fs::write(file.path(), report::html(&told, &thumbnails(&job.input, listener, estimate)))
            .with_context(|| path.display().to_string())?;
        file.commit()?;
    }
    if args.json {
        say::result(&serde_json::to_string(&told)?)?;
    } else if !args.quiet {
        for line in report::words(&told) {
            say::result(&line)?;
        }
        if let Some(path) = &args.report {
            say::note(&format!("wrote {}", path.display()));
        }
    }
    match (&args.fix, &job.input) {
        (Some(output), Input::File(path)) => write_fixed(args, path, output, &measured, &stop),
        _ => Ok(()),
    }
}

/// Measures the offset of an input by who is seen and heard speaking.
pub(crate) fn measure(
    args: &Args,
    input: Input,
    engine_args: &EngineArgs,
    control: &Arc<Control>,
) -> anyhow::Result<Measured> {
    let (engine, backend) =
        engine::load(engine_args, ENGINE, Use { quiet: args.quiet || args.json, ..Use::default() })?;
    let reach = TimeDelta::from_ms(i64::from(args.range));
    let mut job = job(args, input, reach)?;
    if let Some(name) = &args.calibration {
        calibrate::apply(name, &engine, &mut job, args.quiet || args.json)?;
    }
    let mut listener = Listener { until: args.duration, control: Arc::clone(control), ..Listener::default() };
    let bar = Bar::new(!args.quiet && !args.json);
    let mut length = TimeDelta::ZERO;
    let mut look = |p: Progress| {
        length = p.length.unwrap_or(p.at - Timestamp::ZERO);
        bar.update(&p);
    };
    let summary = gstseehear::run::run(&job, &engine, &*backend, &mut listener, &mut look, control)?;
    bar.finish();
    if summary.interrupted && args.duration.is_none() {
        anyhow::bail!("stopped at {:.1} s: nothing was written", summary.media_s);
    }
    let grid = SLOT * i64::try_from(reach.slots_ceil()).unwrap_or(i64::MAX); // whole slots are looked for
    let config = EstimateConfig::default();
    let mut estimate = sync::estimate(&listener.stretches, f64::from(engine.manifest.score.zero_ms), grid, &config);
    // The best of what was looked for is no answer where it lies at the end of it.
    listener.beyond = estimate.offset.take_if(|o| o.at_edge).is_some();
    job.sample = None;
    Ok(Measured { estimate, engine, job, listener, length })
}

fn same_file(input: &Path, output: &Path) -> anyhow::Result<()> {
    if let (Ok(a), Ok(b)) = (input.canonicalize(), output.canonicalize())
        && a == b
    {
        anyhow::bail!("{}: is the input itself; choose another name", output.display());
    }
    Ok(())
}

fn job(args: &Args, input: Input, reach: TimeDelta) -> anyhow::Result<Job> {
    let mut plan = Plan::built_in("file")?;
    // Objects are looked for wherever the offset may be, not only where material in good order has it.
    plan.stages.attention.spread_ms = Some(FAR_MS);
    plan.stages.sync = Some(SyncMeterConfig { reach_ms: reach.ns().div_euclid(1_000_000), ..Default::default() });
    Ok(Job {
        salvage: args.salvage,
        audio_track: usize::from(args.audio_track) - 1,
        sample: args.fast.then_some(SAMPLE),
        ..Job::new(input, plan)
    })
}

/// Gathers what the meter says.
#[derive(Default)]
struct Listener {
    stretches: Vec<Stretch>,
    until: Option<f64>,
    control: Arc<Control>,
    /// Slots with a voice, and with one whose owner was found in the picture.
    voiced: u64,
    /// Of the picture, pixels.
    size: (u32, u32),
    /// Picture and sound agree best at the end of the range.
    beyond: bool,
}

impl Observer for Listener {
    fn header(&mut self, header: &Header) -> io::Result<()> {
        self.size = (header.width, header.height);
        Ok(())
    }

    fn report(&mut self, report: &Report<'_>, _: SlotTiming) -> io::Result<()> {
        if self.until.is_some_and(|s| (report.start - Timestamp::ZERO).as_s_f64() >= s) {
            self.control.stop();
            return Ok(());
        }
        self.voiced += u64::from(report.voice != seehear::asd::Voice::None);
        self.stretches.extend(report.stretch.cloned());
        Ok(())
    }

    fn last_stretch(&mut self, stretch: &Stretch) {
        self.stretches.push(stretch.clone());
    }
}

/// The report of what was measured.
fn told(args: &Args, measured: &Measured) -> SyncReport {
    let e = &measured.estimate;
    let drift = |ms: f64| (ms != 0.0).then(|| rounded(ms, 2));
    let segments = e.segments.iter().map(|s| report::Segment {
        start_ms: (s.start - Timestamp::ZERO).as_ms_f64(),
        end_ms: (s.end - Timestamp::ZERO).as_ms_f64(),
        offset_ms: s.offset.map(|o| rounded(o.offset.as_ms_f64(), 1)),
        confidence: s.offset.map_or(0.0, |o| rounded(o.confidence, 3)),
        error_ms: s.offset.map(|o| rounded(o.error.as_ms_f64(), 1)),
        drift_ms_per_min: s.offset.and_then(|_| drift(s.drift_ms_per_min)),
        verdicts: None,
    });
    let points = e.points.iter().map(|p| {
        let (at, off) = (p.offset.offset.as_ms_f64(), p.offset.error.as_ms_f64());
        report::Point {
            t_ms: rounded((p.at - Timestamp::ZERO).as_ms_f64(), 1),
            offset_ms: rounded(at, 1),
            low_ms: rounded(at - off, 1),
            high_ms: rounded(at + off, 1),
            confidence: rounded(p.offset.confidence, 3),
        }
    });
    let single = if let [only] = e.segments.as_slice() { drift(only.drift_ms_per_min) } else { None };
    SyncReport {
        schema: report::SCHEMA,
        source: args.input.clone(),
        engine: measured.engine.manifest.name.clone(),
        duration_ms: measured.length.as_ms_f64(),
        judged_s: rounded(e.judged_s, 1),
        offset_ms: e.offset.map(|o| rounded(o.offset.as_ms_f64(), 1)),
        confidence: e.offset.map_or(0.0, |o| rounded(o.confidence, 3)),
        error_ms: e.offset.map(|o| rounded(o.error.as_ms_f64(), 1)),
        drift_ms_per_min: e.offset.and(single),
        verdicts: None,
        why: e.offset.is_none().then(|| measured.why(args)),
        segments: segments.collect(),
        points: points.collect(),
    }
    .with_verdicts()
}

/// Pictures of what was judged: up to six stretches, evenly spread over those in which somebody was heard. Without ffmpeg, or
/// for a source that is no file, there are none.
fn thumbnails(input: &Input, listener: &Listener, e: &Estimate) -> Vec<Thumbnail> {
    let Input::File(path) = input else { return Vec::new() };
    let judged = |s: &&Stretch| e.points.iter().any(|p| p.at >= s.start && p.at < s.start + SLOT * (s.slots as i64));
    let heard: Vec<&Stretch> = listener.stretches.iter().filter(judged).collect();
    let step = heard.len().div_ceil(6).max(1);
    heard.into_iter().step_by(step).filter_map(|s| thumbnail(path, listener.size, s)).collect()
}

/// The picture at the end of a stretch, to which its place belongs.
fn thumbnail(path: &Path, (width, height): (u32, u32), s: &Stretch) -> Option<Thumbnail> {
    let at = s.start + SLOT * (s.slots as i64 - 1);
    let (w, h) = (320.0, (320.0 * f64::from(height) / f64::from(width.max(1)) / 2.0).round() * 2.0);
    let mut ffmpeg = std::process::Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-ss", &format!("{:.3}", (at - Timestamp::ZERO).as_s_f64()), "-i"]);
    ffmpeg.arg(format!("file:{}", path.display()));
    ffmpeg.args(["-frames:v", "1", "-vf", &format!("scale={w}:{h}"), "-c:v", "mjpeg", "-f", "image2pipe", "-"]);
    let done = ffmpeg.output().ok().filter(|o| o.status.success() && !o.stdout.is_empty())?;
    let scale = w / f64::from(width.max(1));
    let (x, y, side) = (f64::from(s.place.x) * scale, f64::from(s.place.y) * scale, h / 5.0);
    Some(Thumbnail {
        t_ms: (at - Timestamp::ZERO).as_ms_f64(),
        jpeg: done.stdout,
        width: w as u32,
        height: h as u32,
        boxes: vec![[x - side / 2.0, y - side / 2.0, side, side]],
        label: "where picture and sound agree best".to_owned(),
    })
}

/// Why it can't be told.
fn why(args: &Args, listener: &Listener, e: &Estimate) -> String {
    if listener.beyond {
        format!("the offset is at the end of ±{} ms or beyond: look further with --range", args.range)
    } else if listener.voiced == 0 {
        "no voice was heard, or nothing moved in the picture".to_owned()
    } else if listener.stretches.is_empty() {
        "there is too little speech in it: two seconds are the least".to_owned()
    } else if e.judged_s < 3.0 {
        format!("nobody visible was heard speaking, or the offset is beyond ±{} ms (see --range)", args.range)
    } else {
        format!("what was seen and heard of speakers agrees on no offset within ±{} ms (see --range)", args.range)
    }
}

fn rounded(x: f64, digits: i32) -> f64 {
    let k = 10_f64.powi(digits);
    (x * k).round() / k
}

/// What mends the file: one shift, or a curve where the offset changes. The estimate is what is left beyond `device`, which a
/// calibration took out before it was measured.
fn correction(e: &Estimate, device: TimeDelta) -> Option<Correction> {
    let told: Vec<_> = e.segments.iter().filter_map(|s| s.offset.map(|o| (s, o.offset + device))).collect();
    let whole = e.offset?;
    if let [(only, offset)] = told.as_slice()
        && only.drift_ms_per_min == 0.0
    {
        return Some(Correction::Shift(*offset));
    }
    if told.is_empty() {
        return Some(Correction::Shift(whole.offset + device));
    }
    // A segment that can't be told is mended as the one before it (the first told, at the beginning).
    let mut knots = Vec::new();
    for (i, (s, offset)) in told.iter().enumerate() {
        let half = TimeDelta::from_ns((s.end - s.start).ns().div_euclid(2));
        let slope = TimeDelta::from_ns((s.drift_ms_per_min * half.as_s_f64() / 60.0 * 1e6) as i64);
        let end = told.get(i + 1).map_or(s.end, |(next, _)| next.start);
        knots.push(Knot { at: s.start, offset: *offset - slope });
        knots.push(Knot { at: end, offset: *offset + slope });
    }
    Some(Correction::Follow(knots))
}

fn write_fixed(args: &Args, input: &Path, output: &Path, measured: &Measured, stop: &AtomicBool) -> anyhow::Result<()> {
    let Some(correction) = correction(&measured.estimate, measured.job.device_offset) else {
        anyhow::bail!("{}: not written: the offset can't be told", output.display());
    };
    let bar = Bar::new(!args.quiet && !args.json);
    let done = fix(input, output, &correction, &mut |part| bar.share(part, "writing"), stop);
    bar.finish();
    let done = done?;
    if !args.quiet && !args.json {
        say::note(&format!("wrote {}: {done}", output.display()));
    }
    Ok(())
}
