//! The hub: where the analysis leaves what it has to tell, and finds what it was asked to change.
//!
//! Posting never waits for a reader. It takes a lock that others hold for as long as it takes to copy a few strings,
//! writes one JSON line, and wakes who listens. A reader that is slow loses the oldest messages, and that is counted.

use crate::message::{Kind, Message, Offset, Speaking};
use crate::metrics::Metrics;
use crate::redact::redact;
use crate::settings::{Change, Refused, Request, Settings};
use crate::vitals::{Drops, Health, Severity, Timing, Troubles, Vitals, Window};
use axum::body::Bytes;
use seehear::events::{FrameEvent, Header, Summary};
use serde::Serialize;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{broadcast, watch};

/// Messages in the ring: 40 s of slots.
const RING: usize = 1024;
/// Changes asked for and not yet taken.
const MAX_ASKED: usize = 32;
/// Who has spoken, for newcomers.
const HISTORY_MS: f64 = 600_000.0;
const MAX_HISTORY: usize = 2000;
/// Larger pictures are refused: a 4K picture of good quality takes less.
const MAX_PICTURE_BYTES: usize = 4 << 20;
const SECOND: Duration = Duration::from_secs(1);
/// No slot for so long is a reason to look after it, unless set otherwise.
const SLOT_TIMEOUT: Duration = Duration::from_secs(5);

/// A picture as JPEG.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The slot that it belongs to: start, ms.
    pub t_ms: f64,
    /// The file's bytes.
    pub jpeg: Bytes,
}

/// Why a picture was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// Nobody looks, or the last one was too short a while ago.
    NotWanted,
    /// No JPEG, or larger than 4 MiB.
    Unfit,
}

#[derive(Debug)]
struct State {
    header: Option<Header>,
    settings: Settings,
    window: Window,
    drops: Drops,
    troubles: Troubles,
    speaking: VecDeque<Speaking>,
    offset: Option<Message>,
    offset_at_ms: f64,
    vitals_at: Instant,
    summary: Option<Message>,
    picture_at: Option<Instant>,
    slot_timeout: Duration,
}

#[derive(Debug)]
struct Inner {
    name: String,
    began: Instant,
    messages: broadcast::Sender<Message>,
    picture: watch::Sender<Option<Picture>>,
    pictures_per_s: AtomicU32,
    state: Mutex<State>,
    asked: Mutex<VecDeque<Change>>,
    any_asked: AtomicBool,
    metrics: Metrics,
}

/// The handle. Clones are the same hub.
#[derive(Clone, Debug)]
pub struct Hub(Arc<Inner>);

