//! `seehear bench`: what this machine does, measured in the program itself.

use crate::engine::Use;
use crate::find::find;
use crate::{EngineArgs, engine, say};
use anyhow::{Context, bail};
use gstseehear::input::Input;
use gstseehear::plan::Plan;
use gstseehear::run::{Control, Job, Observer, SlotTiming};
use seehear::events::{EventWriter, Header, Summary};
use seehear::net::Engine;
use seehear::session::Report;
use seehear_nets::{AnyBackend, Choice};
use serde::Serialize;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The clip of the checkout.
const DEMO: &str = "tests/media/demo.mp4";

const EXAMPLES: &str = "\
Examples:
  seehear bench                         the table of docs/performance.md, for this machine
  seehear bench talk.mp4 --seconds 10   on a clip of your own
  seehear bench --threads 4             with more threads for each network run
  seehear bench --json | jq '.[].load'  for machines
  seehear bench --backend all           the picture's network alone, on every backend that this machine can run
  seehear bench --soak-minutes 30       does memory stay flat?

Columns: \"load\" is the analysis' share of the material's length (below 100 % it keeps up); \"dropped\" counts frames, \
sound buffers and slots lost to overload, and pictures drawn without their own result.";

/// Measure speed, latency, cores and memory on this machine.
///
/// The clip is brought to 720p and 1080p at 25 fps with ffmpeg first. Each size is then run four ways: as fast as it
/// goes and at the speed of the clock, to events alone and with overlay and H.264 output. That takes about six times
/// --seconds, and longer on a machine slower than real time. Other programs should rest meanwhile.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A clip with people talking; tests/media/demo.mp4 of the checkout by default
    input: Option<PathBuf>,

    /// Length of each measurement in stream time, seconds
    #[arg(long, default_value_t = 30, value_name = "S", value_parser = clap::value_parser!(u32).range(5..=600))]
    seconds: u32,

    /// Instead: run the clip as it is, over and over, live with overlay and H.264 output for this long; print memory,
    /// threads and open files at the beginning and at the end, and latency
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    soak_minutes: Option<u32>,

    /// Print the table as one line of JSON
    #[arg(long)]
    json: bool,
}

/// One measurement.
#[derive(Debug, Serialize)]
struct Row {
    what: String,
    realtime_factor: f64,
    cores: f64,
    load: f64,
    latency_p50_ms: Option<f64>,
    latency_p99_ms: Option<f64>,
    rss_mib: f64,
    dropped: u64,
}

