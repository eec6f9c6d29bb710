//! Training as a decision process: what is seen, done and paid in learning, and the same decisions in deployment.

mod checker;
#[path = "../common/classic.rs"]
mod classic;
mod collecting;
mod deployment;
mod divergence;
mod files;
mod formulas;
mod scripted;
mod start;