impl Hub {
    /// A hub for one run; `name` tells it from others where several report to one place.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let now = Instant::now();
        let state = State {
            header: None,
            settings: Settings::default(),
            window: Window::default(),
            drops: Drops::default(),
            troubles: Troubles::default(),
            speaking: VecDeque::new(),
            offset: None,
            offset_at_ms: f64::NEG_INFINITY,
            vitals_at: now,
            summary: None,
            picture_at: None,
            slot_timeout: SLOT_TIMEOUT,
        };
        Self(Arc::new(Inner {
            name: name.to_owned(),
            began: now,
            messages: broadcast::Sender::new(RING),
            picture: watch::Sender::new(None),
            pictures_per_s: AtomicU32::new(10),
            state: Mutex::new(state),
            asked: Mutex::default(),
            any_asked: AtomicBool::new(false),
            metrics: Metrics::default(),
        }))
    }

    /// The run's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// From how long without a slot on `/health` says so (5 s).
    pub fn set_slot_timeout(&self, timeout: Duration) {
        self.state().slot_timeout = timeout;
    }

    /// How many pictures a second are taken at most (10).
    pub fn set_pictures_per_s(&self, n: u32) {
        self.0.pictures_per_s.store(n.max(1), Ordering::Relaxed);
    }

    /// The source is known. A further header replaces it (the picture's size has changed). User name, password and
    /// query of the source are left out of what is told.
    pub fn header(&self, header: &Header) {
        let header = Header { source: redact(&header.source), ..header.clone() };
        let message = Message::new(Kind::Header, &header);
        let mut state = self.state();
        if state.header.is_none() {
            self.0.metrics.build(&self.0.name, &header);
        }
        state.header = Some(header);
        drop(state);
        self.send(message);
    }

    /// One slot has been told.
    pub fn frame(&self, frame: &FrameEvent, timing: Timing) {
        self.frame_at(frame, timing, Instant::now());
    }

    fn frame_at(&self, frame: &FrameEvent, timing: Timing, now: Instant) {
        self.0.metrics.frame(frame, timing);
        self.send(Message::new(Kind::Frame, frame));
        let mut state = self.state();
        state.window.push(now, timing);
        let back = frame.t_ms < state.offset_at_ms;
        if back || state.speaking.back().is_none_or(|s| !s.same(frame)) {
            let speaking = Speaking::of(frame);
            self.send(Message::new(Kind::Speaking, &speaking));
            // What was said before the time line jumped back can't be drawn on the same line.
            state.speaking.retain(|s| s.t_ms < frame.t_ms && s.t_ms > frame.t_ms - HISTORY_MS);
            if state.speaking.len() == MAX_HISTORY {
                state.speaking.pop_front();
            }
            state.speaking.push_back(speaking);
        }
        if back || frame.t_ms - state.offset_at_ms >= 1000.0 {
            state.offset_at_ms = frame.t_ms;
            state.offset = Offset::of(frame).map(|o| Message::new(Kind::Offset, &o));
            if let Some(m) = &state.offset {
                self.send(m.clone());
            }
        }
        if now.saturating_duration_since(state.vitals_at) >= SECOND {
            state.vitals_at = now;
            self.send(Message::new(Kind::Vitals, &self.vitals_at(&state, now)));
        }
    }

    /// What was not done since the start.
    pub fn drops(&self, drops: &Drops) {
        self.0.metrics.drops(drops);
        self.state().drops = *drops;
    }

    /// The run is over.
    pub fn summary(&self, summary: &Summary) {
        self.drops(&summary.drops);
        let message = Message::new(Kind::Summary, summary);
        self.state().summary = Some(message.clone());
        self.send(message);
    }

    /// Whether a picture posted now would be taken: ask before making one.
    #[must_use]
    pub fn picture_wanted(&self) -> bool {
        self.0.picture.receiver_count() > 0 && self.picture_due(&self.state(), Instant::now())
    }

    fn picture_due(&self, state: &State, now: Instant) -> bool {
        // A tenth early, so that pictures on a grid of just that rate are not halved by jitter.
        let every = SECOND.mul_f64(0.9) / self.0.pictures_per_s.load(Ordering::Relaxed).max(1);
        state.picture_at.is_none_or(|at| now.saturating_duration_since(at) >= every)
    }

    /// Posts the picture of the slot that starts at `t_ms`, as JPEG. Only the newest is kept.
    ///
    /// # Errors
    /// Says why it was not taken; no reason to stop.
    pub fn picture(&self, t_ms: f64, jpeg: impl Into<Bytes>) -> Result<(), NotTaken> {
        let jpeg = jpeg.into();
        if jpeg.len() > MAX_PICTURE_BYTES || !jpeg.starts_with(&[0xFF, 0xD8]) {
            return Err(NotTaken::Unfit);
        }
        let now = Instant::now();
        let mut state = self.state();
        if self.0.picture.receiver_count() == 0 || !self.picture_due(&state, now) {
            return Err(NotTaken::NotWanted);
        }
        state.picture_at = Some(now);
        drop(state);
        self.0.picture.send_replace(Some(Picture { t_ms, jpeg }));
        Ok(())
    }

    /// Reports, or takes back (`None`), what is wrong with `who`.
    pub fn trouble(&self, who: &'static str, what: Option<(Severity, String)>) {
        self.state().troubles.set(who, what);
    }

    /// Tells what holds, after a start or a change.
    pub fn update_settings(&self, update: impl FnOnce(&mut Settings)) {
        let mut state = self.state();
        update(&mut state.settings);
        let message = Message::new(Kind::Settings, &state.settings);
        drop(state);
        self.send(message);
    }

    /// The changes that were asked for since the last call. Costs next to nothing when there are none.
    #[must_use]
    pub fn take_changes(&self) -> Vec<Change> {
        if !self.0.any_asked.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        self.asked().drain(..).collect()
    }

    /// Asks for changes: all of them, or none.
    ///
    /// # Errors
    /// Says what can't be changed, or that the program has not yet taken earlier ones.
    pub fn ask(&self, request: &Request) -> Result<(), Refused> {
        let changes = request.changes(&self.settings())?;
        self.ask_changes(&changes)
    }

    /// As [`Hub::ask`], for changes that are known to be right.
    ///
    /// # Errors
    /// [`Refused::Busy`].
    pub fn ask_changes(&self, changes: &[Change]) -> Result<(), Refused> {
        let mut asked = self.asked();
        if asked.len() + changes.len() > MAX_ASKED {
            return Err(Refused::Busy);
        }
        asked.extend(changes);
        self.0.any_asked.store(true, Ordering::Release);
        Ok(())
    }

    /// What holds.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.state().settings.clone()
    }

    /// Slots told.
    #[must_use]
    pub fn slots(&self) -> u64 {
        self.state().window.total()
    }

    /// How it is.
    #[must_use]
    pub fn health(&self) -> Health {
        let state = self.state();
        self.health_at(&state, Instant::now())
    }

    fn health_at(&self, state: &State, now: Instant) -> Health {
        let stalled = if state.summary.is_some() {
            Some("the run has ended".to_owned())
        } else {
            let since = now.saturating_duration_since(state.window.last().unwrap_or(self.0.began));
            (since >= state.slot_timeout).then(|| format!("no slot for {} s", since.as_secs()))
        };
        state.troubles.health(stalled)
    }

    /// The figures of the last ten seconds.
    #[must_use]
    pub fn vitals(&self) -> Vitals {
        self.vitals_at(&self.state(), Instant::now())
    }

    fn vitals_at(&self, state: &State, now: Instant) -> Vitals {
        Vitals {
            slots: state.window.total(),
            fps: round(state.window.fps(now), 10.0),
            load: round(state.window.load(), 1000.0),
            latency_ms: state.window.latency(),
            drops: state.drops,
            health: self.health_at(state, now),
        }
    }

    /// The figures.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// What a scrape of Prometheus gets.
    #[must_use]
    pub fn metrics_text(&self) -> String {
        let v = self.vitals();
        self.0.metrics.text(v.fps, v.load, v.health.ok)
    }

    /// What a newcomer must know, and all messages from then on.
    pub(crate) fn subscribe(&self) -> (Vec<Message>, broadcast::Receiver<Message>) {
        #[derive(Serialize)]
        struct History<'a> {
            speaking: &'a VecDeque<Speaking>,
        }
        let state = self.state();
        let mut first = Vec::new();
        first.extend(state.header.as_ref().map(|h| Message::new(Kind::Header, h)));
        first.push(Message::new(Kind::Settings, &state.settings));
        first.push(Message::new(Kind::History, &History { speaking: &state.speaking }));
        first.extend(state.offset.clone());
        first.push(Message::new(Kind::Vitals, &self.vitals_at(&state, Instant::now())));
        first.extend(state.summary.clone());
        (first, self.0.messages.subscribe())
    }

    /// The newest picture, again and again.
    pub(crate) fn pictures(&self) -> watch::Receiver<Option<Picture>> {
        self.0.picture.subscribe()
    }

    fn send(&self, message: Message) {
        // An error means that nobody listens.
        drop(self.0.messages.send(message));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, VecDeque<Change>> {
        self.0.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn round(x: f64, per: f64) -> f64 {
    (x * per).round() / per
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
