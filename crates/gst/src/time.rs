//! GStreamer's times as the core's. What does not fit into 63 bits of nanoseconds (292 years) becomes their largest.

use seehear::time::{TimeDelta, Timestamp};

fn ns(t: gst::ClockTime) -> i64 {
    i64::try_from(t.nseconds()).unwrap_or(i64::MAX)
}

/// A time on the line of running time, or on that of a file's own time stamps.
pub(crate) fn timestamp(t: gst::ClockTime) -> Timestamp {
    Timestamp::from_ns(ns(t))
}

/// A length.
pub(crate) fn delta(t: gst::ClockTime) -> TimeDelta {
    TimeDelta::from_ns(ns(t))
}

/// A length for GStreamer, which knows none below zero.
pub(crate) fn clock_time(t: TimeDelta) -> gst::ClockTime {
    gst::ClockTime::from_nseconds(u64::try_from(t.ns()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_the_nearest_that_does() {
        for (from, ns) in [(0, 0), (40_000_000, 40_000_000), (u64::MAX - 1, i64::MAX)] {
            let t = gst::ClockTime::from_nseconds(from);
            assert_eq!((timestamp(t), delta(t)), (Timestamp::from_ns(ns), TimeDelta::from_ns(ns)));
        }
        for (from, ns) in [(-1, 0), (0, 0), (40_000_000, 40_000_000)] {
            assert_eq!(clock_time(TimeDelta::from_ns(from)), gst::ClockTime::from_nseconds(ns));
        }
    }
}
