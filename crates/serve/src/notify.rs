//! The service manager: ready, watchdog, status, reloading, stopping.
//!
//! The watchdog is tied to the work: it is fed only while slots are told. A source that is lost, or an analysis that
//! hangs, ends in a restart by the service manager (`Restart=on-watchdog` or `on-failure`). Outside a service manager
//! nothing of this does anything.

use crate::Hub;
use sd_notify::NotifyState;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often it is looked whether there is progress, without a watchdog.
const STATUS_EVERY: Duration = Duration::from_secs(10);
/// Shortest time between two looks.
const SHORTEST: Duration = Duration::from_millis(20);

/// Notifies until it is dropped; then says that the service stops.
#[derive(Debug)]
pub struct Notifier {
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Begins to notify: ready at the first slot, then the watchdog with every progress. `None` outside a service manager.
///
/// # Errors
/// No thread.
pub fn start(hub: &Hub) -> std::io::Result<Option<Notifier>> {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return Ok(None);
    }
    // Three looks a watchdog's time: one may come just before a slot.
    let every = sd_notify::watchdog_enabled().map_or(STATUS_EVERY, |t| (t / 3).max(SHORTEST));
    let (stop, stopped) = sync_channel(0);
    let hub = hub.clone();
    let work = move || follow(&hub, every, &stopped);
    let thread = std::thread::Builder::new().name("notify".to_owned()).spawn(work)?;
    Ok(Some(Notifier { stop: Some(stop), thread: Some(thread) }))
}

/// Says that the configuration is read anew; say [`reloaded`] after it.
///
/// # Errors
/// The service manager can't be told.
pub fn reloading() -> std::io::Result<()> {
    sd_notify::notify(&[NotifyState::Reloading, NotifyState::monotonic_usec_now()?])
}

/// Says that it has been read, and what came of it.
///
/// # Errors
/// The service manager can't be told.
pub fn reloaded(status: &str) -> std::io::Result<()> {
    sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(&one_line(status))])
}

impl Drop for Notifier {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

fn follow(hub: &Hub, every: Duration, stop: &Receiver<()>) {
    let mut ready = false;
    let mut seen = 0;
    // Quickly at first: whoever waits for the service should not wait for the watchdog.
    let mut wait = SHORTEST;
    while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(wait) {
        let slots = hub.slots();
        if slots == seen {
            continue;
        }
        seen = slots;
        let mut states = vec![NotifyState::Watchdog];
        if !ready {
            ready = true;
            wait = every;
            states.push(NotifyState::Ready);
        }
        let status = status(hub);
        states.push(NotifyState::Status(&status));
        // There is nobody else to be told that the service manager can't be.
        drop(sd_notify::notify(&states));
    }
    drop(sd_notify::notify(&[NotifyState::Stopping, NotifyState::Status("stopping")]));
}

fn status(hub: &Hub) -> String {
    let v = hub.vitals();
    let mut text = format!("{} slots, {:.1} a second, load {:.0} %", v.slots, v.fps, v.load * 100.0);
    for what in v.health.reasons.iter().chain(&v.health.warnings) {
        text.push_str("; ");
        text.push_str(what);
    }
    one_line(&text)
}

/// A line's end would begin another assignment.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
