//! Objects as `GstVideoRegionOfInterestMeta` on the pictures, for elements further on.
//!
//! `roi_type` is "speaker" or "person"; its one parameter, the structure `seehear`, has `id` (uint), `score` (float,
//! probability of speaking) and `speaking` (boolean). Boxes are of the picture they are on, pixels. With the feature `analytics` as
//! `GstAnalyticsRelationMeta` besides.

use crate::board::{Board, Slide};
use crate::time::timestamp;
use gst::prelude::*;
use std::sync::Arc;
use std::time::Duration;

/// Attaches what the board has to the pictures that pass at `pad`; whoever stands before it has waited for it.
pub(crate) fn attach(pad: &gst::Pad, board: &Arc<Board>) {
    let board = Arc::clone(board);
    let slide = std::sync::Mutex::new(Slide::default());
    #[cfg(feature = "analytics")]
    let first_seen = std::sync::Mutex::new(crate::analytics::FirstSeen::new());
    pad.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let Some(gst::PadProbeData::Buffer(buffer)) = &mut info.data else { return gst::PadProbeReturn::Ok };
        let segment = pad.sticky_event::<gst::event::Segment>(0);
        let running = segment
            .as_ref()
            .and_then(|s| s.segment().downcast_ref::<gst::ClockTime>())
            .zip(buffer.pts())
            .and_then(|(s, pts)| s.to_running_time(pts));
        let Some(running) = running else { return gst::PadProbeReturn::Ok };
        let mut slide = slide.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if board.read(timestamp(running), Duration::ZERO, Duration::ZERO, &mut slide) == crate::board::Found::Nothing {
            return gst::PadProbeReturn::Ok;
        }
        let buffer = buffer.make_mut();
        for drawn in &slide.drawn {
            let at = |v: i32| u32::try_from(v).unwrap_or(0);
            let rect = (at(drawn.x), at(drawn.y), drawn.mark.width, drawn.mark.height);
            let kind = if drawn.mark.speaking { "speaker" } else { "person" };
            let mut meta = gst_video::VideoRegionOfInterestMeta::add(buffer, kind, rect);
            meta.add_param(
                gst::Structure::builder("seehear")
                    .field("id", drawn.mark.id)
                    .field("score", drawn.score)
                    .field("speaking", drawn.mark.speaking)
                    .build(),
            );
        }
        #[cfg(feature = "analytics")]
        {
            let mut first_seen = first_seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Err(e) = crate::analytics::attach(buffer, &slide.drawn, running, &mut first_seen) {
                gst::warning!(gst::CAT_DEFAULT, obj = pad, "{e}");
            }
        }
        gst::PadProbeReturn::Ok
    });
}
