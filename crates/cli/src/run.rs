//! `seehear run`.

use crate::bar::Bar;
use crate::engine::Use;
use crate::serve::{ServeArgs, Service, Teller};
use crate::signals::Signals;
use crate::{EngineArgs, calibrate, engine, say};
use anyhow::Context;
use gstseehear::input::Input;
use gstseehear::output::PendingFile;
use gstseehear::plan::Plan;
use gstseehear::run::{Control, Job, Observer, Progress, SlotTiming};
use gstseehear::sync::SyncMode;
use seehear::correct::SyncState;
use seehear::events::{EventWriter, Header, Summary, SyncEvent};
use seehear::session::Report;
use seehear::time::{SLOT, Timestamp};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

const EXAMPLES: &str = "\
Examples:
  seehear run talk.mp4 -o out.mp4 -e events.jsonl    highlighted picture and events of a file
  seehear run talk.mp4 --display --heatmap           watch it, with what the network attends to
  seehear run /dev/video0 --display --set microphone=hw:2
                                                     a camera and one of `arecord -l`
  seehear run rtsp://camera/1 -o meeting.mkv         record an IP camera until Ctrl-C
  seehear run rtsp://camera/1 --stream srt://:9000 --stream rtmp://server/live/key
  seehear run /dev/video0 --stream rtsp://ann:secret@0.0.0.0:8554/room
  seehear run /dev/video0 --frame-speaker --stream /dev/video9
                                                     a conference camera that frames who speaks
                                                     the highlighted picture to others
  seehear run test --display --duration 5            does this machine show and play anything?
  seehear run talk.mp4 --json | jq .on_screen_s      one number for a script
  seehear run rtsp://camera/1 -o meeting.mkv --sync measure
                                                     the same, its sound and picture left as they come
  seehear run /dev/video0 --http 8080                a dashboard at http://127.0.0.1:8080/, and events for programs
  seehear run torn.mp4 --salvage -o rest.mp4         what can still be read of a damaged file

Ctrl-C, or closing the window, ends a run in order: files are whole up to there. A file gets its name when it \
is whole. Events are described in docs/events.md, pipelines and --set in pipelines/README.md.

Live sync (docs/sync.md): the offset between picture and sound is measured all the time, and in what a live pipeline \
writes or shows the stream that comes too early is delayed until both fit, so slowly that nobody notices. \
`kill -USR1 PID` applies what is known by now at once. [sync] of the pipeline file sets speed and limits.

Exit codes: 0 done, 1 failed, 2 usage.";

/// Find the active speaker in a file or a live source.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// A file, a URI (rtsp://, srt://, https://, …), a camera (/dev/video0), or "test" for a test picture with a tone
    input: String,

    /// Write the picture with the highlight and its sound; .mp4 (H.264, AAC) or .mkv (H.264, FLAC: the sound unchanged)
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Send the same to a server or a device, live: rtmp://…, srt://…, rtsp://ADDRESS:8554/NAME (a server
    /// that viewers open), FILE.m3u8 (HLS), /dev/videoN (v4l2 loopback); may be
    /// given several times. What a far end does not take in time is dropped and counted; one that fails is tried again
    #[arg(long = "stream", value_name = "TARGET")]
    streams: Vec<String>,

    /// Show the picture with the highlight, and play the sound; a file is played at the speed of the clock
    #[arg(long)]
    display: bool,

    /// Crop what is shown to who speaks, smoothly, two people side by side, everybody when nobody speaks (docs/framing.md); in the
    /// source's size, or in SIZE, as in --frame-speaker=1280x720
    #[arg(long, value_name = "SIZE", num_args = 0..=1, require_equals = true, default_missing_value = "source")]
    frame_speaker: Option<gstseehear::framer::FrameSize>,

    /// Draw over the picture how strongly each place agrees with the sound; with --output or --display
    #[arg(long)]
    heatmap: bool,

    /// Write who speaks, where, and the A/V offset as JSON lines, one every 40 ms; "-" is standard output
    #[arg(short, long, value_name = "FILE|-")]
    events: Option<PathBuf>,

    /// Print the summary as one line of JSON on standard output, and nothing else
    #[arg(long)]
    json: bool,

    /// No progress bar and no words; errors are still told
    #[arg(short, long)]
    quiet: bool,

    /// Take a file at the speed of the clock, as if it were live: latency is measured, and what is too late is dropped
    #[arg(long)]
    realtime: bool,

    /// A pipeline file of your own, or a built-in one by name (camera, file, realtime, rtsp, srt, test)
    #[arg(short, long, value_name = "NAME|FILE")]
    pipeline: Option<String>,

    /// A value for a {name} in the pipeline, as in --set latency=100 for rtsp; may be given several times
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parse_set)]
    values: Vec<(String, String)>,

    /// Height of the picture that the network sees, pixels (the engine's own by default); larger finds smaller faces
    /// and takes longer
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u16).range(32..=2160))]
    net_height: Option<u16>,

    /// What is done about the offset between picture and sound. "off": it is not told. "measure": it is told. "correct":
    /// what is written or shown is corrected too; live pipelines only, with --output or --display, and the default there
    #[arg(long, value_name = "MODE", value_enum, hide_possible_values = true)]
    sync: Option<Sync>,

    /// Take what can be read of a truncated or corrupt file, instead of refusing it
    #[arg(long)]
    salvage: bool,

    /// What `seehear calibrate` measured of this device or room: a file, or the name of one in calibration/
    #[arg(long, value_name = "NAME|FILE")]
    calibration: Option<String>,

    /// Which of the input's sound tracks is taken, from 1
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    audio_track: u16,

    /// Stop after this much of the input, seconds, as in 12.5
    #[arg(long, value_name = "S", value_parser = parse_seconds)]
    duration: Option<f64>,

    #[command(flatten)]
    serve: ServeArgs,
}

