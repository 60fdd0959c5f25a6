//! Figures for Prometheus, in OpenMetrics' text format.

use crate::message::Offset;
use crate::vitals::{Drops, Timing};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use seehear::asd::Voice;
use seehear::av_object::TrackState;
use seehear::events::{FrameEvent, Header};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

type Label = [(&'static str, String); 1];
type FloatGauge = Gauge<f64, AtomicU64>;

/// Upper ends of the latency's buckets, s: fine around the 200 ms that are algorithmic.
const LATENCY_S: [f64; 12] = [0.1, 0.15, 0.2, 0.21, 0.22, 0.24, 0.27, 0.3, 0.4, 0.6, 1.0, 5.0];
const VOICES: [(Voice, &str); 4] = [
    (Voice::None, "none"),
    (Voice::OnScreen, "on-screen"),
    (Voice::OffScreen, "off-screen"),
    (Voice::Ambiguous, "ambiguous"),
];
const STATES: [(TrackState, &str); 3] =
    [(TrackState::Tentative, "tentative"), (TrackState::Confirmed, "confirmed"), (TrackState::Lost, "lost")];

/// The figures. Posting touches atomics only.
pub struct Metrics {
    registry: Mutex<Registry>,
    slots: Counter,
    busy: Counter<f64, AtomicU64>,
    latency: Histogram,
    drops: Family<Label, Counter>,
    objects: [Gauge; 3],
    speaking: Gauge,
    voice: [Gauge; 4],
    offset: FloatGauge,
    left: FloatGauge,
    confidence: FloatGauge,
    fps: FloatGauge,
    load: FloatGauge,
    up: Gauge,
    clients: Family<Label, Gauge>,
    lost: Family<Label, Counter>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut r = Registry::with_prefix("seehear");
        let objects = Family::<Label, Gauge>::default();
        let voice = Family::<Label, Gauge>::default();
        let m = Self {
            slots: Counter::default(),
            busy: Counter::default(),
            latency: Histogram::new(LATENCY_S),
            drops: Family::default(),
            objects: STATES.map(|(_, s)| objects.get_or_create_owned(&[("state", s.to_owned())])),
            speaking: Gauge::default(),
            voice: VOICES.map(|(_, v)| voice.get_or_create_owned(&[("voice", v.to_owned())])),
            // Not a number until it is measured: Prometheus draws a gap, not a false zero.
            offset: nan(),
            left: nan(),
            confidence: FloatGauge::default(),
            fps: FloatGauge::default(),
            load: FloatGauge::default(),
            up: Gauge::default(),
            clients: Family::default(),
            lost: Family::default(),
            registry: Mutex::default(),
        };
        let seconds = || Unit::Seconds;
        r.register("slots", "Slots of 40 ms told", m.slots.clone());
        r.register_with_unit("busy", "Time that the analysis took", seconds(), m.busy.clone());
        r.register_with_unit("latency", "From a picture's arrival to its event", seconds(), m.latency.clone());
        r.register("drops", "What was not done, by cause", m.drops.clone());
        r.register("objects", "Objects known, by state", objects);
        r.register("speaking_objects", "Objects that speak", m.speaking.clone());
        r.register("voice", "1 for what the sound is now", voice);
        r.register_with_unit(
            "offset",
            "A/V offset of the input; above 0 the sound is late",
            seconds(),
            m.offset.clone(),
        );
        r.register_with_unit("offset_left", "The same of the output, after correction", seconds(), m.left.clone());
        r.register("offset_confidence", "0 to 1", m.confidence.clone());
        r.register("slots_per_second", "Slots told a second, mean of ten seconds", m.fps.clone());
        r.register("load", "Share of real time that the analysis takes, mean of ten seconds", m.load.clone());
        r.register("up", "1 while /health is in order", m.up.clone());
        r.register("clients", "Clients connected, by kind of stream", m.clients.clone());
        r.register("messages_lost", "Messages that a reader was too slow for, by reader", m.lost.clone());
        Self { registry: Mutex::new(r), ..m }
    }
}

fn nan() -> FloatGauge {
    let g = FloatGauge::default();
    g.set(f64::NAN);
    g
}

impl Metrics {
    /// Once: registering it again would double the series.
    pub(crate) fn build(&self, name: &str, h: &Header) {
        let info = Info::new(vec![
            ("name", name.to_owned()),
            ("engine", h.engine.clone()),
            ("backend", h.backend.clone()),
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ]);
        self.registry().register("build", "What runs", info);
    }

    pub(crate) fn frame(&self, frame: &FrameEvent, timing: Timing) {
        self.slots.inc();
        self.busy.inc_by(timing.busy.as_secs_f64());
        if let Some(l) = timing.latency {
            self.latency.observe(l.as_secs_f64());
        }
        for (gauge, (state, _)) in self.objects.iter().zip(STATES) {
            gauge.set(count(frame.objects.iter().filter(|o| o.state == state)));
        }
        self.speaking.set(count(frame.objects.iter().filter(|o| o.speaking)));
        for (gauge, (voice, _)) in self.voice.iter().zip(VOICES) {
            gauge.set(i64::from(frame.voice == voice));
        }
        let o = Offset::of(frame);
        self.offset.set(o.map_or(f64::NAN, |o| o.offset_ms / 1000.0));
        self.left.set(o.map_or(f64::NAN, |o| o.left_ms / 1000.0));
        self.confidence.set(f64::from(frame.offset_confidence));
    }

    pub(crate) fn drops(&self, drops: &Drops) {
        // By their names in the events, so that a new cause can't be forgotten here.
        let Ok(serde_json::Value::Object(causes)) = serde_json::to_value(drops) else { return };
        for (cause, n) in causes {
            let counter = self.drops.get_or_create(&[("cause", cause)]);
            counter.inner().store(n.as_u64().unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// Counts a client in (+1) or out (−1).
    pub(crate) fn client(&self, kind: &'static str, by: i64) {
        self.clients.get_or_create(&[("kind", kind.to_owned())]).inc_by(by);
    }

    /// Counts messages that a reader was too slow for.
    pub(crate) fn lost(&self, reader: &'static str, n: u64) {
        self.lost.get_or_create(&[("reader", reader.to_owned())]).inc_by(n);
    }

    /// How many messages a reader has lost.
    #[must_use]
    pub fn lost_by(&self, reader: &str) -> u64 {
        self.lost.get(&[("reader", reader.to_owned())]).map_or(0, |c| c.get())
    }

    /// The text that a scrape gets.
    pub(crate) fn text(&self, fps: f64, load: f64, ok: bool) -> String {
        self.fps.set(fps);
        self.load.set(load);
        self.up.set(i64::from(ok));
        let mut text = String::with_capacity(8192);
        encode(&mut text, &self.registry()).expect("a String takes everything");
        text
    }

    fn registry(&self) -> std::sync::MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(i: impl Iterator) -> i64 {
    i64::try_from(i.count()).unwrap_or(i64::MAX)
}
