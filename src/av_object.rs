//! Audio-visual objects: what the tracker keeps of a source of sound in the picture.

use crate::geometry::PxRect;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// How surely an object is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrackState {
    /// Heard, but not long enough to be told from chance.
    Tentative,
    /// There: heard at its place and, if it has fallen silent since, still to be seen.
    Confirmed,
    /// Known, but not to be seen, or hardly ever heard and silent for a while; takes its id up again when it is.
    Lost,
}

/// A source of sound with a place and an identity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AvObject {
    /// Given once, never again in a session.
    pub id: u32,
    /// Place and extent in the source picture.
    pub rect: PxRect,
    /// Attention logit at its place, this slot.
    pub logit: f32,
    /// How surely it is there.
    pub state: TrackState,
    /// Start of the slot in which a peak last stood for it.
    pub last_peak: Timestamp,
}
