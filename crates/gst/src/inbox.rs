//! The inbox: the bounded queue between GStreamer's streaming threads and the analysis thread.
//!
//! Two streams, each with its own bound and policy. The analysis takes from the stream that its next window waits for,
//! so that a muxer's interleaving never fills one side while the other starves.

use crate::plan::{DropPolicy, Queues};
use seehear::align::Want;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a stream delivers.
#[derive(Debug)]
pub enum Item<T> {
    /// Data, and when it arrived.
    Data(T, Instant),
    /// The end of the stream.
    End,
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// The picture.
    Video,
    /// The sound.
    Audio,
}

/// What the analysis takes.
#[derive(Debug)]
pub enum Taken<V, A> {
    /// From the picture.
    Video(Item<V>),
    /// From the sound.
    Audio(Item<A>),
    /// Nothing came in the given time.
    Nothing,
    /// The inbox was closed.
    Closed,
}

#[derive(Debug)]
struct Lane<T> {
    items: VecDeque<T>,
    arrivals: VecDeque<Instant>,
    ended: bool,
    end_taken: bool,
    max: usize,
    policy: DropPolicy,
    dropped: u64,
}

impl<T> Lane<T> {
    fn new(max: usize, policy: DropPolicy) -> Self {
        Self {
            items: VecDeque::with_capacity(max + 1),
            arrivals: VecDeque::with_capacity(max + 1),
            ended: false,
            end_taken: false,
            max,
            policy,
            dropped: 0,
        }
    }

    /// Takes the item in, or drops by policy; `false` if it must wait.
    fn offer(&mut self, item: &mut Option<T>) -> bool {
        if self.items.len() >= self.max {
            match self.policy {
                DropPolicy::Block => return false,
                DropPolicy::DropNewest => {
                    self.dropped += 1;
                    *item = None;
                    return true;
                }
                DropPolicy::DropOldest => {
                    self.dropped += 1;
                    self.items.pop_front();
                    self.arrivals.pop_front();
                }
            }
        }
        if let Some(item) = item.take() {
            self.items.push_back(item);
            self.arrivals.push_back(Instant::now());
        }
        true
    }

    fn clear(&mut self) {
        self.items.clear();
        self.arrivals.clear();
        (self.ended, self.end_taken) = (false, false);
    }

    fn take(&mut self) -> Option<Item<T>> {
        match (self.items.pop_front(), self.arrivals.pop_front()) {
            (Some(item), Some(at)) => Some(Item::Data(item, at)),
            _ if self.ended && !self.end_taken => {
                self.end_taken = true;
                Some(Item::End)
            }
            _ => None,
        }
    }
}

#[derive(Debug)]
struct State<V, A> {
    video: Lane<V>,
    audio: Lane<A>,
    closed: bool,
}

/// The inbox.
#[derive(Debug)]
pub struct Inbox<V, A> {
    state: Mutex<State<V, A>>,
    changed: Condvar,
}

/// Pushing into an inbox that nobody reads any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

