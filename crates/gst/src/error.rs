//! What can go wrong in a run, in words that name the input, the time and the remedy.

use seehear::net::NetError;
use seehear::time::Timestamp;
use std::path::PathBuf;

/// An error of a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// GStreamer or one of its elements is missing.
    #[error("{why}")]
    Setup {
        /// What and how to get it.
        why: String,
    },
    /// The input does not exist or can't be opened.
    #[error("{input}: {why}")]
    Input {
        /// As the user named it.
        input: String,
        /// What is wrong and what to do.
        why: String,
    },
    /// The input has no such stream.
    #[error("{input}: no {stream} track; seehear needs picture and sound{hint}")]
    NoStream {
        /// As the user named it.
        input: String,
        /// "video" or "audio".
        stream: &'static str,
        /// More help.
        hint: String,
    },
    /// The input broke on the way.
    #[error("{input}: at {at}: {why}")]
    Broken {
        /// As the user named it.
        input: String,
        /// How far the analysis had come.
        at: Timestamp,
        /// What is wrong and what to do.
        why: String,
    },
    /// The output can't be written.
    #[error("{path}: {why}")]
    Output {
        /// The output.
        path: PathBuf,
        /// What is wrong and what to do.
        why: String,
    },
    /// A pipeline file is wrong.
    #[error("pipeline {path}: {why}")]
    Plan {
        /// The file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The engine.
    #[error(transparent)]
    Net(#[from] NetError),
    /// Whoever takes the events failed.
    #[error("events: {0}")]
    Observer(#[from] std::io::Error),
}

impl RunError {
    /// Whether a live recording holds what came before the failure.
    #[must_use]
    pub fn leaves_a_recording(&self) -> bool {
        matches!(self, Self::Broken { .. } | Self::Output { .. })
    }
}