pub(crate) fn main(args: &Args, engine_args: &EngineArgs) -> anyhow::Result<()> {
    if engine_args.backend == Choice::All {
        return crate::engines::bench_all(engine_args, args.json);
    }
    gstseehear::init()?;
    let input = match &args.input {
        Some(path) => path.clone(),
        None => find(DEMO.as_ref()).context("no demo clip near this program; name a clip: seehear bench CLIP")?,
    };
    Input::File(input.clone()).check()?;
    let dir = std::env::temp_dir().join(format!("seehear-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).with_context(|| format!("{}", dir.display()))?;
    let result = match args.soak_minutes {
        Some(minutes) => soak(&input, &dir, minutes, engine_args),
        None => table(args, &input, &dir, engine_args),
    };
    std::fs::remove_dir_all(&dir).with_context(|| format!("{}", dir.display()))?;
    result
}

fn table(args: &Args, input: &Path, dir: &Path, engine_args: &EngineArgs) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for (width, height) in [(1280, 720), (1920, 1080)] {
        say::note(&format!("preparing {width}×{height} …"));
        let clip = dir.join(format!("{height}.mkv"));
        prepare(input, &clip, args.seconds, Some((width, height)))?;
        for (what, pipeline, output) in [
            (format!("file {height}p25 → events"), "file", None),
            (format!("file {height}p25 → overlay, H.264"), "file", Some(dir.join("out.mp4"))),
            (format!("live {height}p25 → events"), "realtime", None),
            (format!("live {height}p25 → overlay, H.264"), "realtime", Some(dir.join("out.mp4"))),
        ] {
            say::note(&format!("{what} …"));
            let job = job(&clip, pipeline, output)?;
            let (engine, backend) =
                engine::load(engine_args, engine::DEFAULT, Use { live: job.plan.live, quiet: true })?;
            rows.push(measure(what, &job, &engine, &backend)?);
        }
    }
    if args.json {
        say::result(&serde_json::to_string(&rows)?)?;
        return Ok(());
    }
    say::result("| what | × real time | cores | load of the analysis | latency p50 / p99, ms | RSS, MiB | dropped |")?;
    say::result("|---|---|---|---|---|---|---|")?;
    for r in &rows {
        let latency = match (r.latency_p50_ms, r.latency_p99_ms) {
            (Some(a), Some(b)) => format!("{a:.0} / {b:.0}"),
            _ => "–".to_owned(),
        };
        say::result(&format!(
            "| {} | {:.1} | {:.2} | {:.0} % | {latency} | {:.0} | {} |",
            r.what,
            r.realtime_factor,
            r.cores,
            r.load * 100.0,
            r.rss_mib,
            r.dropped
        ))?;
    }
    let (engine, _) = engine::load(engine_args, engine::DEFAULT, Use { live: true, quiet: false })?;
    let latency = seehear::session::declared_latency(&engine).as_ms_f64();
    say::result(&format!("algorithmic latency {latency:.0} ms; engine {}; {}", engine.manifest.name, machine()?))?;
    Ok(())
}

fn job(clip: &Path, pipeline: &str, output: Option<PathBuf>) -> anyhow::Result<Job> {
    let plan = Plan::built_in(pipeline)?;
    let sync = Job::sync_by_default(&plan, output.is_some());
    Ok(Job { output, salvage: true, sync, ..Job::new(Input::File(clip.to_owned()), plan) })
}

/// Writes events to nowhere, as a run does to a file.
struct Null(EventWriter<io::Sink>);

impl Observer for Null {
    fn header(&mut self, header: &Header) -> io::Result<()> {
        self.0.header(header.clone())
    }

    fn report(&mut self, report: &Report<'_>, _: SlotTiming) -> io::Result<()> {
        self.0.report(report)
    }
}

fn measure(what: String, job: &Job, engine: &Engine, backend: &AnyBackend) -> anyhow::Result<Row> {
    let cpu = cpu_time()?;
    let began = Instant::now();
    let mut rss = 0.0_f64;
    let mut look = |_| rss = rss.max(status("VmRSS").unwrap_or(0.0) / 1024.0);
    let mut null = Null(EventWriter::new(io::sink()));
    let s = gstseehear::run::run(job, engine, &**backend, &mut null, &mut look, &Control::default())?;
    let wall = began.elapsed().as_secs_f64();
    Ok(Row {
        what,
        realtime_factor: s.media_s / wall,
        cores: (cpu_time()? - cpu).as_secs_f64() / wall,
        load: s.load,
        latency_p50_ms: s.latency_ms.p50,
        latency_p99_ms: s.latency_ms.p99,
        rss_mib: rss,
        dropped: dropped(&s),
    })
}

fn dropped(s: &Summary) -> u64 {
    s.drops.video_overload + s.drops.audio_overload + s.drops.failed_slots + s.drops.undrawn_frames
}

fn soak(input: &Path, dir: &Path, minutes: u32, engine_args: &EngineArgs) -> anyhow::Result<()> {
    let (engine, backend) = engine::load(engine_args, engine::DEFAULT, Use { live: true, quiet: false })?;
    let clip = dir.join("soak.mkv");
    say::note("preparing the clip …");
    prepare(input, &clip, minutes * 60, None)?;
    let cpu = cpu_time()?;
    let began = Instant::now();
    let mut next = Duration::from_secs(30);
    let mut readings = Vec::new();
    let mut look = |_| {
        if began.elapsed() >= next {
            next += Duration::from_secs(30);
            let line = format!(
                "{:>5} s  RSS {:.1} MiB  threads {:.0}  files {}",
                began.elapsed().as_secs(),
                status("VmRSS").unwrap_or(0.0) / 1024.0,
                status("Threads").unwrap_or(0.0),
                std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
            );
            say::note(&line);
            readings.push(line);
        }
    };
    let mut null = Null(EventWriter::new(io::sink()));
    let job = job(&clip, "realtime", Some(dir.join("soak.mp4")))?;
    let s = gstseehear::run::run(&job, &engine, &*backend, &mut null, &mut look, &Control::default())?;
    let wall = began.elapsed().as_secs_f64();
    for (name, line) in [("first", readings.first()), ("last", readings.last())] {
        say::result(&format!("{name}: {}", line.map_or("none (too short)", String::as_str)))?;
    }
    say::result(&format!(
        "{:.0} s live with overlay and H.264: {:.2} cores, peak {:.0} MiB, latency p50 {:.0} p99 {:.0} ms, dropped {}; {}",
        s.media_s,
        (cpu_time()? - cpu).as_secs_f64() / wall,
        status("VmHWM")? / 1024.0,
        s.latency_ms.p50.unwrap_or(0.0),
        s.latency_ms.p99.unwrap_or(0.0),
        dropped(&s),
        machine()?
    ))?;
    Ok(())
}

/// The clip, looped to `seconds`, at another size where one is given.
fn prepare(input: &Path, to: &Path, seconds: u32, size: Option<(u32, u32)>) -> anyhow::Result<()> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-y", "-stream_loop", "-1", "-i"]).arg(input);
    ffmpeg.args(["-t", &seconds.to_string(), "-map", "0:v:0", "-map", "0:a:0"]);
    match size {
        Some((w, h)) => {
            let fit = format!("fps=25,scale={w}:{h}:force_original_aspect_ratio=increase,crop={w}:{h},setsar=1");
            ffmpeg.args(["-vf", &fit, "-c:v", "libx264", "-preset", "veryfast", "-crf", "23", "-c:a", "aac"]);
        }
        None => {
            ffmpeg.args(["-c", "copy"]);
        }
    }
    let done = ffmpeg.arg(to).output().context("ffmpeg prepares the clips; install it (make setup does)")?;
    if !done.status.success() {
        bail!("{}: ffmpeg: {}", input.display(), String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(())
}

/// A field of /proc/self/status: kB or a count.
fn status(field: &str) -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let line = text.lines().find_map(|l| l.strip_prefix(field)?.strip_prefix(':')).context("a field of /proc")?;
    line.split_whitespace().next().and_then(|n| n.parse().ok()).context("a number of /proc")
}

/// CPU time of this process, all threads.
fn cpu_time() -> anyhow::Result<Duration> {
    let text = std::fs::read_to_string("/proc/self/stat").context("/proc/self/stat")?;
    // After the name in brackets, which may hold spaces: fields 3 and on; 14 and 15 are user and system ticks.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).context("a number of /proc");
    // USER_HZ is 100 in every Linux ABI that we build for.
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}

pub(crate) fn machine() -> anyhow::Result<String> {
    let cpus = std::thread::available_parallelism().context("how many cores?")?;
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|l| l.strip_prefix("model name")).and_then(|l| l.split(':').nth(1));
    Ok(format!("{cpus} cores, {}", model.unwrap_or("unknown processor").trim()))
}
