//! PPO's options one by one, against slow definitions.

mod collecting;
mod scripted;
mod settings;
mod slow;
mod updating;
