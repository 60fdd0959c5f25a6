//! How long to wait before something that was lost is tried again.

use crate::plan::Reconnect;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Waits that grow, by chance a quarter shorter or longer.
#[derive(Debug)]
pub(crate) struct Waits {
    config: Reconnect,
    tries: u32,
}

impl Waits {
    pub(crate) fn new(config: Reconnect) -> Self {
        Self { config, tries: 0 }
    }

    /// The next wait is the first one again.
    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }

    pub(crate) fn next(&mut self) -> Duration {
        self.by(random())
    }

    /// `chance`: 0…1.
    fn by(&mut self, chance: f64) -> Duration {
        let longest = Duration::from_millis(self.config.longest_wait_ms);
        let doubled = 1_u64.checked_shl(self.tries).unwrap_or(u64::MAX);
        let wait = Duration::from_millis(self.config.first_wait_ms.saturating_mul(doubled)).min(longest);
        self.tries = self.tries.saturating_add(1).min(32);
        wait.mul_f64(0.75 + 0.5 * chance)
    }
}

/// 0…1, other in every process: hash keys are chosen by chance.
#[expect(clippy::cast_precision_loss, reason = "a chance")]
fn random() -> f64 {
    RandomState::new().hash_one(0) as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_begin_anew_after_a_steady_time() {
        let config = Reconnect { first_wait_ms: 500, longest_wait_ms: 30_000, silent_after_ms: 5_000 };
        let mut waits = Waits::new(config);
        let ms: Vec<u128> = (0..40).map(|_| waits.by(0.5).as_millis()).collect();
        assert_eq!(ms[..8], [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert!(ms[8..].iter().all(|w| *w == 30_000));
        waits.reset();
        assert_eq!((waits.by(0.0).as_millis(), waits.by(1.0).as_millis()), (375, 1_250));
    }

    #[test]
    fn chance_is_no_constant_and_within_bounds() {
        let all: Vec<f64> = (0..50).map(|_| random()).collect();
        assert!(all.iter().all(|c| (0.0..=1.0).contains(c)));
        assert!(all.iter().any(|c| *c < 0.4) && all.iter().any(|c| *c > 0.6));
    }
}
