//! Objects as `GstAnalyticsRelationMeta` on the pictures: what GStreamer's own analytics elements give and take since 1.24.
//!
//! Each object is an object detection ("speaker" or "person", its box, the probability of speaking) and a tracking (its id, and
//! when it was first seen), which are related to each other.

use crate::board::Drawn;
use gst::glib;
use gst_analytics::prelude::*;
use std::collections::BTreeMap;

/// When an id was first seen, running time; ids are never given twice.
pub(crate) type FirstSeen = BTreeMap<u32, gst::ClockTime>;

/// Ids that are remembered: an hour of a busy street.
const REMEMBERED: usize = 4096;

/// Attaches the objects of a slot to the picture of running time `now`.
///
/// # Errors
/// When GStreamer refuses.
pub(crate) fn attach(
    buffer: &mut gst::BufferRef,
    drawn: &[Drawn],
    now: gst::ClockTime,
    seen: &mut FirstSeen,
) -> Result<(), glib::BoolError> {
    if drawn.is_empty() {
        return Ok(());
    }
    let mut meta = gst_analytics::AnalyticsRelationMeta::add(buffer);
    for d in drawn {
        let kind = glib::Quark::from_str(if d.mark.speaking { "speaker" } else { "person" });
        let pixels = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        let object = meta.add_od_mtd(kind, d.x, d.y, pixels(d.mark.width), pixels(d.mark.height), d.score)?.id();
        let first = *seen.entry(d.mark.id).or_insert(now);
        let track = meta.add_tracking_mtd(u64::from(d.mark.id), first)?.id();
        meta.set_relation(gst_analytics::RelTypes::RELATE_TO, object, track)?;
        meta.set_relation(gst_analytics::RelTypes::RELATE_TO, track, object)?;
    }
    while seen.len() > REMEMBERED {
        seen.pop_first();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use seehear::overlay::Mark;

    #[test]
    fn objects_are_found_again_with_their_tracks() {
        gst::init().unwrap();
        let drawn =
            |id, speaking, x| Drawn { mark: Mark { id, speaking, width: 80, height: 60 }, x, y: 50, score: 0.75 };
        let mut seen = FirstSeen::new();
        let s = gst::ClockTime::from_seconds;
        attach(gst::Buffer::new().get_mut().unwrap(), &[drawn(7, false, 10)], s(1), &mut seen).unwrap();
        let mut buffer = gst::Buffer::new();
        attach(buffer.get_mut().unwrap(), &[drawn(7, true, 12), drawn(9, false, 400)], s(3), &mut seen).unwrap();

        let meta = buffer.meta::<gst_analytics::AnalyticsRelationMeta>().unwrap();
        let objects: Vec<_> = meta.iter::<gst_analytics::AnalyticsODMtd>().collect();
        let said: Vec<_> = objects
            .iter()
            .map(|o| {
                let at = o.location().unwrap();
                let track = meta
                    .iter_direct_related::<gst_analytics::AnalyticsTrackingMtd>(
                        o.id(),
                        gst_analytics::RelTypes::RELATE_TO,
                    )
                    .next()
                    .unwrap();
                let (id, first, ..) = track.info();
                (o.obj_type().unwrap().as_str().to_string(), at.x, at.y, at.w, at.h, id, first.seconds())
            })
            .collect();
        assert_eq!(said, [("speaker".into(), 12, 50, 80, 60, 7, 1), ("person".into(), 400, 50, 80, 60, 9, 3)]);
        assert!(objects.iter().all(|o| (o.location().unwrap().loc_conf_lvl - 0.75).abs() < 1e-6));

        let mut nobody = gst::Buffer::new();
        attach(nobody.get_mut().unwrap(), &[], s(4), &mut seen).unwrap();
        assert!(nobody.meta::<gst_analytics::AnalyticsRelationMeta>().is_none());
    }
}