/// As [`SyncMode`].
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Sync {
    Off,
    Measure,
    Correct,
}

impl From<Sync> for SyncMode {
    fn from(sync: Sync) -> Self {
        match sync {
            Sync::Off => Self::Off,
            Sync::Measure => Self::Measure,
            Sync::Correct => Self::Correct,
        }
    }
}

pub(crate) fn parse_set(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(crate) fn parse_seconds(text: &str) -> Result<f64, String> {
    let s: f64 = text.parse().map_err(|_| "expected seconds, as in 12.5".to_owned())?;
    if s > 0.0 && s.is_finite() { Ok(s) } else { Err("expected a time above 0".to_owned()) }
}

pub(crate) fn main(args: &Args, engine_args: &EngineArgs) -> anyhow::Result<()> {
    let mut job = job(args)?;
    // What can be known to be wrong is said before anything is loaded.
    job.input.check()?;
    let stdout_taken = args.events.as_deref().is_some_and(|p| p.as_os_str() == "-");
    if stdout_taken && args.json {
        usage("--json and --events - both want standard output; give the events a file");
    }
    let events_file = match &args.events {
        Some(path) if !stdout_taken => Some(PendingFile::create(path)?),
        _ => None,
    };
    let (engine, backend) = {
        let to = Use { live: job.plan.live, quiet: args.quiet || args.json };
        engine::load(engine_args, engine::DEFAULT, to)?
    };
    if let Some(name) = &args.calibration {
        calibrate::apply(name, &engine, &mut job, args.quiet || args.json)?;
    }
    let control = Arc::new(Control::default());
    let signals = Signals::catch(args.serve.reloads())?;
    let mut service = Service::start(&args.serve, &mut job, args.quiet || args.json)?;

    let out: Option<Box<dyn Write + Send>> = match &events_file {
        Some(file) => Some(Box::new(BufWriter::new(File::create(file.path()).context("events")?))),
        None if stdout_taken => Some(Box::new(io::stdout())),
        None => None,
    };
    let mut talker = Talker {
        writer: out.map(EventWriter::new),
        // On a pipe or live, every slot is handed on at once.
        flush: stdout_taken || job.plan.live,
        turns: Turns::default(),
        until: args.duration.map(|s| Duration::from_secs_f64(s).as_nanos()),
        control: Arc::clone(&control),
        teller: service.as_ref().map(Service::teller),
    };
    let bar = Bar::new(!args.quiet && !args.json);
    let mut averaged_channels = 0;
    let mut look = |p: Progress| {
        averaged_channels = p.averaged_channels;
        if signals.stop() {
            control.stop();
        }
        if let Some(service) = &mut service {
            service.progress(&p);
            if signals.take_reload() {
                service.reload();
            }
        }
        if signals.take_step() {
            match job.sync {
                SyncMode::Correct => control.step_sync(),
                SyncMode::Off | SyncMode::Measure => say::note("SIGUSR1: nothing to step, this run corrects nothing"),
            }
        }
        if !args.quiet && !args.json {
            p.news.iter().for_each(|news| bar.say(&news.to_string()));
            p.stream_news.iter().for_each(|news| bar.say(&news.to_string()));
        }
        bar.update(&p);
    };
    let result = gstseehear::run::run(&job, &engine, &*backend, &mut talker, &mut look, &control);
    bar.finish();
    if let Some(service) = service {
        service.end(result.as_ref().ok());
    }
    let summary = match result {
        Err(error) if job.plan.live => {
            // What a live source gave before it failed is kept: whole lines, no summary.
            drop(talker.writer.take());
            if let Some(file) = events_file {
                file.commit()?;
            }
            if !args.quiet && error.leaves_a_recording() {
                written(args).for_each(|path| say::note(&format!("kept up to the failure: {}", path.display())));
            }
            return Err(error.into());
        }
        other => other?,
    };
    if let Some(writer) = &mut talker.writer {
        match writer.summary(summary.clone()) {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {}
            other => other.context("events")?,
        }
    }
    drop(talker.writer.take());
    if let Some(file) = events_file {
        file.commit()?;
    }
    if args.json {
        say::result(&serde_json::to_string(&summary)?)?;
    } else if !args.quiet {
        if averaged_channels > 0 {
            say::note(&format!(
                "the sound's {averaged_channels} channels have no positions: taken as their average, written as stereo"
            ));
        }
        talker.turns.end();
        for line in words(&summary, &talker.turns, args) {
            say::note(&line);
        }
    }
    Ok(())
}

/// Ends the program as clap does for wrong usage.
fn usage(why: &str) -> ! {
    use clap::CommandFactory;
    crate::Cli::command().error(clap::error::ErrorKind::ArgumentConflict, why).exit()
}

fn job(args: &Args) -> anyhow::Result<Job> {
    let shown = args.output.is_some() || args.display || !args.streams.is_empty();
    if args.heatmap && !shown {
        usage("--heatmap is drawn over the picture: it needs --output FILE, --stream TARGET or --display");
    }
    if args.frame_speaker.is_some() && !shown {
        usage("--frame-speaker crops what is shown: it needs --output FILE, --stream TARGET or --display");
    }
    let input = Input::parse(&args.input);
    let name = match &args.pipeline {
        Some(name) => name.as_str(),
        // Who looks and listens does so by the clock.
        None if (args.realtime || args.display || !args.streams.is_empty()) && input.pipeline() == "file" => "realtime",
        None => input.pipeline(),
    };
    let mut plan = if name.contains(['/', '.']) { Plan::load(name.as_ref())? } else { Plan::built_in(name)? };
    for (option, given) in
        [("--realtime", args.realtime), ("--display", args.display), ("--stream", !args.streams.is_empty())]
    {
        if given && !plan.live {
            usage(&format!("{option} needs a live pipeline; {name} is not (leave --pipeline out, or use realtime)"));
        }
    }
    let sync = args.sync.map_or_else(|| Job::sync_by_default(&plan, shown), SyncMode::from);
    if sync == SyncMode::Correct && !plan.live {
        usage(&format!(
            "--sync correct needs a live pipeline; {name} is not. A file has one offset from end to end, which \
             `seehear sync --fix` takes out (or play it as if it were live: --realtime)"
        ));
    }
    if sync == SyncMode::Correct && !shown {
        usage("--sync correct corrects what is written or shown: it needs --output FILE, --stream TARGET or --display");
    }
    if let Some(h) = args.net_height {
        plan.stages.net_height = Some(usize::from(h));
    }
    Ok(Job {
        values: args.values.iter().cloned().collect(),
        output: args.output.clone(),
        streams: args.streams.clone(),
        display: args.display,
        heatmap: args.heatmap,
        framing: args.frame_speaker,
        salvage: args.salvage,
        audio_track: usize::from(args.audio_track) - 1,
        sync,
        ..Job::new(input, plan)
    })
}

/// Who spoke when, for people.
#[derive(Debug, Default)]
struct Turns {
    /// (object id, start, end); the last ones may still be going on.
    turns: Vec<(u32, Timestamp, Timestamp)>,
    open: Vec<usize>,
}

impl Turns {
    /// So many are kept: a live run of months does not fill the memory.
    const KEPT: usize = 10_000;

    fn report(&mut self, report: &Report<'_>) {
        let speaks = |id: u32| report.speakers.iter().any(|s| s.speaking && s.object.id == id);
        let turns = &self.turns;
        self.open.retain(|&i| speaks(turns[i].0));
        for &i in &self.open {
            self.turns[i].2 = report.start + SLOT;
        }
        for s in report.speakers.iter().filter(|s| s.speaking) {
            let known = self.open.iter().any(|&i| self.turns[i].0 == s.object.id);
            if !known && self.turns.len() < Self::KEPT {
                self.open.push(self.turns.len());
                self.turns.push((s.object.id, report.start, report.start + SLOT));
            }
        }
    }

    fn end(&mut self) {
        self.open.clear();
    }
}

/// Takes reports: events out, turns remembered, the end of `--duration` watched for.
struct Talker {
    writer: Option<EventWriter<Box<dyn Write + Send>>>,
    flush: bool,
    turns: Turns,
    until: Option<u128>,
    control: Arc<Control>,
    teller: Option<Teller>,
}

impl Observer for Talker {
    fn header(&mut self, header: &Header) -> io::Result<()> {
        if let Some(teller) = &self.teller {
            teller.header(header);
        }
        match &mut self.writer {
            Some(w) => w.header(header.clone()),
            None => Ok(()),
        }
    }

    fn report(&mut self, report: &Report<'_>, timing: SlotTiming) -> io::Result<()> {
        if self.until.is_some_and(|ns| u128::try_from(report.start.ns()).is_ok_and(|t| t >= ns)) {
            self.control.stop();
            return Ok(());
        }
        self.turns.report(report);
        if let Some(teller) = &self.teller {
            teller.report(report, timing, &self.control);
        }
        if let Some(w) = &mut self.writer {
            w.report(report)?;
            if self.flush {
                w.flush()?;
            }
        }
        Ok(())
    }
}

fn words(s: &Summary, turns: &Turns, args: &Args) -> Vec<String> {
    let mut lines = Vec::new();
    let shown = 40;
    for (id, start, end) in turns.turns.iter().take(shown) {
        lines.push(format!("{start} … {end}  speaker {id}"));
    }
    if turns.turns.len() > shown {
        lines.push(format!("… and {} more turns (--events FILE has them all)", turns.turns.len() - shown));
    }
    if turns.turns.is_empty() {
        lines.push("nobody in the picture was found speaking".to_owned());
    }
    let end = if s.interrupted { ", interrupted" } else { "" };
    lines.push(format!(
        "{:.1} s in {:.1} s ({:.1}× real time{end}): a speaker on screen {:.1} s, a voice off screen {:.1} s",
        s.media_s, s.wall_s, s.realtime_factor, s.on_screen_s, s.off_screen_s
    ));
    if let (Some(p50), Some(p99)) = (s.latency_ms.p50, s.latency_ms.p99) {
        lines.push(format!(
            "latency {p50:.0} ms (p50), {p99:.0} ms (p99), of which {:.0} ms algorithmic; load {:.0} %",
            s.latency_ms.algorithmic,
            s.load * 100.0
        ));
    }
    lines.extend(s.sync.map(sync_words));
    let d = &s.drops;
    let drops = [
        (d.video_overload, "frames dropped by overload"),
        (d.audio_overload, "sound buffers dropped by overload"),
        (d.late_frames, "frames out of order"),
        (d.unusable_buffers, "buffers without time or content"),
        (d.failed_slots, "slots failed"),
        (d.cut_off_slots, "slots cut off by a jump"),
        (d.shed_slots, "slots told by the last map, the network being too slow"),
        (d.audio_gaps, "gaps in the sound"),
        (d.undrawn_frames, "pictures without their own result"),
        (d.stepped_over_frames, "pictures stepped over"),
        (d.unstreamed, "pictures and sound buffers that a stream had no room for"),
        (s.jumps, "jumps of the time line"),
        (s.reconnects, "times that the source was lost and came back"),
    ];
    let lost: Vec<String> = drops.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    if !lost.is_empty() {
        lines.push(format!("not in order: {}", lost.join(", ")));
    }
    lines.extend(written(args).map(|path| format!("wrote {}", path.display())));
    lines
}

/// The correction at the end of a run.
fn sync_words(sync: SyncEvent) -> String {
    let (size, goal) = (sync.applied_ms.abs(), sync.target_ms);
    let done = if sync.applied_ms > 0.0 {
        format!("the sound came late, the picture was delayed by {size:.0} ms")
    } else if sync.applied_ms < 0.0 {
        format!("the sound came early, and was delayed by {size:.0} ms")
    } else {
        "nothing was delayed".to_owned()
    };
    let state = match sync.state {
        SyncState::Off => "switched off".to_owned(),
        SyncState::Measuring => "nothing sure was measured".to_owned(),
        SyncState::Holding => "in sync".to_owned(),
        SyncState::Slewing => format!("on the way to {:.0} ms", goal.abs()),
        SyncState::Clamped => "the offset is larger than sync.max_delay_ms of the pipeline".to_owned(),
    };
    format!("sync: {done} ({state})")
}

/// The files that a run writes.
fn written(args: &Args) -> impl Iterator<Item = &PathBuf> {
    [&args.output, &args.events].into_iter().flatten().filter(|path| path.as_os_str() != "-")
}
