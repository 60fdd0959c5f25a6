//! Progress on a terminal.

use crate::say;
use gstseehear::run::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use seehear::time::{SLOT, TimeDelta, Timestamp};
use std::io::{self, IsTerminal};

/// The progress bar: position, speed, time left.
pub(crate) struct Bar(Option<ProgressBar>);

impl Bar {
    /// `shown`: if standard error is a terminal at all.
    pub(crate) fn new(shown: bool) -> Self {
        if !shown || !io::stderr().is_terminal() {
            return Self(None);
        }
        Self(Some(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8))))
    }

    #[expect(clippy::cast_precision_loss, reason = "display")]
    /// Shows how far a run is.
    pub(crate) fn update(&self, p: &Progress) {
        let Some(bar) = &self.0 else { return };
        let style = |text: &str| ProgressStyle::with_template(text).expect("our own template");
        let ms = |t: TimeDelta| u64::try_from(t.ns().div_euclid(1_000_000)).unwrap_or(0);
        match p.length {
            Some(length) if bar.length().is_none() => {
                bar.set_style(style("{wide_bar:.green} {percent:>3} %  {msg}  {eta} left"));
                bar.set_length(ms(length));
            }
            None if bar.position() == 0 => bar.set_style(style("{spinner} {msg}")),
            _ => {}
        }
        bar.set_position(ms(p.at - Timestamp::ZERO));
        let wall = p.wall.as_secs_f64().max(1e-3);
        let fps = p.slots as f64 / wall;
        bar.set_message(format!("{}  {fps:.0} slots/s  {:.1}× real time", p.at, fps * SLOT.as_s_f64()));
    }

    /// A line for people, above the bar.
    pub(crate) fn say(&self, line: &str) {
        match &self.0 {
            Some(bar) => bar.suspend(|| say::note(line)),
            None => say::note(line),
        }
    }

    /// Shows a share of a piece of work, 0…1.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share")]
    pub(crate) fn share(&self, part: f64, what: &'static str) {
        let Some(bar) = &self.0 else { return };
        if bar.length() != Some(1000) {
            let style = ProgressStyle::with_template("{wide_bar:.green} {percent:>3} %  {msg}  {eta} left");
            bar.set_style(style.expect("our own template"));
            bar.set_length(1000);
            bar.set_message(what);
        }
        bar.set_position((part.clamp(0.0, 1.0) * 1000.0) as u64);
    }

    /// Wipes it off.
    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
