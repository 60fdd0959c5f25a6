//! When a run ends: with its input, when it is stopped, on a failure, or because nothing comes any more.

use crate::error::RunError;
use std::time::{Duration, Instant};

/// A file that gives nothing for so long will give nothing more: an element that fails in silence can leave the others
/// waiting for each other.
const STALLED: Duration = Duration::from_secs(30);
/// So long encoders and muxers may take to finish their files.
const TO_END: Duration = Duration::from_secs(20);

/// What the watcher sees at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Slots told so far.
    pub(super) slots: u64,
    /// The user, or whoever reads the events, wants no more.
    pub(super) stop: bool,
    /// The analysis has told its last slot.
    pub(super) analysed: bool,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait for what comes.
    GoOn,
    /// Put in the end of the stream; said once.
    End,
    /// Everything has ended: [`Course::result`] says how.
    Over,
    /// Nothing has come for [`STALLED`].
    Stalled,
    /// The pipeline has not ended [`TO_END`] after it was told to.
    Stuck,
}

/// The course of one run.
#[derive(Debug)]
pub(super) struct Course {
    live: bool,
    /// Slots told, and since when there are so many.
    moved: (u64, Instant),
    eos: bool,
    stop: bool,
    ending_since: Option<Instant>,
    failure: Option<RunError>,
}

impl Course {
    pub(super) fn new(live: bool, now: Instant) -> Self {
        Self { live, moved: (0, now), eos: false, stop: false, ending_since: None, failure: None }
    }

    /// An element failed. That ends a file's run at once. A live recording is kept: its muxer gets the end of the
    /// stream first, and the run fails after it, with the first of its errors.
    pub(super) fn failed(&mut self, error: RunError) -> Result<(), RunError> {
        if !self.live {
            return Err(error);
        }
        // A sink that can't write takes no end of the stream either: it is not waited for.
        self.eos |= matches!(error, RunError::Output { .. });
        self.failure.get_or_insert(error);
        Ok(())
    }

    /// The display's window was closed.
    pub(super) fn stop(&mut self) {
        self.stop = true;
    }

    /// The end of the stream has come through to every sink.
    pub(super) fn eos(&mut self) {
        self.eos = true;
    }

    pub(super) fn next(&mut self, now: Instant, seen: Seen) -> Next {
        if seen.slots != self.moved.0 || self.eos {
            self.moved = (seen.slots, now);
        } else if !self.live && now - self.moved.1 > STALLED {
            return Next::Stalled;
        }
        if self.eos && seen.analysed {
            return Next::Over;
        }
        match self.ending_since {
            None if self.stop || seen.stop || self.failure.is_some() => {
                self.ending_since = Some(now);
                Next::End
            }
            Some(since) if now - since > TO_END => Next::Stuck,
            _ => Next::GoOn,
        }
    }

    /// How the run ended: whether it was stopped before its input was over, or what failed.
    pub(super) fn result(self) -> Result<bool, RunError> {
        match self.failure {
            Some(error) => Err(error),
            None => Ok(self.ending_since.is_some()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn seen(slots: u64) -> Seen {
        Seen { slots, ..Seen::default() }
    }

    fn broken(why: &str) -> RunError {
        RunError::Setup { why: why.to_owned() }
    }

    #[test]
    fn the_end_is_when_pipeline_and_analysis_have_both_ended() {
        let t = Instant::now();
        let mut course = Course::new(false, t);
        assert_eq!(course.next(t, Seen { analysed: true, ..seen(9) }), Next::GoOn);
        course.eos();
        assert_eq!(course.next(t, seen(9)), Next::GoOn);
        assert_eq!(course.next(t, Seen { analysed: true, ..seen(9) }), Next::Over);
        assert!(!course.result().unwrap());
    }

    #[test]
    fn a_stop_ends_the_streams_once_and_waits_a_bounded_time() {
        let t = Instant::now();
        let mut course = Course::new(true, t);
        let stop = Seen { stop: true, ..seen(9) };
        assert_eq!(course.next(t, stop), Next::End);
        assert_eq!(course.next(t + TO_END, stop), Next::GoOn);
        assert_eq!(course.next(t + TO_END + SECOND, stop), Next::Stuck);
        assert!(course.result().unwrap());
        let mut course = Course::new(false, t);
        course.stop();
        assert_eq!(course.next(t, seen(9)), Next::End);
        assert_eq!(course.next(t, seen(9)), Next::GoOn);
    }

    #[test]
    fn a_file_stalls_where_a_live_source_is_only_silent() {
        for (live, after) in [(false, Next::Stalled), (true, Next::GoOn)] {
            let t = Instant::now();
            let mut course = Course::new(live, t);
            assert_eq!(course.next(t + STALLED, seen(0)), Next::GoOn);
            assert_eq!(course.next(t + STALLED + SECOND, seen(1)), Next::GoOn, "a slot begins the time anew");
            assert_eq!(course.next(t + STALLED * 2 + SECOND, seen(1)), Next::GoOn);
            assert_eq!(course.next(t + STALLED * 2 + SECOND * 2, seen(1)), after);
        }
    }

    #[test]
    fn a_file_that_has_been_read_may_be_written_for_long() {
        let t = Instant::now();
        let mut course = Course::new(false, t);
        course.eos();
        assert_eq!(course.next(t + STALLED * 9, seen(0)), Next::GoOn);
    }

    #[test]
    fn a_failure_ends_a_file_at_once_and_a_live_source_in_order() {
        let t = Instant::now();
        assert!(Course::new(false, t).failed(broken("first")).is_err());
        let mut course = Course::new(true, t);
        course.failed(broken("first")).unwrap();
        course.failed(broken("second")).unwrap();
        assert_eq!(course.next(t, seen(9)), Next::End);
        course.eos();
        assert_eq!(course.next(t, Seen { analysed: true, ..seen(9) }), Next::Over);
        assert_eq!(course.result().unwrap_err().to_string(), "first");
    }

    #[test]
    fn a_full_disk_is_not_waited_for() {
        let t = Instant::now();
        let mut course = Course::new(true, t);
        course.failed(RunError::Output { path: "o.mkv".into(), why: "full".into() }).unwrap();
        assert_eq!(course.next(t, seen(9)), Next::End);
        assert_eq!(course.next(t, Seen { analysed: true, ..seen(9) }), Next::Over);
        assert!(course.result().is_err());
    }
}
