//! The search for a family's learning rate on a task.
//!
//! There are 25 levels and four seeds, a hundred trainings. They are run as a race: two seeds of every level first, and the
//! other two where a level may still win, which is within a tenth of the smallest loss or within two levels of where that
//! is. So a level far behind the best after two seeds costs no more, and every level that competes has four.

use crate::run::compare::log_grid;

/// Levels of the learning rate.
pub(super) const LEVELS: usize = 25;
/// Seeds of each level that are run first.
pub(super) const FIRST: usize = 2;
/// Seeds of a level that stays in the race.
pub(super) const SEEDS: usize = 4;
/// How many decades the levels go beyond the task's usual range, in which large rates of decaying schedules are found.
const BEYOND: f64 = 0.5;
/// In ln of the loss: how far behind the best a level may be and stay in the race.
const MARGIN: f64 = 0.1;
/// In levels: how far from the best it may be, however far behind.
const NEIGHBOURS: usize = 2;

/// The levels for a task with the range `bounds`.
pub(super) fn levels(bounds: (f64, f64)) -> Vec<f64> {
    log_grid((bounds.0, bounds.1 * 10f64.powf(BEYOND)), LEVELS)
}

/// ln(median + ε) of each level's losses, and the mean over each level and its neighbours. A level without losses does not
/// occur.
fn smoothed(losses: &[Vec<f64>], epsilon: f64) -> Vec<f64> {
    let logs: Vec<f64> = losses.iter().map(|l| (median(l) + epsilon).ln()).collect();
    let around = |k: usize| &logs[k.saturating_sub(1)..(k + 2).min(logs.len())];
    (0..logs.len()).map(|k| around(k).iter().sum::<f64>() / around(k).len() as f64).collect()
}

fn median(losses: &[f64]) -> f64 {
    let mut sorted = losses.to_vec();
    sorted.sort_by(f64::total_cmp);
    crate::record::statistics::quantile(&sorted, 0.5)
}

fn smallest(scores: &[f64]) -> usize {
    (0..scores.len()).min_by(|a, b| scores[*a].total_cmp(&scores[*b])).unwrap_or(0)
}

/// The levels that stay in the race after the first seeds.
pub(super) fn survivors(losses: &[Vec<f64>], epsilon: f64) -> Vec<usize> {
    let scores = smoothed(losses, epsilon);
    let best = smallest(&scores);
    (0..scores.len()).filter(|k| scores[*k] <= scores[best] + MARGIN || k.abs_diff(best) <= NEIGHBOURS).collect()
}

/// The level with the smallest smoothed loss among those that stayed in the race, and that loss's ln.
pub(super) fn winner(losses: &[Vec<f64>], epsilon: f64) -> (usize, f64) {
    let mut scores = smoothed(losses, epsilon);
    for (score, losses) in scores.iter_mut().zip(losses) {
        if losses.len() < SEEDS {
            *score = f64::INFINITY;
        }
    }
    let best = smallest(&scores);
    (best, scores[best])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_go_half_a_decade_beyond_the_range() {
        let levels = levels((1e-6, 1.0));
        assert_eq!(levels.len(), 25);
        assert!((levels[0] / 1e-6 - 1.0).abs() < 1e-12 && (levels[24] / 10f64.sqrt() - 1.0).abs() < 1e-12);
    }

    /// Losses 9, 4, 1, 4, 16 with ε = 0: the means of neighbouring logs are those of 6, 36^(1/3), 16^(1/3), 64^(1/3), 8.
    #[test]
    fn the_smoothed_minimum_wins() {
        let losses: Vec<Vec<f64>> = [9.0, 4.0, 1.0, 4.0, 16.0].iter().map(|l| vec![*l; SEEDS]).collect();
        let expected = [6f64, 36f64.cbrt(), 16f64.cbrt(), 64f64.cbrt(), 8.0].map(f64::ln);
        assert!(smoothed(&losses, 0.0).iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12));
        let (best, score) = winner(&losses, 0.0);
        assert!(best == 2 && (score - expected[2]).abs() < 1e-12);
    }

    /// One lucky level beside bad ones loses against a level in good company.
    #[test]
    fn a_lucky_level_does_not_win() {
        let losses: Vec<Vec<f64>> = [5.0, 0.9, 5.0, 1.2, 1.0, 1.2, 5.0].iter().map(|l| vec![*l; SEEDS]).collect();
        assert_eq!(winner(&losses, 0.01).0, 4);
    }

    #[test]
    fn hopeless_levels_leave_the_race_and_cannot_win() {
        let mut losses: Vec<Vec<f64>> = (0..LEVELS).map(|k| vec![1.0 + 0.2 * k.abs_diff(10) as f64; FIRST]).collect();
        let left = survivors(&losses, 0.01);
        assert_eq!(left, [8, 9, 10, 11, 12], "the neighbours, though they are more than a tenth behind");
        for k in left {
            losses[k] = vec![losses[k][0]; SEEDS];
        }
        losses[3] = vec![0.0; FIRST];
        assert_eq!(winner(&losses, 0.01).0, 10);
        let flat = vec![vec![1.0; FIRST]; LEVELS];
        assert_eq!(survivors(&flat, 0.01).len(), LEVELS, "where nothing matters nothing is left out");
    }

    #[test]
    fn the_median_of_four_is_the_mean_of_the_middle_two() {
        assert_eq!((median(&[4.0, 1.0, 9.0, 2.0]), median(&[3.0, 1.0])), (3.0, 2.0));
    }
}
