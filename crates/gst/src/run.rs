//! A run: a source, the element [`seehear`](crate::element) and the outputs, and the analysis on a thread of its own.
//!
//! ```text
//!           ┌──────────────────────────── seehear ───────────────────────────────┐
//!         ┌─┤ video ─ convert ─ tee ─┬─ appsink ─▶ inbox ─▶ analysis thread ─▶ events
//!         │ │                        └─ queue ─ seehearoverlay ─(later)──────────├─ tee ─▶ file, display
//! source ─┤ │                                        ▲ board ◀── analysis        │
//!         └─┤ audio ─ convert ─ tee ─┬─ 16 kHz mono ─ appsink ─▶ inbox           │
//!           │                        └─(later)───────────────────────────────────├─ tee ─▶ file, display
//!           └────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! (later): with live correction only, [`crate::sync`].
//!
//! GStreamer's threads decode and encode; one thread of ours runs the session. A file waits for the analysis; a live
//! source never does (queues drop by their policy, and count).

use crate::element::Seehear;
use crate::error::RunError;
use crate::fill;
use crate::framer::FrameSize;
use crate::input::Input;
use crate::output::{self, DisplayError, PendingFile};
use crate::overlay::SeehearOverlay;
use crate::plan::Plan;
use crate::run::analysis::{Analysis, Outcome};
use crate::run::course::{Course, Next, Seen};
use crate::run::errors::Trouble;
use crate::run::graph::{Drawing, GraphOptions, Shared};
pub use crate::run::tap::Tap;
use crate::source::Found;
use crate::stream::{StreamNews, StreamOut};
pub use crate::supply::News;
use crate::supply::{Failure, Supply};
use crate::sync::SyncMode;
use crate::time::{clock_time, delta};
use gst::prelude::*;
use seehear::events::{Drops, Header, Summary, SyncEvent};
use seehear::net::{Backend, Engine};
use seehear::session::Report;
use seehear::sync_meter::Stretch;
use seehear::time::{SLOT, TimeDelta, Timestamp};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

mod analysis;
mod course;
mod errors;
pub(crate) mod graph;
mod intake;
mod listen;
mod tap;

pub use listen::{Heard, listen};

/// So long a demuxer may take to find the streams of a file; it takes some milliseconds.
const TO_FIND: Duration = Duration::from_secs(10);

/// Takes what the analysis says, on its thread.
pub trait Observer: Send {
    /// Once, before the first report: the source is known.
    ///
    /// # Errors
    /// End the run; a broken pipe ends it cleanly.
    fn header(&mut self, header: &Header) -> io::Result<()>;

    /// Every slot.
    ///
    /// # Errors
    /// As for the header.
    fn report(&mut self, report: &Report<'_>, timing: SlotTiming) -> io::Result<()>;

    /// After the last report of a session: what its sync meter, if it has one, had begun.
    fn last_stretch(&mut self, _stretch: &Stretch) {}
}

/// How long a slot took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotTiming {
    /// Work of the analysis since the report before.
    pub busy: Duration,
    /// From its last picture's arrival to its report; live only.
    pub latency: Option<Duration>,
}

/// How far a run has come, and what it has met.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Time of the last report.
    pub at: Timestamp,
    /// Length of the input, where it is known.
    pub length: Option<TimeDelta>,
    /// Slots told.
    pub slots: u64,
    /// Time since the start.
    pub wall: Duration,
    /// Sound channels that are averaged because nobody says where they stand; 0 where there are none such.
    pub averaged_channels: u32,
    /// What was not done so far.
    pub drops: Drops,
    /// The source was lost, or is back.
    pub news: Option<News>,
    /// What became of streams out.
    pub stream_news: Vec<StreamNews>,
}

