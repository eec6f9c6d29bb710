//! A budget of less than a second.

/// Trainings of one interval: the smallest budget that still pays for the grid of the comparison, 100 intervals.
pub const SMALLEST: [&str; 12] = [
    "--set",
    "task.horizon=1",
    "--set",
    "learn.epochs=100",
    "--set",
    "learn.environments=1",
    "--set",
    "learn.candidates=1",
    "--set",
    "learn.selection_seeds=1",
    "--set",
    "ppo.n_steps=1",
];
