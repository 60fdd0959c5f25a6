//! What a backend tells while it works: that a kept plan no longer fits, how far a build has come. Only the program prints.

use std::fmt;
use std::sync::Arc;

/// One thing told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A sentence for people.
    Says(String),
    /// A build goes on.
    Building {
        /// TensorRT's name of the phase.
        phase: String,
        /// Steps done, from 0.
        done: usize,
        /// Steps of this phase.
        of: usize,
    },
}

type Hear = dyn Fn(&Notice) + Send + Sync;

/// Who is told; by default nobody.
#[derive(Clone, Default)]
pub struct Listener(Option<Arc<Hear>>);

impl Listener {
    /// Calls this, from whatever thread builds.
    pub fn new(hear: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(hear)))
    }

    /// Tells it.
    pub fn tell(&self, notice: &Notice) {
        if let Some(hear) = &self.0 {
            hear(notice);
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Listener(somebody)" } else { "Listener(nobody)" })
    }
}