/// What to run.
#[derive(Debug)]
pub struct Job {
    /// The input.
    pub input: Input,
    /// How it is read, queued and written.
    pub plan: Plan,
    /// Values for the plan's `{…}` places, over its defaults.
    pub values: BTreeMap<String, String>,
    /// File for the highlighted picture with the original sound.
    pub output: Option<PathBuf>,
    /// Streams of the same ([`crate::stream::StreamPlan::of`]).
    pub streams: Vec<String>,
    /// Show it too.
    pub display: bool,
    /// Draw the heat map.
    pub heatmap: bool,
    /// Crop what is shown to who speaks, to this size.
    pub framing: Option<FrameSize>,
    /// Take what can be read of a damaged file; otherwise damage is an error.
    pub salvage: bool,
    /// Which of the sound tracks is taken, from 0.
    pub audio_track: usize,
    /// Analyse samples of the input only.
    pub sample: Option<Sample>,
    /// What is done about the offset between picture and sound. To correct it takes a live plan, and an output or a
    /// display; [`Job::sync_by_default`].
    pub sync: SyncMode,
    /// How much later than its picture the device is known to give its sound: the earlier stream is held back by as much
    /// before anything else sees it.
    pub device_offset: TimeDelta,
    /// Who looks at single pictures while it runs.
    pub tap: Option<Arc<dyn Tap>>,
}

/// Of every `every` of the input only the first `take` is analysed; each sample is a programme of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The period.
    pub every: TimeDelta,
    /// How much of it.
    pub take: TimeDelta,
}

impl Sample {
    /// Whether what begins at `at` is analysed, and in which sample.
    pub(crate) fn index(self, at: Timestamp) -> Option<i64> {
        let ns = at.ns().max(0);
        (ns.rem_euclid(self.every.ns()) < self.take.ns()).then(|| ns.div_euclid(self.every.ns()))
    }
}

/// What may be asked of a run while it goes on, from any thread.
#[derive(Debug, Default)]
pub struct Control {
    stop: AtomicBool,
    step_sync: AtomicBool,
    any_asked: AtomicBool,
    asked: Mutex<Asked>,
}

/// Changes asked for; they hold from the next slot on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Asked {
    /// Probability from which on somebody is said to speak.
    pub(crate) threshold: Option<f32>,
    /// Whether objects are drawn.
    pub(crate) marks: Option<bool>,
    /// Whether the heat map is.
    pub(crate) heatmap: Option<bool>,
}

impl Control {
    /// End it in order: outputs are whole up to there.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Whether it has been asked to end.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Apply the correction that is known by now at once, instead of slewing to it. It reaches the output with the next
    /// slot that is analysed and [`SyncCurve::lag`](crate::sync::SyncCurve::lag). Nothing happens where the run does not correct.
    pub fn step_sync(&self) {
        self.step_sync.store(true, Ordering::Release);
    }

    /// From the next slot on somebody is said to speak from this probability on
    /// ([`seehear::asd::SpeakingConfig::set_threshold`]).
    pub fn set_threshold(&self, probability: f32) {
        self.ask(|asked| asked.threshold = Some(probability));
    }

    /// Objects are drawn, or not, in what is written or shown. Nothing happens where nothing is.
    pub fn show_marks(&self, show: bool) {
        self.ask(|asked| asked.marks = Some(show));
    }

    /// As [`Control::show_marks`], for the heat map.
    pub fn show_heatmap(&self, show: bool) {
        self.ask(|asked| asked.heatmap = Some(show));
    }

    fn ask(&self, what: impl FnOnce(&mut Asked)) {
        what(&mut self.asked.lock().unwrap_or_else(PoisonError::into_inner));
        self.any_asked.store(true, Ordering::Release);
    }