impl<V, A> Inbox<V, A> {
    /// With these bounds and policies.
    #[must_use]
    pub fn new(queues: &Queues) -> Self {
        let state = State {
            video: Lane::new(queues.video.max_items, queues.video.policy),
            audio: Lane::new(queues.audio.max_items, queues.audio.policy),
            closed: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Forgets what is there of a stream, its end too. What was dropped stays counted.
    pub fn forget(&self, stream: Stream) {
        let mut state = self.lock();
        match stream {
            Stream::Video => state.video.clear(),
            Stream::Audio => state.audio.clear(),
        }
    }

    /// Open again; the end of a stream that has come to it is told once more, to who begins anew.
    pub fn reopen(&self) {
        let mut state = self.lock();
        (state.video.end_taken, state.audio.end_taken) = (false, false);
        state.closed = false;
    }

    fn lock(&self) -> MutexGuard<'_, State<V, A>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push<T>(&self, item: T, lane: impl Fn(&mut State<V, A>) -> &mut Lane<T>) -> Result<(), Closed> {
        let mut item = Some(item);
        let mut state = self.lock();
        loop {
            if state.closed {
                return Err(Closed);
            }
            if lane(&mut state).offer(&mut item) {
                drop(state);
                self.changed.notify_all();
                return Ok(());
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Puts a frame in, by the policy.
    ///
    /// # Errors
    /// [`Closed`].
    pub fn push_video(&self, item: V) -> Result<(), Closed> {
        self.push(item, |s| &mut s.video)
    }

    /// Puts sound in, by the policy.
    ///
    /// # Errors
    /// [`Closed`].
    pub fn push_audio(&self, item: A) -> Result<(), Closed> {
        self.push(item, |s| &mut s.audio)
    }

    /// No more frames.
    pub fn end_video(&self) {
        self.lock().video.ended = true;
        self.changed.notify_all();
    }

    /// No more sound.
    pub fn end_audio(&self) {
        self.lock().audio.ended = true;
        self.changed.notify_all();
    }

    /// Nobody reads any more: pushers return at once.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Nothing is taken in at present.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// The next item of a wanted stream, waiting at most `patience` for it.
    pub fn take(&self, want: Want, patience: Duration) -> Taken<V, A> {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if state.closed {
                return Taken::Closed;
            }
            // Where sources don't wait, of both what has waited longer: or pictures, of which there are always some where the
            // analysis is behind, would leave the sound waiting.
            let sound_is_older = match (state.video.arrivals.front(), state.audio.arrivals.front()) {
                (Some(picture), Some(sound)) => state.video.policy != DropPolicy::Block && sound < picture,
                _ => false,
            };
            let picture_first = want.video && !(want.audio && sound_is_older);
            let mut taken = None;
            if picture_first {
                taken = state.video.take().map(Taken::Video);
            }
            if taken.is_none() && want.audio {
                taken = state.audio.take().map(Taken::Audio);
            }
            if let Some(taken) = taken {
                drop(state);
                self.changed.notify_all();
                return taken;
            }
            let now = Instant::now();
            if now >= deadline {
                return Taken::Nothing;
            }
            state = self.changed.wait_timeout(state, deadline - now).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Frames and sound buffers dropped so far.
    #[must_use]
    pub fn dropped(&self) -> (u64, u64) {
        let state = self.lock();
        (state.video.dropped, state.audio.dropped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::QueueConfig;
    use std::sync::Arc;

    fn inbox(policy: DropPolicy) -> Inbox<u32, u32> {
        let q = QueueConfig { max_items: 3, policy };
        Inbox::new(&Queues { video: q.clone(), audio: q })
    }

    fn drain(inbox: &Inbox<u32, u32>) -> Vec<u32> {
        let mut got = Vec::new();
        while let Taken::Video(Item::Data(v, _)) = inbox.take(Want { video: true, audio: false }, Duration::ZERO) {
            got.push(v);
        }
        got
    }

    #[test]
    fn each_policy_keeps_what_it_says_and_counts_the_rest() {
        for (policy, kept) in [(DropPolicy::DropOldest, [2, 3, 4]), (DropPolicy::DropNewest, [0, 1, 2])] {
            let b = inbox(policy);
            for i in 0..5 {
                b.push_video(i).unwrap();
            }
            assert_eq!(drain(&b), kept);
            assert_eq!(b.dropped(), (2, 0));
        }
    }

    #[test]
    fn block_waits_and_loses_nothing() {
        let b = Arc::new(inbox(DropPolicy::Block));
        let pusher = {
            let b = Arc::clone(&b);
            std::thread::spawn(move || (0..500).try_for_each(|i| b.push_video(i)))
        };
        let mut got = Vec::new();
        while got.len() < 500 {
            match b.take(Want { video: true, audio: true }, Duration::from_secs(20)) {
                Taken::Video(Item::Data(v, _)) => got.push(v),
                other => panic!("{other:?}"),
            }
        }
        pusher.join().unwrap().unwrap();
        assert_eq!(got, (0..500).collect::<Vec<_>>());
    }

    #[test]
    fn closing_frees_a_blocked_pusher_and_the_end_comes_once() {
        let b = Arc::new(inbox(DropPolicy::Block));
        for i in 0..3 {
            b.push_audio(i).unwrap();
        }
        let pusher = {
            let b = Arc::clone(&b);
            std::thread::spawn(move || b.push_audio(9))
        };
        b.end_video();
        let want = Want { video: true, audio: false };
        assert!(matches!(b.take(want, Duration::ZERO), Taken::Video(Item::End)));
        assert!(matches!(b.take(want, Duration::ZERO), Taken::Nothing));
        b.close();
        assert_eq!(pusher.join().unwrap(), Err(Closed));
        assert!(matches!(b.take(want, Duration::ZERO), Taken::Closed));
    }

    #[test]
    fn a_flush_forgets_its_stream_and_keeps_the_other() {
        let b = inbox(DropPolicy::Block);
        b.push_video(1).unwrap();
        b.push_audio(2).unwrap();
        b.end_video();
        b.end_audio();
        let both = Want { video: true, audio: true };
        assert!(matches!(b.take(both, Duration::ZERO), Taken::Video(Item::Data(1, _))));
        assert!(matches!(b.take(both, Duration::ZERO), Taken::Video(Item::End)));
        b.close();
        b.forget(Stream::Audio);
        b.reopen();
        assert!(matches!(b.take(both, Duration::ZERO), Taken::Video(Item::End)), "for who begins anew");
        assert!(matches!(b.take(both, Duration::ZERO), Taken::Nothing), "the sound has not ended any more");
        b.push_audio(3).unwrap();
        b.close();
        b.forget(Stream::Video);
        b.reopen();
        assert!(matches!(b.take(both, Duration::ZERO), Taken::Audio(Item::Data(3, _))));
    }
}
