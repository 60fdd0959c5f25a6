//! What the user or the service manager asks of a run by signals.

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Signals that have come. Each is a flag: two of a kind before somebody looks are one.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    stop: Arc<AtomicBool>,
    step: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

impl Signals {
    /// Catches SIGINT and SIGTERM (stop), SIGUSR1 (step the sync), and SIGHUP: read the configuration anew where there is one
    /// (`reloads`); the terminal is gone otherwise, and the run ends in order.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn catch(reloads: bool) -> anyhow::Result<Self> {
        let these = Self::default();
        let hang_up = if reloads { &these.reload } else { &these.stop };
        let pairs = [(SIGINT, &these.stop), (SIGTERM, &these.stop), (SIGUSR1, &these.step), (SIGHUP, hang_up)];
        for (signal, flag) in pairs {
            signal_hook::flag::register(signal, Arc::clone(flag)).context("signals can't be caught")?;
        }
        Ok(these)
    }

    /// Whether the run is to end. Stays so.
    pub(crate) fn stop(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Whether a step was asked for since the last time this was.
    pub(crate) fn take_step(&self) -> bool {
        self.step.swap(false, Ordering::AcqRel)
    }

    /// As [`Signals::take_step`], for a reload.
    pub(crate) fn take_reload(&self) -> bool {
        self.reload.swap(false, Ordering::AcqRel)
    }
}