    /// What was asked for since the last time this was.
    fn take_asked(&self) -> Option<Asked> {
        let any = self.any_asked.swap(false, Ordering::Acquire);
        any.then(|| std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Whether a step was asked for since the last time this was.
    fn take_step(&self) -> bool {
        self.step_sync.swap(false, Ordering::AcqRel)
    }
}

impl Job {
    /// Analyses `input` as `plan` says, the first sound track, all of it; nothing is written, shown or corrected.
    #[must_use]
    pub fn new(input: Input, plan: Plan) -> Self {
        Self {
            input,
            plan,
            values: BTreeMap::new(),
            output: None,
            streams: Vec::new(),
            display: false,
            heatmap: false,
            framing: None,
            salvage: false,
            audio_track: 0,
            sample: None,
            sync: SyncMode::Measure,
            device_offset: TimeDelta::ZERO,
            tap: None,
        }
    }

    /// What is done where nobody says: what a live pipeline writes or shows is corrected.
    #[must_use]
    pub fn sync_by_default(plan: &Plan, output: bool) -> SyncMode {
        if plan.live && output { SyncMode::Correct } else { SyncMode::Measure }
    }

    /// Whether anybody sees the highlighted picture.
    #[must_use]
    pub fn shown(&self) -> bool {
        self.output.is_some() || self.display || !self.streams.is_empty()
    }

    /// Damage ends the run: of a file, unless the user wants what is left of it. A live source has its losses.
    fn strict(&self) -> bool {
        !self.plan.live && !self.salvage
    }
}

/// Runs a job to the end of its input, or until it is stopped (the outputs are then whole up to there).
///
/// # Errors
/// Names the input or the output, the time and the remedy. A file being written is removed, unless the source is live:
/// a recording is kept up to the failure.
pub fn run(
    job: &Job,
    engine: &Engine,
    backend: &(dyn Backend + Sync),
    observer: &mut dyn Observer,
    progress: &mut dyn FnMut(Progress),
    control: &Control,
) -> Result<Summary, RunError> {
    crate::init()?;
    job.input.check()?;
    if job.sync == SyncMode::Correct && !(job.plan.live && job.shown()) {
        return Err(setup("the offset is corrected in what a live pipeline writes or shows, and nowhere else"));
    }
    let values = values(job)?;
    let file = job.output.as_deref().map(|path| prepare_output(job, path)).transpose()?;
    let built = Built::new(job, seehear::session::declared_latency(engine), &values, file.as_ref()).map_err(|e| {
        // A missing element is no matter of Debian's packages there.
        match (e, &job.plan.needs) {
            (RunError::Setup { why }, Some(needs)) => setup(&format!("this pipeline needs {needs}: {why}")),
            (e, _) => e,
        }
    })?;
    let summary = built.play(job, engine, backend, observer, progress, control);
    let keep = summary.is_ok() || (job.plan.live && summary.as_ref().is_err_and(RunError::leaves_a_recording));
    if let Some(file) = file
        && keep
    {
        file.commit()?;
    }
    summary
}

/// Values for the plan's `{…}` places.
fn values(job: &Job) -> Result<BTreeMap<String, String>, RunError> {
    let mut values = job.plan.defaults.clone();
    values.extend(job.input.values()?);
    values.extend(job.values.clone());
    Ok(values)
}

fn prepare_output(job: &Job, path: &std::path::Path) -> Result<PendingFile, RunError> {
    output::container(&job.plan, path)?;
    if let Input::File(input) = &job.input
        && let (Ok(a), Ok(b)) = (input.canonicalize(), path.canonicalize())
        && a == b
    {
        return Err(RunError::Output { path: path.to_owned(), why: "is the input itself; choose another name".into() });
    }
    PendingFile::create(path)
}

/// A pipeline ready to play.
struct Built {
    pipeline: gst::Pipeline,
    found: Arc<Found>,
    supply: RefCell<Supply>,
    streams: RefCell<Vec<StreamOut>>,
    stream_news: RefCell<Vec<StreamNews>>,
    /// Pictures and sound that streams did not take in time.
    unstreamed: Arc<AtomicU64>,
    shared: Arc<Shared>,
    overlay: Option<SeehearOverlay>,
    /// Where the end of the stream is put in when the run is stopped.
    gates: [gst::Pad; 2],
    /// Held for their end.
    _sinks: graph::Sinks,
    output: Option<PathBuf>,
}

impl Built {
    fn new(
        job: &Job,
        latency: TimeDelta,
        values: &BTreeMap<String, String>,
        file: Option<&PendingFile>,
    ) -> Result<Self, RunError> {
        let pipeline = gst::Pipeline::new();
        let (element, graph) = Seehear::driven(
            latency,
            &GraphOptions {
                plan: &job.plan,
                drawn: job.shown().then_some(Drawing {
                    marks: true,
                    heatmap: job.heatmap,
                    roi: false,
                    framing: job.framing,
                }),
                corrected: job.sync == SyncMode::Correct,
                tap: job.tap.clone(),
            },
        )?;
        output::chain(&pipeline, &[element.upcast_ref()])?;
        let (mut streams, unstreamed) = (Vec::new(), Arc::default());
        if let Some(out) = &graph.out {
            let (picture, sound) =
                (tee(&pipeline, &element, Seehear::OUT.0)?, tee(&pipeline, &element, Seehear::OUT.1)?);
            let tees = (&picture, &sound);
            if job.plan.live
                && let (Some(video), Some(audio)) =
                    (element.static_pad(Seehear::OUT.0), element.static_pad(Seehear::OUT.1))
            {
                fill::gaps(&video, &audio, clock_time(TimeDelta::from_ms(job.plan.max_lead_ms) + out.ahead));
            }
            if let Some(file) = file {
                let container = output::container(&job.plan, file.target())?;
                let lead = job.plan.live.then(|| TimeDelta::from_ms(job.plan.max_lead_ms));
                output::build_file(&pipeline, container, values, file.path(), tees, (out.ahead, lead))?;
            }
            for target in &job.streams {
                let name = Input::parse(target).name();
                streams.push(StreamOut::new(target, name, &pipeline, tees, &unstreamed)?);
            }
            if job.display {
                output::build_display(&pipeline, &job.plan, values, tees, out.ahead)?;
            }
        }

        if job.strict() {
            be_strict(&pipeline);
        }
        let early = if job.device_offset > TimeDelta::ZERO { &graph.inputs.video } else { &graph.inputs.audio };
        early.set_offset(job.device_offset.ns().abs());
        let (supply, found) = Supply::new(&job.plan, values, &pipeline, element.targets()?, job.audio_track)?;
        let output = job.output.clone();
        Ok(Self {
            pipeline,
            found,
            supply: RefCell::new(supply),
            streams: RefCell::new(streams),
            stream_news: RefCell::default(),
            unstreamed,
            shared: graph.shared,
            overlay: graph.out.map(|o| o.overlay),
            gates: graph.gates,
            _sinks: graph.sinks,
            output,
        })
    }

    fn play(
        &self,
        job: &Job,
        engine: &Engine,
        backend: &(dyn Backend + Sync),
        observer: &mut dyn Observer,
        progress: &mut dyn FnMut(Progress),
        control: &Control,
    ) -> Result<Summary, RunError> {
        let of = Analysed { job, engine, backend, shared: &self.shared };
        let started = Instant::now();
        let (watched, outcome) = self.attend(job, progress, control, || analyse(&of, observer, control))?;
        let undrawn = self.overlay.as_ref().map_or(0, SeehearOverlay::undrawn);
        let summary = summary(&of, outcome, undrawn, started.elapsed(), watched.interrupted);
        let drops = Drops { unstreamed: self.unstreamed.load(Ordering::Relaxed), ..summary.drops };
        Ok(Summary { reconnects: self.supply.borrow().returns(), drops, ..summary })
    }

    /// Plays the pipeline, with `work` on a thread of its own that takes from the inbox until both streams have ended.
    fn attend<T: Send>(
        &self,
        job: &Job,
        progress: &mut dyn FnMut(Progress),
        control: &Control,
        work: impl FnOnce() -> Result<T, RunError> + Send,
    ) -> Result<(Watched, T), RunError> {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new()
                .name("analysis".into())
                .spawn_scoped(scope, work)
                .map_err(|e| setup(&format!("no thread for the analysis: {e}")))?;
            let started = Instant::now();
            let watched = self.watch(job, progress, control, started, || thread.is_finished());
            // Whatever happened: nobody may wait for anybody now.
            if watched.is_err() {
                self.shared.inbox.close();
            }
            let outcome = thread.join().map_err(|_| setup("the analysis thread panicked; please report this"))?;
            if let Some(board) = &self.shared.board {
                board.finish();
            }
            let stopped = self.pipeline.set_state(gst::State::Null);
            let watched = watched?;
            let outcome = outcome?;
            stopped.map_err(|e| setup(&format!("the pipeline did not stop: {e}")))?;
            if job.strict() && !watched.interrupted {
                self.whole(job, &watched)?;
            }
            Ok((watched, outcome))
        })
    }

