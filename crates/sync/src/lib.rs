//! What is made of a measured A/V offset: verdicts by the standards, the report, and the corrected file.
//!
//! **Sign everywhere: > 0 means that the sound is late.** The measuring itself is the core's
//! ([`seehear::sync_meter`], [`seehear::sync`]).

#![forbid(unsafe_code)]

pub mod fix;
pub mod report;
pub mod verdict;
pub mod voices;
