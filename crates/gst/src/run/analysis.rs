//! The analysis thread: takes from the inbox, runs the session, tells board and observer.

use super::graph::Shared;
use super::intake::{AudioItem, VideoItem};
use super::{Control, Job, Observer, SlotTiming, setup};
use crate::error::RunError;
use crate::inbox::{Item, Taken};
use crate::picture::GstPicture;
use crate::sync::SyncMode;
use seehear::align::Want;
use seehear::asd::Voice;
use seehear::audio::AudioWindow;
use seehear::correct::{Correction, SyncCorrector};
use seehear::events::{Header, Histogram, SCHEMA};
use seehear::net::{Backend, Engine};
use seehear::session::{Session, SessionCounters, SourceFormat};
use seehear::time::{SLOT, TimeDelta, Timestamp};
use std::collections::VecDeque;
use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub(super) const BOTH: Want = Want { video: true, audio: true };
/// An analysis that needs longer than a slot for a slot is behind when anything has waited for one …
const BEHIND: Duration = Duration::from_millis(40);
/// … and one that doesn't, catches up by itself: sources come in bursts.
const FAR_BEHIND: Duration = Duration::from_millis(160);
/// Frames whose arrival is remembered until their report: more than any latency holds.
const ARRIVALS: usize = 512;

/// What the analysis did.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(super) slots: u64,
    pub(super) counters: SessionCounters,
    pub(super) latency: Histogram,
    /// The last, where the offset is corrected.
    pub(super) correction: Option<Correction>,
    busy: Duration,
    on_screen: u64,
    off_screen: u64,
}

#[expect(clippy::cast_precision_loss, reason = "counts of slots")]
impl Outcome {
    fn seconds(slots: u64) -> f64 {
        slots as f64 * SLOT.as_s_f64()
    }

    pub(super) fn slots_s(&self) -> f64 {
        Self::seconds(self.slots)
    }

    pub(super) fn on_screen_s(&self) -> f64 {
        Self::seconds(self.on_screen)
    }

    pub(super) fn off_screen_s(&self) -> f64 {
        Self::seconds(self.off_screen)
    }

    /// Share of a slot's time that its analysis took.
    pub(super) fn load(&self) -> f64 {
        self.busy.as_secs_f64() / self.slots_s().max(SLOT.as_s_f64())
    }
}

pub(super) struct Analysis<'a> {
    job: &'a Job,
    engine: &'a Engine,
    backend: &'a (dyn Backend + Sync),
    shared: &'a Shared,
    observer: &'a mut dyn Observer,
    control: &'a Control,
    corrector: Option<SyncCorrector>,
    /// Jumps of the present session's time line that the corrector knows of.
    jumps: u64,
    session: Option<(Session<GstPicture>, SourceFormat)>,
    /// The sample that the session is of, where only samples are analysed.
    sample: Option<i64>,
    told_header: bool,
    /// The last picture taken.
    taken: Option<Timestamp>,
    /// Where it is not the job's: asked for since.
    threshold: Option<f32>,
    arrivals: VecDeque<(Timestamp, Instant)>,
    /// When the last picture and the last sound that were taken had arrived.
    newest: [Option<Instant>; 2],
    /// What a slot takes with all its networks, a running mean.
    whole_slot: Duration,
    samples: Vec<f32>,
    outcome: Outcome,
    /// What of the outcome's busy time was told with reports.
    told_busy: Duration,
    before: SessionCounters,
}

/// Tells whoever waits for results, on every way out.
struct Finish<'a>(&'a Shared);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        if let Some(board) = &self.0.board {
            board.finish();
        }
    }
}

impl<'a> Analysis<'a> {
    pub(super) fn new(
        job: &'a Job,
        (engine, backend): (&'a Engine, &'a (dyn Backend + Sync)),
        shared: &'a Shared,
        observer: &'a mut dyn Observer,
        control: &'a Control,
    ) -> Result<Self, RunError> {
        let corrects = job.sync == SyncMode::Correct;
        let corrector = corrects.then(|| SyncCorrector::new(&job.plan.sync)).transpose();
        Ok(Self {
            job,
            engine,
            backend,
            shared,
            observer,
            control,
            corrector: corrector.map_err(|e| setup(&format!("sync.{e}")))?,
            jumps: 0,
            session: None,
            sample: None,
            told_header: false,
            taken: None,
            threshold: None,
            arrivals: VecDeque::with_capacity(ARRIVALS),
            newest: [None; 2],
            whole_slot: Duration::ZERO,
            samples: Vec::with_capacity(16_000),
            outcome: Outcome::default(),
            told_busy: Duration::ZERO,
            before: SessionCounters::default(),
        })
    }

