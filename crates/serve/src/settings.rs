//! What may be changed while it runs.
//!
//! The hub knows what holds ([`Settings`], told by the program) and what was asked for ([`Change`], taken by the
//! program). A setting that this run can't change is `null`: it is shown nowhere, and asking for it is an error.

use serde::{Deserialize, Serialize};

/// Lowest and highest threshold that can be asked for: outside, everybody or nobody speaks.
pub const THRESHOLD: std::ops::RangeInclusive<f32> = 0.05..=0.95;

/// What a run does about the offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SyncMode {
    /// It is not told.
    Off,
    /// It is told.
    Measure,
    /// It is told and corrected in the output.
    Correct,
}

/// What holds now. `None`, or `false` for `step_sync`: can't be changed in this run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Probability from which on an object counts as speaking, [`THRESHOLD`].
    pub threshold: Option<f32>,
    /// Frames around objects in what the program writes or shows.
    pub overlay: Option<bool>,
    /// The attention map, drawn over the same.
    pub heatmap: Option<bool>,
    /// What is done about the offset.
    pub sync: Option<SyncMode>,
    /// The values that `sync` may take.
    pub sync_modes: Vec<SyncMode>,
    /// Whether a step of the correction can be asked for now.
    pub step_sync: bool,
}

impl Settings {
    /// Takes over a change that has been applied.
    pub fn take_over(&mut self, change: Change) {
        match change {
            Change::Threshold(t) => self.threshold = Some(t),
            Change::Overlay(on) => self.overlay = Some(on),
            Change::Heatmap(on) => self.heatmap = Some(on),
            Change::Sync(mode) => self.sync = Some(mode),
            Change::StepSync => {}
        }
    }
}

/// A change that somebody asked for, checked against its range and against what can be changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// [`Settings::threshold`].
    Threshold(f32),
    /// [`Settings::overlay`].
    Overlay(bool),
    /// [`Settings::heatmap`].
    Heatmap(bool),
    /// [`Settings::sync`].
    Sync(SyncMode),
    /// Apply at once what is known of the offset, instead of slewing.
    StepSync,
}

/// Why a change was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not what [`Request`] describes.
    #[error("settings: {0}")]
    Malformed(String),
    /// Out of range.
    #[error("settings: threshold is {0}; it must be {min} to {max}", min = THRESHOLD.start(), max = THRESHOLD.end())]
    Threshold(String),
    /// Not in this run.
    #[error("settings: {0} can't be changed in this run")]
    Fixed(&'static str),
    /// The program has not yet taken what was asked for before.
    #[error("settings: too many changes are waiting; ask again in a second")]
    Busy,
}

/// The JSON of a change: one or more of the settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    threshold: Option<f32>,
    overlay: Option<bool>,
    heatmap: Option<bool>,
    sync: Option<SyncMode>,
    step_sync: Option<bool>,
}

impl Request {
    /// Reads JSON.
    ///
    /// # Errors
    /// Names the field and what is allowed.
    pub fn parse(json: &[u8]) -> Result<Self, Refused> {
        let request: Self = serde_json::from_slice(json).map_err(|e| Refused::Malformed(e.to_string()))?;
        if request == Self::default() {
            return Err(Refused::Malformed("nothing to change was named".to_owned()));
        }
        Ok(request)
    }

    /// The changes, all or none, given what holds now.
    ///
    /// # Errors
    /// A value out of range, or a setting that can't be changed.
    pub fn changes(&self, now: &Settings) -> Result<Vec<Change>, Refused> {
        let mut changes = Vec::new();
        if let Some(t) = self.threshold {
            now.threshold.ok_or(Refused::Fixed("threshold"))?;
            if !THRESHOLD.contains(&t) {
                return Err(Refused::Threshold(t.to_string()));
            }
            changes.push(Change::Threshold(t));
        }
        if let Some(on) = self.overlay {
            now.overlay.ok_or(Refused::Fixed("overlay"))?;
            changes.push(Change::Overlay(on));
        }
        if let Some(on) = self.heatmap {
            now.heatmap.ok_or(Refused::Fixed("heatmap"))?;
            changes.push(Change::Heatmap(on));
        }
        if let Some(mode) = self.sync {
            now.sync.ok_or(Refused::Fixed("sync"))?;
            if !now.sync_modes.contains(&mode) {
                return Err(Refused::Fixed("sync (to that mode)"));
            }
            changes.push(Change::Sync(mode));
        }
        match self.step_sync {
            Some(true) if now.step_sync => changes.push(Change::StepSync),
            Some(true) => return Err(Refused::Fixed("step_sync")),
            Some(false) => return Err(Refused::Malformed("step_sync can only be true".to_owned())),
            None => {}
        }
        Ok(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Settings {
        Settings {
            threshold: Some(0.5),
            overlay: Some(true),
            heatmap: Some(false),
            sync: Some(SyncMode::Measure),
            sync_modes: vec![SyncMode::Off, SyncMode::Measure],
            step_sync: true,
        }
    }

    #[test]
    fn requests() {
        let changes = |json: &str| Request::parse(json.as_bytes()).and_then(|r| r.changes(&all()));
        assert_eq!(changes(r#"{"threshold":0.6}"#), Ok(vec![Change::Threshold(0.6)]));
        assert_eq!(
            changes(r#"{"overlay":false,"heatmap":true,"sync":"off","step_sync":true}"#),
            Ok(vec![Change::Overlay(false), Change::Heatmap(true), Change::Sync(SyncMode::Off), Change::StepSync])
        );
        for (json, says) in [
            (r#"{"threshold":0.01}"#, "settings: threshold is 0.01; it must be 0.05 to 0.95"),
            (r#"{"threshold":1e40}"#, "number out of range"),
            (r#"{"sync":"correct"}"#, "sync (to that mode) can't be changed"),
            (r#"{"sync":"loud"}"#, "unknown variant `loud`"),
            (r#"{"volume":1}"#, "unknown field `volume`"),
            ("{}", "nothing to change"),
            ("", "EOF"),
            ("[[[[", "invalid"),
            (r#"{"step_sync":false}"#, "can only be true"),
        ] {
            let told = changes(json).unwrap_err().to_string();
            assert!(told.contains(says), "{json}: {told}");
        }
    }

    #[test]
    fn what_a_run_cannot_change_is_refused() {
        for json in [r#"{"threshold":0.5}"#, r#"{"overlay":true}"#, r#"{"heatmap":true}"#, r#"{"step_sync":true}"#] {
            let told = Request::parse(json.as_bytes()).unwrap().changes(&Settings::default());
            assert!(matches!(told, Err(Refused::Fixed(_))), "{json}: {told:?}");
        }
    }

    #[test]
    fn one_bad_part_refuses_all() {
        let r = Request::parse(br#"{"overlay":false,"threshold":2}"#).unwrap();
        assert_eq!(r.changes(&all()), Err(Refused::Threshold("2".to_owned())));
    }

    #[test]
    fn what_was_applied_holds() {
        let mut s = Settings::default();
        for c in [Change::Threshold(0.7), Change::Overlay(true), Change::Sync(SyncMode::Off), Change::StepSync] {
            s.take_over(c);
        }
        assert_eq!((s.threshold, s.overlay, s.heatmap, s.sync), (Some(0.7), Some(true), None, Some(SyncMode::Off)));
    }
}
