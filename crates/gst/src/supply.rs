//! The source of a run, and another one in its place when a live one is lost.
//!
//! A camera is unplugged, a server restarts, a network fails: what was built from the plan's description is taken out of the
//! pipeline, and built again after a wait, longer from time to time and never quite the same, so that a hundred boxes do not
//! ask a server that has just come back all at once. What is behind the source stays as it is: it sees a gap.

use crate::error::RunError;
use crate::plan::Plan;
use crate::source::{self, Found, Targets};
use crate::waits::Waits;
use gst::glib;
use gst::prelude::*;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A source that has worked for so long begins with the first wait again when it is lost.
const STEADY: Duration = Duration::from_secs(30);

/// What there is to tell of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It is lost; another try comes in `wait`.
    Lost {
        /// What it said, or what was seen.
        why: String,
        /// Until the next try.
        wait: Duration,
    },
    /// It is back.
    Back {
        /// Since it was lost.
        after: Duration,
    },
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { why, wait } => {
                write!(f, "the source is lost ({why}); another try in {:.1} s", wait.as_secs_f64())
            }
            Self::Back { after } => write!(f, "the source is back after {:.1} s", after.as_secs_f64()),
        }
    }
}

/// What a failure of the source means.
pub(crate) enum Failure {
    /// The end of the run: it does not reconnect, or has never worked.
    OfTheRun,
    /// Last words of what is taken down already.
    Known,
    Lost(News),
}

/// What comes through the pads behind the source.
#[derive(Debug, Default)]
struct Flow {
    buffers: AtomicU64,
    ended: AtomicBool,
}

#[derive(Debug)]
enum State {
    /// `buffers`: so many had come at `moved`.
    Up {
        since: Instant,
        buffers: u64,
        moved: Instant,
    },
    /// Built again, and nothing has come yet.
    Trying {
        lost: Instant,
        since: Instant,
    },
    Waiting {
        lost: Instant,
        until: Instant,
    },
}

/// See the module.
pub(crate) struct Supply {
    plan: Plan,
    values: BTreeMap<String, String>,
    pipeline: glib::WeakRef<gst::Pipeline>,
    targets: Targets,
    audio_track: usize,
    bins: Vec<gst::Bin>,
    found: Arc<Found>,
    flow: Arc<Flow>,
    state: State,
    waits: Option<Waits>,
    /// Buffers that had come when it was last built.
    mark: u64,
    /// Times that it came back.
    returns: u64,
}

impl Supply {
    /// Builds the plan's source into `pipeline`, as [`source::build`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn new(
        plan: &Plan,
        values: &BTreeMap<String, String>,
        pipeline: &gst::Pipeline,
        targets: Targets,
        audio_track: usize,
    ) -> Result<(Self, Arc<Found>), RunError> {
        let flow = Arc::new(Flow::default());
        let reconnects = plan.source.reconnect.is_some();
        if reconnects {
            for pad in [&targets.video, &targets.audio] {
                splice(pad, &flow);
            }
        }
        let (found, bins) = source::build(plan, values, pipeline, &targets, audio_track)?;
        let now = Instant::now();
        let this = Self {
            plan: plan.clone(),
            values: values.clone(),
            pipeline: pipeline.downgrade(),
            targets,
            audio_track,
            bins,
            found: Arc::clone(&found),
            flow,
            state: State::Up { since: now, buffers: 0, moved: now },
            waits: plan.source.reconnect.clone().map(Waits::new),
            mark: 0,
            returns: 0,
        };
        Ok((this, found))
    }

    /// Times that it came back after a loss.
    pub(crate) fn returns(&self) -> u64 {
        self.returns
    }

    /// Whether `object` is of the source: it alone has failed then.
    pub(crate) fn has(&self, object: &gst::Object) -> bool {
        self.bins.iter().any(|bin| object == bin.upcast_ref::<gst::Object>() || object.has_as_ancestor(bin))
    }

    /// It has failed.
    pub(crate) fn failed(&mut self, why: &str, now: Instant) -> Failure {
        let never_worked = self.flow.buffers.load(Ordering::Relaxed) == 0;
        let Some(waits) = self.waits.as_mut().filter(|_| !never_worked) else { return Failure::OfTheRun };
        let lost = match self.state {
            State::Up { since, .. } => {
                if now.saturating_duration_since(since) >= STEADY {
                    waits.reset();
                }
                now
            }
            State::Trying { lost, .. } => lost,
            State::Waiting { .. } => return Failure::Known,
        };
        let wait = waits.next();
        self.take_down();
        self.state = State::Waiting { lost, until: now + wait };
        Failure::Lost(News::Lost { why: why.to_owned(), wait })
    }

    fn is_lost(&mut self, why: &str, now: Instant) -> Option<News> {
        match self.failed(why, now) {
            Failure::Lost(news) => Some(news),
            Failure::Known | Failure::OfTheRun => None,
        }
    }

    fn take_down(&mut self) {
        for bin in self.bins.drain(..) {
            if let Err(e) = bin.set_state(gst::State::Null) {
                gst::warning!(gst::CAT_DEFAULT, "{}: {e}", bin.name());
            }
            if let Some(pipeline) = self.pipeline.upgrade()
                && let Err(e) = pipeline.remove(&bin)
            {
                gst::warning!(gst::CAT_DEFAULT, "{}: {e}", bin.name());
            }
        }
        self.flow.ended.store(false, Ordering::Release);
    }

    /// Looks after it; often.
    pub(crate) fn tend(&mut self, now: Instant) -> Option<News> {
        let reconnect = self.plan.source.reconnect.clone()?;
        let silent = Duration::from_millis(reconnect.silent_after_ms);
        let come = self.flow.buffers.load(Ordering::Relaxed);
        if !matches!(self.state, State::Waiting { .. }) && self.flow.ended.load(Ordering::Acquire) {
            return self.is_lost("the stream has ended", now);
        }
        match &mut self.state {
            State::Up { buffers, moved, .. } => {
                if come > *buffers {
                    (*buffers, *moved) = (come, now);
                } else if come > 0 && now.saturating_duration_since(*moved) >= silent {
                    return self.is_lost(&format!("nothing has come for {} s", silent.as_secs()), now);
                }
                None
            }
            State::Trying { lost, since } => {
                let (lost, since) = (*lost, *since);
                self.bins.iter().for_each(go_on_to_playing);
                if come > self.mark {
                    self.state = State::Up { since: now, buffers: come, moved: now };
                    self.returns += 1;
                    return Some(News::Back { after: now.saturating_duration_since(lost) });
                }
                let trouble = self.found.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(why) = trouble {
                    return self.is_lost(&why, now);
                }
                if now.saturating_duration_since(since) >= silent {
                    return self.is_lost("no answer", now);
                }
                None
            }
            State::Waiting { lost, until } => {
                if now < *until {
                    return None;
                }
                let lost = *lost;
                self.state = State::Trying { lost, since: now };
                self.mark = come;
                match self.build_again() {
                    Ok(()) => None,
                    Err(e) => self.is_lost(&e.to_string(), now),
                }
            }
        }
    }

    fn build_again(&mut self) -> Result<(), RunError> {
        let Some(pipeline) = self.pipeline.upgrade() else { return Ok(()) };
        (self.found, self.bins) = source::build(&self.plan, &self.values, &pipeline, &self.targets, self.audio_track)?;
        for bin in &self.bins {
            bin.sync_state_with_parent().map_err(|e| RunError::Setup { why: e.to_string() })?;
        }
        Ok(())
    }
}

