//! Vital signs: speed, load and latency of the last ten seconds, and what is wrong.

#![expect(clippy::cast_precision_loss, reason = "counts and percentiles of a few hundred slots")]

pub use seehear::events::Drops;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Slots that are looked back on: ten seconds.
const WINDOW: usize = 250;
const SLOT: Duration = Duration::from_millis(40);

/// What a slot took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Time that its analysis took.
    pub busy: Duration,
    /// From its picture's arrival to its event, by the clock; `None` for files.
    pub latency: Option<Duration>,
}

/// Percentiles, ms; `null` where nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Median.
    pub p50: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
}

/// The figures, of the last ten seconds unless said otherwise.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Vitals {
    /// Slots told since the start.
    pub slots: u64,
    /// Slots told a second, by the clock; 25 for a live source in good order.
    pub fps: f64,
    /// Share of a slot's 40 ms that its analysis took; 1 is the limit of real time.
    pub load: f64,
    /// From a picture's arrival to its event.
    pub latency_ms: Latency,
    /// What was not done since the start, by cause.
    pub drops: Drops,
    /// How it is.
    pub health: Health,
}

/// How it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Health {
    /// False if there is a reason to look after it.
    pub ok: bool,
    /// What keeps it from its work.
    pub reasons: Vec<String>,
    /// What else is wrong.
    pub warnings: Vec<String>,
}

/// How bad a trouble is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The analysis does not get its work done: `/health` answers 503.
    Failing,
    /// Something beside it does not.
    Warning,
}

/// The last ten seconds.
#[derive(Debug)]
pub(crate) struct Window {
    slots: VecDeque<(Instant, Timing)>,
    total: u64,
    last: Option<Instant>,
}

impl Default for Window {
    fn default() -> Self {
        Self { slots: VecDeque::with_capacity(WINDOW), total: 0, last: None }
    }
}

impl Window {
    pub(crate) fn push(&mut self, now: Instant, timing: Timing) {
        if self.slots.len() == WINDOW {
            self.slots.pop_front();
        }
        self.slots.push_back((now, timing));
        self.total += 1;
        self.last = Some(now);
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// When the last slot was told.
    pub(crate) fn last(&self) -> Option<Instant> {
        self.last
    }

    /// Slots a second over the window, up to `now`: it falls when none come.
    pub(crate) fn fps(&self, now: Instant) -> f64 {
        let Some(&(first, _)) = self.slots.front() else { return 0.0 };
        let s = now.saturating_duration_since(first).as_secs_f64();
        if s > 0.0 { (self.slots.len() as f64 - 1.0) / s } else { 0.0 }
    }

    pub(crate) fn load(&self) -> f64 {
        if self.slots.is_empty() {
            return 0.0;
        }
        let busy: Duration = self.slots.iter().map(|(_, t)| t.busy).sum();
        busy.as_secs_f64() / (self.slots.len() as f64 * SLOT.as_secs_f64())
    }

    pub(crate) fn latency(&self) -> Latency {
        let mut ms: Vec<f64> =
            self.slots.iter().filter_map(|(_, t)| t.latency).map(|l| l.as_secs_f64() * 1000.0).collect();
        ms.sort_by(f64::total_cmp);
        // The smallest value that the share does not exceed.
        let at = |percent: usize| ms.get((ms.len() * percent).div_ceil(100).max(1) - 1).copied().map(round1);
        Latency { p50: at(50), p99: at(99) }
    }
}

fn round1(x: f64) -> f64 {
    (x * 10.0).round() / 10.0
}

/// What was reported to be wrong, by who reported it.
#[derive(Debug, Default)]
pub(crate) struct Troubles(BTreeMap<&'static str, (Severity, String)>);

impl Troubles {
    pub(crate) fn set(&mut self, who: &'static str, what: Option<(Severity, String)>) {
        match what {
            Some(t) => self.0.insert(who, t),
            None => self.0.remove(who),
        };
    }

    pub(crate) fn health(&self, stalled: Option<String>) -> Health {
        let of =
            |severity| self.0.iter().filter(move |(_, t)| t.0 == severity).map(|(who, t)| format!("{who}: {}", t.1));
        let reasons: Vec<String> = stalled.into_iter().chain(of(Severity::Failing)).collect();
        Health { ok: reasons.is_empty(), reasons, warnings: of(Severity::Warning).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_the_last_ten_seconds() {
        let began = Instant::now();
        let mut w = Window::default();
        assert_eq!(w.latency(), Latency::default());
        assert!(w.load().abs() < 1e-9 && w.fps(began).abs() < 1e-9);
        for i in 0..1000_u32 {
            // The first 750 are slow and must be forgotten.
            let ms = if i < 750 { 400 } else { u64::from(i - 749) };
            let t = Timing { busy: Duration::from_millis(10), latency: Some(Duration::from_millis(ms)) };
            w.push(began + SLOT * i, t);
        }
        let now = began + SLOT * 999;
        assert_eq!(w.latency(), Latency { p50: Some(125.0), p99: Some(248.0) });
        assert!((w.load() - 0.25).abs() < 1e-9);
        assert!((w.fps(now) - 25.0).abs() < 1e-9);
        assert!(w.fps(now + Duration::from_secs(90)) < 3.0, "none come");
        assert_eq!(w.total(), 1000);
    }

    #[test]
    fn what_is_wrong_is_said_until_it_is_not() {
        let mut t = Troubles::default();
        assert_eq!(t.health(None), Health { ok: true, ..Health::default() });
        t.set("mqtt", Some((Severity::Warning, "no connection".to_owned())));
        t.set("source", Some((Severity::Failing, "lost".to_owned())));
        let h = t.health(Some("no slot for 9 s".to_owned()));
        assert_eq!(h.reasons, ["no slot for 9 s", "source: lost"]);
        assert_eq!((h.ok, h.warnings), (false, vec!["mqtt: no connection".to_owned()]));
        t.set("source", None);
        assert!(t.health(None).ok);
    }
}
