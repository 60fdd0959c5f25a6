//! The motion stage on a thread of its own, beside the networks: what it finds of a slot is asked for some slots later,
//! when the slot's sound is there too.
//!
//! First in, first out, one answer for each picture: what is said does not depend on which thread is faster. Tickets go
//! round and nothing is allocated.

use crate::motion::{CellMotion, MotionConfig, MotionEstimator};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// A picture on its way to the thread, and its motion on its way back.
#[derive(Debug)]
struct Ticket {
    /// Packed `[height, width]`.
    picture: Vec<u8>,
    moved: bool,
    /// The first picture of a stream.
    first: bool,
    motion: CellMotion,
}

const ALIVE: &str = "the motion thread ends with its owner";

/// A [`MotionEstimator`] on a thread.
#[derive(Debug)]
pub struct MotionThread {
    /// `None` once it ends.
    to: Option<SyncSender<Ticket>>,
    from: Receiver<Ticket>,
    free: Vec<Ticket>,
    /// What was pulled last.
    current: Ticket,
    pending: usize,
    first: bool,
    thread: Option<JoinHandle<()>>,
}

impl MotionThread {
    /// For pictures of `width` × `height` pixels whose maps have a cell every `stride` pixels. At most `depth` pictures may
    /// wait to be pulled.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn new(
        config: &MotionConfig,
        (width, height): (usize, usize),
        stride: usize,
        depth: usize,
    ) -> std::io::Result<Self> {
        let mut estimator = MotionEstimator::new(config, width, height, stride);
        let motion = estimator.pull().clone();
        let ticket = || Ticket { picture: vec![0; width * height], moved: false, first: true, motion: motion.clone() };
        let (to, work) = sync_channel::<Ticket>(depth);
        let (done, from) = sync_channel(depth);
        let thread = std::thread::Builder::new().name("motion".into()).spawn(move || {
            for mut ticket in work {
                if ticket.first {
                    estimator.reset();
                }
                match estimator.push(&ticket.picture, ticket.moved) {
                    Ok(()) => ticket.motion.copy_from(estimator.pull()),
                    Err(e) => unreachable!("the pictures have the size that the stage was made for: {e}"),
                }
                if done.send(ticket).is_err() {
                    return;
                }
            }
        })?;
        let free = (0..depth).map(|_| ticket()).collect();
        Ok(Self { to: Some(to), from, free, current: ticket(), pending: 0, first: true, thread: Some(thread) })
    }

    /// Takes the next slot's picture, packed `[height, width]`; `moved`: whether it differs from the one before.
    ///
    /// # Panics
    /// When more pictures wait than was said.
    pub fn push(&mut self, picture: &[u8], moved: bool) {
        let mut ticket = self.free.pop().expect("as many tickets as pictures may wait");
        ticket.picture.copy_from_slice(picture);
        (ticket.moved, ticket.first) = (moved, std::mem::take(&mut self.first));
        self.to.as_ref().expect(ALIVE).send(ticket).expect(ALIVE);
        self.pending += 1;
    }

    /// How the cells moved to the earliest picture that has not been pulled yet, from the one before; waits for the thread.
    /// `None` where there is no such picture.
    pub fn pull(&mut self) -> Option<&CellMotion> {
        self.pending = self.pending.checked_sub(1)?;
        let ticket = self.from.recv().expect(ALIVE);
        self.free.push(std::mem::replace(&mut self.current, ticket));
        Some(&self.current.motion)
    }

    /// Begins a new stream of pictures; those that wait are forgotten.
    pub fn reset(&mut self) {
        while self.pull().is_some() {}
        self.first = true;
    }
}

impl Drop for MotionThread {
    fn drop(&mut self) {
        self.to = None;
        // It takes what waits, some milliseconds, and ends.
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the motion thread panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (usize, usize) = (96, 64);

    fn picture(k: usize) -> Vec<u8> {
        (0..SIZE.0 * SIZE.1)
            .map(|i| {
                let (x, y) = (i % SIZE.0 + 2 * k, i / SIZE.0);
                (128.0 + 60.0 * (x as f32 / 5.0).sin() + 50.0 * (y as f32 / 7.0 + x as f32 / 11.0).cos()) as u8
            })
            .collect()
    }

    #[test]
    fn it_says_what_the_stage_says_in_order_and_forgets_as_it_does() {
        let config = MotionConfig::default();
        let mut beside = MotionThread::new(&config, SIZE, 16, 4).unwrap();
        let mut stage = MotionEstimator::new(&config, SIZE.0, SIZE.1, 16);
        for stream in 0..3 {
            for k in 0..8 {
                beside.push(&picture(stream + k), true);
                beside.push(&picture(stream + k + 1), k % 2 == 0);
                for (at, moved) in [(k, true), (k + 1, k % 2 == 0)] {
                    stage.push(&picture(stream + at), moved).unwrap();
                    assert_eq!(beside.pull(), Some(stage.pull()));
                }
                assert_eq!(beside.pull(), None);
            }
            beside.push(&picture(0), true);
            beside.reset();
            stage.reset();
            assert_eq!(beside.pull(), None);
        }
    }

    #[test]
    fn it_ends_with_pictures_under_way() {
        let mut beside = MotionThread::new(&MotionConfig::default(), SIZE, 16, 4).unwrap();
        (0..4).for_each(|k| beside.push(&picture(k), true));
    }
}