/// The time line of one stream over several sources.
#[derive(Default)]
struct Splice {
    /// Of the first source: what is behind knows no other.
    first: Option<gst::FormattedSegment<gst::ClockTime>>,
    /// Of the present one, where it is a later one.
    later: Option<gst::FormattedSegment<gst::ClockTime>>,
    began: bool,
    /// The next buffer is the first of its source.
    fresh: bool,
}

impl Splice {
    /// Whether an event goes on. Only the first source's beginning does: encoders that meet a second one lose count of what
    /// they hold.
    fn passes(&mut self, event: &gst::EventRef, flow: &Flow) -> bool {
        match event.view() {
            gst::EventView::Eos(_) => {
                flow.ended.store(true, Ordering::Release);
                false
            }
            gst::EventView::StreamStart(_) => {
                self.fresh = self.began;
                !std::mem::replace(&mut self.began, true)
            }
            gst::EventView::Segment(s) => {
                let Some(segment) = s.segment().downcast_ref::<gst::ClockTime>() else { return true };
                match &self.first {
                    None => {
                        self.first = Some(segment.clone());
                        true
                    }
                    // A source may begin a new segment by itself.
                    Some(first) if self.later.is_none() && !self.fresh => {
                        let same = first == segment;
                        self.first = Some(segment.clone());
                        !same
                    }
                    Some(_) => {
                        self.later = Some(segment.clone());
                        false
                    }
                }
            }
            _ => true,
        }
    }

    /// Stamps a buffer of a later source by the first one's segment: its running time stays as it is.
    fn stamp(&mut self, buffer: &mut gst::Buffer) {
        let (Some(first), Some(later)) = (&self.first, &self.later) else { return };
        let on = |t: Option<gst::ClockTime>| first.position_from_running_time(later.to_running_time(t?)?);
        let (pts, dts) = (on(buffer.pts()), on(buffer.dts()));
        let b = buffer.make_mut();
        b.set_pts(pts);
        b.set_dts(dts);
        if std::mem::take(&mut self.fresh) {
            b.set_flags(gst::BufferFlags::DISCONT);
        }
    }
}

/// Makes one stream of what comes through `pad` from one source after another.
fn splice(pad: &gst::Pad, flow: &Arc<Flow>) {
    let flow = Arc::clone(flow);
    let splice = Mutex::new(Splice::default());
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
        let mut splice = splice.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => {
                flow.buffers.fetch_add(1, Ordering::Relaxed);
                splice.stamp(buffer);
            }
            Some(gst::PadProbeData::Event(event)) if !splice.passes(event, &flow) => {
                info.data = None;
                return gst::PadProbeReturn::Handled;
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    });
}

/// A bin that is not the pipeline itself leaves its way to PLAYING to whoever is above it when one of its children says that
/// it is in PAUSED at last; above it nobody is on the way.
fn go_on_to_playing(bin: &gst::Bin) {
    let (_, now, next) = bin.state(Some(gst::ClockTime::ZERO));
    if (now, next) == (gst::State::Paused, gst::State::VoidPending)
        && let Err(e) = bin.set_state(gst::State::Playing)
    {
        gst::debug!(gst::CAT_DEFAULT, "{}: {e}", bin.name());
    }
}
