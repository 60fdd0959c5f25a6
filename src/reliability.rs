//! How far a probability of speaking can be believed, and what makes it believable.
//!
//! [`Sigmoid::fit`] is logistic regression of "is heard" on an object's attention logit (Platt 1999): two numbers, so a few
//! minutes of labelled footage are enough. [`reliability`] divides predictions into equal groups and says what share of each
//! was right (DeGroot & Fienberg 1983); [`calibration_error`] is their mean distance (Naeini et al. 2015).

#![expect(clippy::cast_precision_loss, reason = "counts of judgements")]

use serde::{Deserialize, Serialize};

/// One object in one slot: what was thought of it, and the truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// Its attention logit.
    pub logit: f32,
    /// It was heard.
    pub heard: bool,
}

/// Probability of speaking = 1 / (1 + exp(−(slope · attention logit + bias))).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sigmoid {
    /// > 0.
    pub slope: f32,
    /// Log-odds at an attention logit of 0.
    pub bias: f32,
}

/// The attention logit is taken as it is.
impl Default for Sigmoid {
    fn default() -> Self {
        Self { slope: 1.0, bias: 0.0 }
    }
}

/// Why nothing can be fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// Nobody was ever heard, or everybody always.
    #[error("all {0} judgements have the same truth: somebody must be seen both heard and not heard")]
    OneSided(usize),
    /// Who is heard has lower logits than who isn't.
    #[error("the attention is no higher where somebody is heard: is the truth that of these files?")]
    Senseless,
}

impl Sigmoid {
    /// Probability, 0…1.
    #[must_use]
    pub fn probability(self, logit: f32) -> f32 {
        1.0 / (1.0 + (-(self.slope * logit + self.bias)).exp())
    }

    /// The likeliest one, by Newton's method.
    ///
    /// # Errors
    /// When the judgements don't say.
    pub fn fit(judgements: &[Judgement]) -> Result<Self, FitError> {
        let heard = judgements.iter().filter(|j| j.heard).count();
        if heard == 0 || heard == judgements.len() {
            return Err(FitError::OneSided(judgements.len()));
        }
        // A little of a prior keeps what is perfectly told apart finite.
        const RIDGE: f64 = 1e-3;
        let (mut slope, mut bias) = (1.0_f64, 0.0_f64);
        for _ in 0..100 {
            let (mut gradient, mut hessian) = ([-RIDGE * slope, -RIDGE * bias], [RIDGE, 0.0, RIDGE]);
            for j in judgements {
                let x = f64::from(j.logit);
                let p = 1.0 / (1.0 + (-(slope * x + bias)).exp());
                let (error, weight) = (f64::from(u8::from(j.heard)) - p, p * (1.0 - p));
                gradient = [gradient[0] + error * x, gradient[1] + error];
                hessian = [hessian[0] + weight * x * x, hessian[1] + weight * x, hessian[2] + weight];
            }
            let [xx, x1, one] = hessian;
            let determinant = xx * one - x1 * x1;
            let step = [
                (one * gradient[0] - x1 * gradient[1]) / determinant,
                (xx * gradient[1] - x1 * gradient[0]) / determinant,
            ];
            // Far from the end a whole step may overshoot.
            let length = step[0].abs().max(step[1].abs());
            let part = (2.0 / length).min(1.0);
            (slope, bias) = (slope + part * step[0], bias + part * step[1]);
            if length < 1e-9 {
                break;
            }
        }
        if slope <= 0.0 || !bias.is_finite() {
            return Err(FitError::Senseless);
        }
        #[expect(clippy::cast_possible_truncation, reason = "two parameters, of some units")]
        Ok(Self { slope: slope as f32, bias: bias as f32 })
    }
}

/// One group of a reliability table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// Mean probability told, 0…1.
    pub predicted: f64,
    /// Share that was heard, 0…1.
    pub observed: f64,
    /// Judgements in it.
    pub count: usize,
}

/// The judgements in `groups` groups of equal size, by the probability told. Pairs of (probability, heard).
#[must_use]
pub fn reliability(told: &[(f32, bool)], groups: usize) -> Vec<Group> {
    let mut sorted = told.to_vec();
    sorted.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let bound = |g: usize| (g * sorted.len()).div_euclid(groups.max(1));
    (0..groups)
        .map(|g| &sorted[bound(g)..bound(g + 1)])
        .filter(|group| !group.is_empty())
        .map(|group| {
            let n = group.len() as f64;
            Group {
                predicted: group.iter().map(|t| f64::from(t.0)).sum::<f64>() / n,
                observed: group.iter().filter(|t| t.1).count() as f64 / n,
                count: group.len(),
            }
        })
        .collect()
}

/// Mean distance between what was told and what was found, weighted by count; 0 is perfect.
#[must_use]
pub fn calibration_error(groups: &[Group]) -> f64 {
    let count: usize = groups.iter().map(|g| g.count).sum();
    let sum: f64 = groups.iter().map(|g| g.count as f64 * (g.predicted - g.observed).abs()).sum();
    sum / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Judgements whose truth is drawn from a sigmoid: quantiles of a uniform variable, so that no luck is in it.
    fn drawn(truth: Sigmoid) -> Vec<Judgement> {
        let mut all = Vec::new();
        for k in -60_i32..=60 {
            let logit = 0.1 * k as f32;
            let p = truth.probability(logit);
            all.extend((0..40).map(|i| Judgement { logit, heard: (i as f32 + 0.5) / 40.0 < p }));
        }
        all
    }

    proptest! {
        #[test]
        fn a_sigmoid_is_found_again(slope in 0.4_f32..3.0, bias in -2.0_f32..2.0) {
            let truth = Sigmoid { slope, bias };
            let fitted = Sigmoid::fit(&drawn(truth)).unwrap();
            prop_assert!((fitted.slope - slope).abs() < 0.06 * slope + 0.03, "{fitted:?}");
            prop_assert!((fitted.bias - bias).abs() < 0.15, "{fitted:?}");
        }
    }

    #[test]
    fn what_is_told_apart_perfectly_stays_finite() {
        let all: Vec<_> = (-5..5).map(|k| Judgement { logit: k as f32, heard: k >= 0 }).collect();
        let fitted = Sigmoid::fit(&all).unwrap();
        assert!(fitted.slope.is_finite() && fitted.probability(3.0) > 0.99, "{fitted:?}");
    }

    #[test]
    fn what_says_nothing_is_an_error() {
        assert_eq!(Sigmoid::fit(&[]), Err(FitError::OneSided(0)));
        let upside_down: Vec<_> = (-5..5).map(|k| Judgement { logit: k as f32, heard: k < 0 }).collect();
        assert_eq!(Sigmoid::fit(&upside_down), Err(FitError::Senseless));
    }

    #[test]
    fn groups_are_equal_and_say_what_was_found() {
        let told = [(0.1, false), (0.9, true), (0.2, false), (0.8, false)];
        let table = reliability(&told, 2);
        assert_eq!(table.len(), 2);
        assert!((table[0].predicted - 0.15).abs() < 1e-6 && table[0].observed.abs() < 1e-9);
        assert!((table[1].predicted - 0.85).abs() < 1e-6 && (table[1].observed - 0.5).abs() < 1e-9);
        assert!((calibration_error(&table) - 0.25).abs() < 1e-6);
        assert!(reliability(&[], 10).is_empty() && calibration_error(&[]).abs() < 1e-9);
    }
}