    /// Whether the file was whole, now that it has been read to its end.
    fn whole(&self, job: &Job, watched: &Watched) -> Result<(), RunError> {
        const REMEDY: &str = "copy or record the file again, or take what can be read with --salvage";
        let broken = |at, why| Err(RunError::Broken { input: job.input.name(), at, why });
        let corrupt = self.shared.corrupt.load(Ordering::Relaxed);
        if corrupt > 0 {
            let at = Timestamp::from_ns(self.shared.corrupt_at.load(Ordering::Relaxed));
            return broken(at, format!("the picture is corrupt from here on ({corrupt} frames); {REMEDY}"));
        }
        // A stream may begin late: the slots count from its beginning, its time stamps from the file's.
        let told = SLOT * i64::try_from(self.shared.slots.load(Ordering::Relaxed)).unwrap_or(0);
        let reached = told.max(TimeDelta::from_ns(self.shared.reached.load(Ordering::Relaxed)));
        if let Some(length) = watched.length {
            let short = length - reached;
            // Lengths of some containers are estimates, and a stream may begin late.
            if short > TimeDelta::from_ms(1_000) && short.ns() > length.ns().div_euclid(20) {
                let why = format!(
                    "the file ends here, {:.1} s before the length that it declares: it is truncated or corrupt; {REMEDY}",
                    short.as_s_f64()
                );
                return broken(self.at().unwrap_or_default(), why);
            }
        }
        Ok(())
    }

