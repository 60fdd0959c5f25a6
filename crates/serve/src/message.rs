//! Messages: the lines of `events.rs` of the core, and events derived from them for those who want less than 25 a second.
//!
//! | kind | when | beyond the core's own fields |
//! |---|---|---|
//! | `header` | once, and to every newcomer | `source` without secrets |
//! | `frame` | every slot | – |
//! | `speaking` | when who speaks, or what the voice is, changes | [`Speaking`] |
//! | `offset` | once a second of material, once there is one | [`Offset`] |
//! | `vitals` | once a second on the clock | [`crate::vitals::Vitals`] |
//! | `settings` | when they change, and to every newcomer | [`crate::Settings`] |
//! | `history` | to newcomers only | the [`Speaking`] of the last ten minutes |
//! | `summary` | once, last | – |

use axum::extract::ws::Utf8Bytes;
use seehear::asd::Voice;
use seehear::events::FrameEvent;
use serde::Serialize;

/// From this confidence on an offset is sure, as for the live correction.
pub const SURE: f32 = 0.9;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The source is known.
    Header,
    /// One slot.
    Frame,
    /// Who speaks has changed.
    Speaking,
    /// The offset.
    Offset,
    /// Speed, load, latency, health.
    Vitals,
    /// The settings.
    Settings,
    /// Who has spoken so far.
    History,
    /// The end.
    Summary,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Header,
        Self::Frame,
        Self::Speaking,
        Self::Offset,
        Self::Vitals,
        Self::Settings,
        Self::History,
        Self::Summary,
    ];

    /// As in the field `type`, in SSE's `event:` and in MQTT's topics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Frame => "frame",
            Self::Speaking => "speaking",
            Self::Offset => "offset",
            Self::Vitals => "vitals",
            Self::Settings => "settings",
            Self::History => "history",
            Self::Summary => "summary",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.name() == name)
    }
}

/// One message: a JSON object with `type`, on one line, without the line's end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// The JSON.
    pub json: Utf8Bytes,
}

#[derive(Serialize)]
struct Typed<'a, T> {
    r#type: &'static str,
    #[serde(flatten)]
    body: &'a T,
}

impl Message {
    /// The JSON of `body` with its type in front.
    pub(crate) fn new<T: Serialize>(kind: Kind, body: &T) -> Self {
        let json = serde_json::to_string(&Typed { r#type: kind.name(), body });
        Self { kind, json: json.expect("plain structs of numbers and strings").into() }
    }
}

/// Who speaks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Speaking {
    /// Start of the slot from which on this holds, ms.
    pub t_ms: f64,
    /// What the sound is.
    pub voice: Voice,
    /// The objects that speak, by id.
    pub ids: Vec<u32>,
}

impl Speaking {
    pub(crate) fn of(frame: &FrameEvent) -> Self {
        let ids = frame.objects.iter().filter(|o| o.speaking).map(|o| o.id).collect();
        Self { t_ms: frame.t_ms, voice: frame.voice, ids }
    }

    pub(crate) fn same(&self, frame: &FrameEvent) -> bool {
        self.voice == frame.voice
            && self.ids.iter().copied().eq(frame.objects.iter().filter(|o| o.speaking).map(|o| o.id))
    }
}

/// Where an offset lies in the bands of ITU-R BT.1359-1: what most viewers notice, and what they put up with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Band {
    /// At most 45 ms early, 125 ms late.
    Undetectable,
    /// At most 90 ms early, 185 ms late.
    Detectable,
    /// Beyond.
    Unacceptable,
    /// Not measured surely enough to say.
    Unsure,
}

impl Band {
    /// Of an offset, ms; > 0: the sound is late.
    #[must_use]
    pub fn of(offset_ms: f64) -> Self {
        match offset_ms {
            -45.0..=125.0 => Self::Undetectable,
            -90.0..=185.0 => Self::Detectable,
            _ => Self::Unacceptable,
        }
    }
}

/// The offset.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Offset {
    /// Start of the slot, ms.
    pub t_ms: f64,
    /// In the input. > 0: the sound is late.
    pub offset_ms: f64,
    /// 0…1.
    pub confidence: f32,
    /// In the output: less what the correction takes off.
    pub left_ms: f64,
    /// Of `left_ms`.
    pub bt1359: Band,
}

impl Offset {
    pub(crate) fn of(frame: &FrameEvent) -> Option<Self> {
        let offset_ms = frame.offset_ms?;
        let left_ms = offset_ms - frame.sync.map_or(0.0, |s| s.applied_ms);
        let left_ms = (left_ms * 10.0).round() / 10.0;
        let bt1359 = if frame.offset_confidence < SURE { Band::Unsure } else { Band::of(left_ms) };
        Some(Self { t_ms: frame.t_ms, offset_ms, confidence: frame.offset_confidence, left_ms, bt1359 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seehear::correct::SyncState;
    use seehear::events::SyncEvent;

    #[test]
    fn kinds_have_names() {
        for k in Kind::ALL {
            assert_eq!(Kind::named(k.name()), Some(k));
            assert_eq!(serde_json::to_string(&k).unwrap(), format!("{:?}", k.name()));
        }
        assert_eq!(Kind::named("frames"), None);
    }

    #[test]
    fn the_limits_themselves_are_allowed_and_late_is_positive() {
        for (ms, band) in [
            (0.0, Band::Undetectable),
            (-45.0, Band::Undetectable),
            (125.0, Band::Undetectable),
            (-45.1, Band::Detectable),
            (125.1, Band::Detectable),
            (-90.0, Band::Detectable),
            (185.0, Band::Detectable),
            (-90.1, Band::Unacceptable),
            (185.1, Band::Unacceptable),
        ] {
            assert_eq!(Band::of(ms), band, "{ms}");
        }
    }

    #[test]
    fn what_is_left_is_judged() {
        let mut frame = FrameEvent {
            t_ms: 40.0,
            objects: Vec::new(),
            voice: Voice::None,
            offset_ms: Some(200.04),
            offset_confidence: 1.0,
            sync: Some(SyncEvent { state: SyncState::Holding, applied_ms: 190.0, target_ms: 190.0 }),
        };
        let o = Offset::of(&frame).unwrap();
        assert!((o.left_ms - 10.0).abs() < 1e-9);
        assert_eq!(o.bt1359, Band::Undetectable);
        frame.offset_confidence = 0.89;
        assert_eq!(Offset::of(&frame).map(|o| o.bt1359), Some(Band::Unsure));
        frame.offset_ms = None;
        assert_eq!(Offset::of(&frame), None);
    }
}