    pub(super) fn run(mut self) -> Result<Outcome, RunError> {
        let _finish = Finish(self.shared);
        let result = self.take_all();
        if let Some(pts) = self.taken
            && self.shared.is_flushing()
        {
            self.shared.give_up_to(pts);
        }
        self.shared.gave_up.store(result.is_err(), Ordering::Release);
        match result {
            // Whoever read the events went away: that is an end, not a failure.
            Err(RunError::Observer(e)) if e.kind() == io::ErrorKind::BrokenPipe => {}
            other => other?,
        }
        if let Some((session, _)) = &self.session {
            self.outcome.counters = sum(self.before, session.counters());
        }
        Ok(self.outcome)
    }

    fn take_all(&mut self) -> Result<(), RunError> {
        let mut ended = (false, false);
        loop {
            self.report_all()?;
            if ended == (true, true) {
                self.tell_last_stretch();
                return Ok(());
            }
            let want = match &self.session {
                // Sound before the first picture waits in its queue: there is no grid to lay it on.
                None => Want { video: true, audio: ended.0 },
                Some(_) if self.job.plan.live => BOTH,
                Some((session, _)) => match session.want() {
                    Want { video: false, audio: false } => BOTH,
                    want => want,
                },
            };
            match self.shared.inbox.take(want, Duration::from_millis(200)) {
                Taken::Video(Item::Data(item, arrival)) => {
                    self.newest[0] = Some(arrival);
                    self.take_frame(item, arrival)?;
                }
                Taken::Audio(Item::Data(item, arrival)) => {
                    self.newest[1] = Some(arrival);
                    self.take_sound(item);
                }
                Taken::Video(Item::End) => {
                    ended.0 = true;
                    // Stopped by the user: the picture ends here, and so does the sound that is still queued.
                    ended.1 |= self.shared.stopping.load(Ordering::Acquire);
                    if let Some((session, _)) = &mut self.session {
                        session.end_video();
                        if ended.1 {
                            session.end_audio();
                        }
                    }
                }
                Taken::Audio(Item::End) => {
                    ended.1 = true;
                    if let Some((session, _)) = &mut self.session {
                        session.end_audio();
                    }
                }
                Taken::Nothing => {}
                Taken::Closed => return Ok(()),
            }
        }
    }