    /// Watches the pipeline to its end.
    fn watch(
        &self,
        job: &Job,
        progress: &mut dyn FnMut(Progress),
        control: &Control,
        started: Instant,
        analysed: impl Fn() -> bool,
    ) -> Result<Watched, RunError> {
        let bus = self.pipeline.bus().ok_or_else(|| setup("a pipeline without a bus"))?;
        let mut trouble = Trouble::new(job.input.name(), self.output.clone());
        let mut course = Course::new(job.plan.live, started);
        let mut length = None;
        if self.pipeline.set_state(gst::State::Playing).is_err() {
            while let Some(message) = bus.pop() {
                trouble.note(&message);
            }
            return Err(trouble.error(None, self.at()));
        }
        loop {
            let mut news = None;
            match bus.timed_pop(gst::ClockTime::from_mseconds(40)) {
                Some(message) => match self.of_an_end(&message) {
                    Some(said) => news = said,
                    None => self.hear(&message, &bus, &mut trouble, &mut course)?,
                },
                None => self.complete(job, &trouble, started.elapsed())?,
            }
            let news = news.or_else(|| self.supply.borrow_mut().tend(Instant::now()));
            let mut stream_news = std::mem::take(&mut *self.stream_news.borrow_mut());
            stream_news.extend(self.streams.borrow_mut().iter_mut().filter_map(|s| s.tend(Instant::now())));
            if length.is_none() && !job.plan.live {
                length = self.pipeline.query_duration().map(delta);
            }
            let slots = self.shared.slots.load(Ordering::Relaxed);
            progress(Progress {
                at: self.at().unwrap_or_default(),
                length,
                slots,
                wall: started.elapsed(),
                averaged_channels: self.shared.averaged_channels.load(Ordering::Relaxed),
                drops: self.drops(),
                news,
                stream_news,
            });
            let gave_up = self.shared.gave_up.load(Ordering::Acquire);
            if gave_up {
                self.shared.inbox.close();
            }
            let seen = Seen { slots, stop: gave_up || control.stopped(), analysed: analysed() };
            match course.next(Instant::now(), seen) {
                Next::GoOn => {}
                Next::End => self.end_now(),
                Next::Over => return course.result().map(|interrupted| Watched { interrupted, length }),
                Next::Stalled => return Err(trouble.stalled(self.at())),
                Next::Stuck => {
                    course.result()?;
                    return Err(setup("the pipeline did not end within 20 s of being stopped"));
                }
            }
        }
    }

