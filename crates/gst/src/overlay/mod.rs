//! `seehearoverlay`: draws the results of a [`Board`] over raw video, in place.
//!
//! A picture waits for the result of its own slot: in a file until it comes (20 s at most: then the analysis has
//! stalled, and the file must still end), at most the
//! declared latency plus a margin on a live pipeline, where it is then shown with the last result there is, and
//! counted. On a live pipeline the element adds that waiting time to the latency query.

mod imp;

use crate::board::Board;
use gst::glib;
use gst::prelude::*;
use seehear::time::TimeDelta;
use std::sync::Arc;

/// A picture may come so much before its own time and wait for its result until then: a transport stream's do.
pub(crate) const EARLY: TimeDelta = TimeDelta::from_ms(500);

glib::wrapper! {
    /// The element.
    pub struct SeehearOverlay(ObjectSubclass<imp::SeehearOverlay>)
        @extends gst_video::VideoFilter, gst_base::BaseTransform, gst::Element, gst::Object;
}

impl SeehearOverlay {
    /// An overlay over the results of `board`; `patience`: how long after its own time a live picture is held for its
    /// result, `None` where the source waits.
    #[must_use]
    pub fn with_board(board: Arc<Board>, patience: Option<TimeDelta>) -> Self {
        let this: Self = glib::Object::new();
        imp::SeehearOverlay::from_obj(&this).set_board(board, patience);
        this
    }

    /// Pictures that were shown without the result of their own slot.
    #[must_use]
    pub fn undrawn(&self) -> u64 {
        self.property("undrawn")
    }
}

/// Registers the element.
///
/// # Errors
/// When GStreamer refuses it.
pub fn register(plugin: Option<&gst::Plugin>) -> Result<(), glib::BoolError> {
    gst::Element::register(plugin, "seehearoverlay", gst::Rank::NONE, SeehearOverlay::static_type())
}

use gst::subclass::prelude::ObjectSubclassExt;