    fn take_frame(&mut self, item: VideoItem, arrival: Instant) -> Result<(), RunError> {
        self.taken = Some(item.frame.pts);
        if let Some(sample) = self.job.sample {
            let index = sample.index(item.frame.pts);
            if self.sample != index {
                self.close()?;
            }
            self.sample = index;
            if index.is_none() {
                self.shared.at.store(item.frame.pts.ns(), Ordering::Relaxed);
                return Ok(());
            }
        }
        if self.session.as_ref().is_none_or(|(_, format)| *format != item.format) {
            self.open(item.format)?;
        }
        if self.arrivals.len() == ARRIVALS {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back((item.frame.pts, arrival));
        if let Some((session, _)) = &mut self.session {
            session.push_frame(item.frame);
        }
        Ok(())
    }

    /// A session for a picture of this format; the one before gives its last reports first.
    fn open(&mut self, format: SourceFormat) -> Result<(), RunError> {
        let lead = self.job.plan.live.then(|| TimeDelta::from_ms(self.job.plan.max_lead_ms));
        let mut next = Session::new(self.engine, self.backend, format, &self.job.plan.stages, lead)?;
        if self.session.is_some() {
            self.close()?;
            self.before.align.jumps += 1;
        }
        next.give_ids_from(self.before.objects);
        if let Some(threshold) = self.threshold {
            next.set_threshold(threshold);
        }
        if !std::mem::replace(&mut self.told_header, true) {
            self.observer.header(&Header {
                schema: SCHEMA,
                source: self.job.input.name(),
                width: format.width,
                height: format.height,
                engine: self.engine.manifest.name.clone(),
                backend: self.backend.name().to_owned(),
                latency_ms: next.latency().as_ms_f64(),
            })?;
        }
        self.session = Some((next, format));
        self.jumps = 0;
        if let Some(corrector) = &mut self.corrector {
            corrector.restart();
        }
        Ok(())
    }

    /// Ends the session, if there is one: its last reports are told and its account kept.
    fn close(&mut self) -> Result<(), RunError> {
        if let Some((old, _)) = &mut self.session {
            old.end_video();
            old.end_audio();
        }
        self.report_all()?;
        self.tell_last_stretch();
        if let Some((old, _)) = self.session.take() {
            self.before = sum(self.before, old.counters());
        }
        Ok(())
    }

    fn tell_last_stretch(&mut self) {
        if let Some(stretch) = self.session.as_mut().and_then(|(session, _)| session.last_stretch()) {
            self.observer.last_stretch(stretch);
        }
    }

    fn take_sound(&mut self, item: AudioItem) {
        let Some((session, _)) = &mut self.session else { return };
        match item {
            AudioItem::Gap { until } => session.audio_silent_until(until),
            AudioItem::Sound { start, discont, buffer } => {
                let Ok(map) = buffer.map_readable() else { return };
                self.samples.clear();
                self.samples.extend(map.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
                session.push_audio(AudioWindow { start, samples: &self.samples, discont });
            }
        }
    }

    /// What was asked for since the last slot.
    fn change(&mut self) {
        let Some(asked) = self.control.take_asked() else { return };
        if let Some(threshold) = asked.threshold {
            self.threshold = Some(threshold);
            if let Some((session, _)) = &mut self.session {
                session.set_threshold(threshold);
            }
        }
        if let Some(board) = &self.shared.board {
            asked.marks.into_iter().for_each(|show| board.show_marks(show));
            asked.heatmap.into_iter().for_each(|show| board.show_heat(show));
        }
    }

    fn report_all(&mut self) -> Result<(), RunError> {
        self.change();
        let Some((session, _)) = &mut self.session else { return Ok(()) };
        loop {
            let jumps = session.counters().align.jumps;
            if jumps != self.jumps
                && let Some(corrector) = &mut self.corrector
            {
                corrector.restart();
            }
            self.jumps = jumps;
            let began = Instant::now();
            let mut shedding = false;
            if self.job.plan.live {
                // A stream that has stopped is not behind: the other's arrival is the newer then.
                let newest = self.newest.iter().flatten().max();
                let limit = if self.whole_slot > BEHIND { BEHIND } else { FAR_BEHIND };
                shedding = newest.is_some_and(|at| began.saturating_duration_since(*at) > limit);
                session.set_shedding(shedding);
            }
            let pulled = session.pull()?;
            let took = began.elapsed();
            self.outcome.busy += took;
            let Some(mut report) = pulled else { return Ok(()) };
            if !shedding {
                self.whole_slot = (self.whole_slot * 7 + took) / 8;
            }
            if let (Some(corrector), Some(curve)) = (&mut self.corrector, &self.shared.curve) {
                // Without a voice the estimate only stands: it would agree with itself.
                corrector.push(report.offset.filter(|_| report.voice != Voice::None));
                let stepped = self.control.take_step();
                let correction = if stepped { corrector.step_now() } else { corrector.pull() };
                curve.post(report.start + SLOT, correction.applied, stepped);
                report.correction = Some(correction);
                self.outcome.correction = report.correction;
            }
            if self.job.sync == SyncMode::Off {
                report.offset = None;
            }
            if let Some(board) = &self.shared.board {
                board.post(&report);
            }
            // The picture of this slot is the last that had come by its middle.
            let middle = report.start + TimeDelta::from_ns(SLOT.ns().div_euclid(2));
            let mut arrival = None;
            while self.arrivals.front().is_some_and(|(pts, _)| *pts <= middle) {
                arrival = self.arrivals.pop_front();
            }
            let latency = arrival.map(|(_, at)| at.elapsed());
            if let Some(latency) = latency {
                let ns = i64::try_from(latency.as_nanos()).unwrap_or(i64::MAX);
                self.outcome.latency.push(TimeDelta::from_ns(ns));
            }
            let busy = self.outcome.busy - std::mem::replace(&mut self.told_busy, self.outcome.busy);
            let timing = SlotTiming { busy, latency: latency.filter(|_| self.job.plan.live) };
            self.observer.report(&report, timing)?;
            self.outcome.slots += 1;
            self.outcome.on_screen += u64::from(report.voice == Voice::OnScreen);
            self.outcome.off_screen += u64::from(report.voice == Voice::OffScreen);
            self.shared.at.store(report.start.ns(), Ordering::Relaxed);
            self.shared.slots.store(self.outcome.slots, Ordering::Relaxed);
            let counters = sum(self.before, session.counters());
            *self.shared.counters.lock().unwrap_or_else(PoisonError::into_inner) = counters;
        }
    }
}

/// The account of one session after another.
fn sum(a: SessionCounters, b: SessionCounters) -> SessionCounters {
    let mut s = b;
    s.align.slots += a.align.slots;
    s.align.repeated += a.align.repeated;
    s.align.unused += a.align.unused;
    s.align.late += a.align.late;
    s.align.jumps += a.align.jumps;
    s.align.audio.gaps += a.align.audio.gaps;
    s.align.audio.silence_samples += a.align.audio.silence_samples;
    s.align.audio.overlap_samples += a.align.audio.overlap_samples;
    s.align.audio.skew_samples += a.align.audio.skew_samples;
    s.failed += a.failed;
    s.cut_off += a.cut_off;
    s.shed += a.shed;
    // Ids go on from one session to the next.
    s.objects = a.objects.max(b.objects);
    s
}