    /// An error of a source or a stream that is built again; `None` for whatever else is said.
    fn of_an_end(&self, message: &gst::MessageRef) -> Option<Option<News>> {
        let gst::MessageView::Error(e) = message.view() else { return None };
        let source = message.src()?;
        if let Some(stream) = self.streams.borrow_mut().iter_mut().find(|s| s.has(source)) {
            let said = stream.failed(&e.error().to_string(), Instant::now());
            self.stream_news.borrow_mut().push(said);
            return Some(None);
        }
        let mut supply = self.supply.borrow_mut();
        if !supply.has(source) {
            // What was taken down may still have had something to say.
            let stale = !source.has_as_ancestor(&self.pipeline) && source != self.pipeline.upcast_ref::<gst::Object>();
            return stale.then_some(None);
        }
        match supply.failed(&e.error().to_string(), Instant::now()) {
            Failure::OfTheRun => None,
            Failure::Known => Some(None),
            Failure::Lost(news) => Some(Some(news)),
        }
    }

    /// Takes what the pipeline says.
    fn hear(
        &self,
        message: &gst::MessageRef,
        bus: &gst::Bus,
        trouble: &mut Trouble,
        course: &mut Course,
    ) -> Result<(), RunError> {
        match message.view() {
            gst::MessageView::Error(e) => {
                match DisplayError::of(e) {
                    Some(DisplayError::NoSound) => {
                        gst::warning!(gst::CAT_DEFAULT, "shown without sound: {}", e.error());
                        return Ok(());
                    }
                    Some(DisplayError::Closed) => {
                        course.stop();
                        return Ok(());
                    }
                    Some(DisplayError::NoScreen) | None => {}
                }
                // Others may say more of the cause: hear them out, but not for ever.
                for other in std::iter::from_fn(|| bus.timed_pop(gst::ClockTime::from_mseconds(20))).take(100) {
                    trouble.note(&other);
                    if let gst::MessageView::Eos(_) = other.view() {
                        course.eos();
                    }
                }
                course.failed(trouble.error(Some(e), self.at()))?;
            }
            gst::MessageView::Eos(_) => course.eos(),
            gst::MessageView::Latency(_) => {
                if let Err(e) = self.pipeline.recalculate_latency() {
                    gst::warning!(gst::CAT_DEFAULT, "{e}");
                }
            }
            _ => {
                trouble.note(message);
                if let Some(error) = trouble.no_screen() {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Whether the input has what is needed, as far as is known by now.
    fn complete(&self, job: &Job, trouble: &Trouble, waited: Duration) -> Result<(), RunError> {
        if let Some(stream) = self.found.missing() {
            let tracks = self.found.audio_tracks.load(Ordering::Acquire);
            if stream == "audio" && tracks > 0 {
                let why = format!("it has {tracks} sound track(s), number {} was asked for", job.audio_track + 1);
                return Err(RunError::Input { input: job.input.name(), why });
            }
            return Err(trouble.missing(stream));
        }
        // decodebin swallows the error of a demuxer that gives up while its state is still being changed, and then
        // waits for its streams without end.
        if waited > TO_FIND && matches!(job.input, Input::File(_)) && self.found.nothing() {
            let why = "no stream was found in it: the file is truncated or corrupt; copy or record it again";
            return Err(RunError::Input { input: job.input.name(), why: why.to_owned() });
        }
        match self.found.trouble.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(why) => Err(RunError::Input { input: job.input.name(), why }),
            None => Ok(()),
        }
    }

    /// Puts the end of the stream in behind the decoders, so that encoders and muxers finish their files.
    fn end_now(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        for gate in &self.gates {
            // A stalled source pushes nothing that the probe could see; a blocked one holds the stream lock until the
            // analysis has moved on. A thread of its own, so that neither holds up the other.
            let gate = gate.clone();
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(300));
                if !gate.send_event(gst::event::Eos::new()) {
                    gst::debug!(gst::CAT_DEFAULT, "{} had ended already", gate.name());
                }
            });
        }
    }

