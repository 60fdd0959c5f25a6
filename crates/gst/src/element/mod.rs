//! `seehear`: the whole of it as one element, for anybody's pipeline.
//!
//! ```text
//!             ┌─────────────────────── seehear ───────────────────────┐
//! video_sink ─┤ convert ─ tee ─┬─ analysis ─▶ messages, properties    │
//!             │                └─ queue ─ overlay ─ ROI metas ─(later)├─ video_src
//! audio_sink ─┤ convert ─ tee ─┬─ 16 kHz mono ─ analysis              │
//!             │                └─ queue ─(later)──────────────────────├─ audio_src
//!             └────────────────────────────────────────────────────────┘
//! ```
//!
//! A [run](crate::run) has it in its pipeline too, between source and outputs, and analyses by itself: its reports go to an
//! observer. What it is told and tells: `gst-inspect-1.0 seehear`, docs/gstreamer.md.

mod imp;
mod messages;
mod settings;

use crate::error::RunError;
use crate::run::graph::{Graph, GraphOptions};
use crate::source::Targets;
use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::ObjectSubclassExt;
use seehear::time::TimeDelta;

glib::wrapper! {
    /// The element.
    pub struct Seehear(ObjectSubclass<imp::Seehear>) @extends gst::Bin, gst::Element, gst::Object;
}

impl Seehear {
    /// An element that takes pictures and sound and gives them on as ever, but whose analysis is done by whoever has its
    /// graph: nothing is loaded, properties and messages say nothing. `latency`: as for [`Graph::build`].
    ///
    /// # Errors
    /// When an element is missing.
    pub(crate) fn driven(latency: TimeDelta, options: &GraphOptions<'_>) -> Result<(Self, Graph), RunError> {
        let this: Self = glib::Object::new();
        let imp = imp::Seehear::from_obj(&this);
        imp.be_driven();
        let graph = imp.fill(latency, options, false)?;
        Ok((this, graph))
    }

    /// Where raw picture and sound go in.
    ///
    /// # Errors
    /// None that a caller can do anything about.
    pub(crate) fn targets(&self) -> Result<Targets, RunError> {
        let imp = imp::Seehear::from_obj(self);
        let [video, audio, ..] = imp::PADS;
        Ok(Targets { video: imp.ghost(video)?.upcast(), audio: imp.ghost(audio)?.upcast() })
    }

    /// The pads on which picture and sound go on.
    pub(crate) const OUT: (&'static str, &'static str) = (imp::PADS[2], imp::PADS[3]);
}

/// Registers the element.
///
/// # Errors
/// When GStreamer refuses it.
pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    gst::Element::register(plugin, "seehear", gst::Rank::NONE, Seehear::static_type())
}
