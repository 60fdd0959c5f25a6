//! Events to a rotated file, on a thread of its own: a slow disk holds nobody up. Lines that it is too slow for, or that
//! the disk does not take, are counted (`messages_lost{reader="file"}`) and told by `/health`.

use crate::Hub;
use crate::message::Kind;
use crate::rotate::{Limits, Rotating};
use crate::vitals::Severity;
use std::io;
use std::path::Path;
use std::thread::JoinHandle;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::oneshot;

const READER: &str = "file";

/// Records until it is stopped or dropped.
#[derive(Debug)]
pub struct Recorder {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Writes what has been told so far, and ends.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Records header, slots and summary to `path`, as `--events` does, and rotates it.
///
/// # Errors
/// A path that can't be written to.
pub fn record(hub: &Hub, path: &Path, limits: Limits) -> io::Result<Recorder> {
    let file = Rotating::create(path, limits)?;
    let (first, messages) = hub.subscribe();
    let mut sink = Sink { hub: hub.clone(), file, well: true };
    let (stop, stopped) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let thread = std::thread::Builder::new().name("record".to_owned()).spawn(move || {
        for m in first.iter().filter(|m| m.kind == Kind::Header) {
            sink.line(m.kind, m.json.as_str());
        }
        runtime.block_on(sink.follow(messages, stopped));
    })?;
    Ok(Recorder { stop: Some(stop), thread: Some(thread) })
}

struct Sink {
    hub: Hub,
    file: Rotating,
    well: bool,
}

impl Sink {
    async fn follow(
        &mut self,
        mut messages: broadcast::Receiver<crate::message::Message>,
        mut stop: oneshot::Receiver<()>,
    ) {
        loop {
            let received = tokio::select! {
                // What is there already is written before a stop is heeded.
                biased;
                r = messages.recv() => r,
                _ = &mut stop => return,
            };
            match received {
                Ok(m) => self.line(m.kind, m.json.as_str()),
                Err(RecvError::Lagged(n)) => self.hub.metrics().lost(READER, n),
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn line(&mut self, kind: Kind, json: &str) {
        let written = match kind {
            Kind::Header => self.file.first_line(json.as_bytes()),
            Kind::Frame | Kind::Summary => self.file.line(json.as_bytes()),
            _ => return,
        };
        match written {
            Ok(()) if self.well => {}
            Ok(()) => {
                self.well = true;
                self.hub.trouble(READER, None);
            }
            Err(e) => {
                self.hub.metrics().lost(READER, 1);
                self.well = false;
                self.hub
                    .trouble(READER, Some((Severity::Warning, format!("{e}; lines are lost until it can be written"))));
            }
        }
    }
}