    fn drops(&self) -> Drops {
        let undrawn = self.overlay.as_ref().map_or(0, SeehearOverlay::undrawn);
        Drops { unstreamed: self.unstreamed.load(Ordering::Relaxed), ..drops(&self.shared, undrawn) }
    }

    fn at(&self) -> Option<Timestamp> {
        let ns = self.shared.at.load(Ordering::Relaxed);
        (ns != i64::MIN).then(|| Timestamp::from_ns(ns))
    }
}

/// What an analysis is of.
pub(crate) struct Analysed<'a> {
    pub(crate) job: &'a Job,
    pub(crate) engine: &'a Engine,
    pub(crate) backend: &'a (dyn Backend + Sync),
    pub(crate) shared: &'a Shared,
}

/// Analyses what comes into the inbox until its streams end, or it is closed.
///
/// # Errors
/// Of the engine for a second on end, and of the observer.
pub(crate) fn analyse(of: &Analysed<'_>, observer: &mut dyn Observer, control: &Control) -> Result<Outcome, RunError> {
    Analysis::new(of.job, (of.engine, of.backend), of.shared, observer, control)?.run()
}

/// The account of an analysis. `undrawn`: pictures that went on without their own result.
pub(crate) fn summary(of: &Analysed<'_>, o: Outcome, undrawn: u64, wall: Duration, interrupted: bool) -> Summary {
    let mut s = Summary { slots: o.slots, interrupted, ..Summary::default() };
    s.media_s = o.slots_s();
    s.wall_s = wall.as_secs_f64();
    s.realtime_factor = s.media_s / s.wall_s.max(1e-9);
    s.load = o.load();
    s.latency_ms.algorithmic = seehear::session::declared_latency(of.engine).as_ms_f64();
    if of.job.plan.live {
        s.latency_ms.p50 = o.latency.percentile_ms(0.5);
        s.latency_ms.p99 = o.latency.percentile_ms(0.99);
    }
    s.drops = drops(of.shared, undrawn);
    s.set_counters(&o.counters);
    s.sync = o.correction.map(SyncEvent::from);
    s.on_screen_s = o.on_screen_s();
    s.off_screen_s = o.off_screen_s();
    s
}

/// What the pipeline did not do.
fn drops(shared: &Shared, undrawn: u64) -> Drops {
    let (video_overload, audio_overload) = shared.inbox.dropped();
    let drops = Drops {
        video_overload,
        audio_overload,
        unusable_buffers: shared.unusable.load(Ordering::Relaxed),
        undrawn_frames: undrawn,
        stepped_over_frames: shared.stepped_over.load(Ordering::Relaxed),
        ..Drops::default()
    };
    let mut summary = Summary { drops, ..Summary::default() };
    summary.set_counters(&shared.counters.lock().unwrap_or_else(PoisonError::into_inner));
    summary.drops
}

/// How the pipeline ended.
struct Watched {
    interrupted: bool,
    /// The length that the input declares.
    length: Option<TimeDelta>,
}

/// A tee behind an element's pad.
fn tee(pipeline: &gst::Pipeline, element: &Seehear, pad: &str) -> Result<gst::Element, RunError> {
    let tee = output::make("tee")?;
    // While a stream that failed is waited for there may be nobody behind it.
    tee.set_property("allow-not-linked", true);
    output::chain(pipeline, &[&tee])?;
    element.link_pads(Some(pad), &tee, Some("sink")).map_err(|e| setup(&e.to_string()))?;
    Ok(tee)
}

/// Decoders are to tell of damage, not to hide it.
fn be_strict(pipeline: &gst::Pipeline) {
    pipeline.connect_deep_element_added(|_, _, element| {
        if element.has_property_with_type("max-errors", i32::static_type()) {
            element.set_property("max-errors", 0_i32);
        }
        if element.has_property_with_type("output-corrupt", bool::static_type()) {
            element.set_property("output-corrupt", true);
        }
    });
}

fn setup(why: &str) -> RunError {
    RunError::Setup { why: why.to_owned() }
}
