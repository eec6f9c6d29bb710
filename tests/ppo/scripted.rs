//! An environment whose observations, rewards and ends follow from the number of the step, with a log of what happened.

use lrpilot::Result;
use lrpilot::agent::{Ppo, PpoConfig, Slot};
use lrpilot::env::{Env, Info, Space, Step};
use std::sync::{Arc, Mutex};

/// The seed of the agents.
pub const SEED: u64 = 5;

/// One step as the environment saw it.
#[derive(Clone, Debug)]
pub struct Taken {
    pub seen: Vec<f32>,
    pub action: Vec<f32>,
    pub reward: f64,
    pub next: Vec<f32>,
    pub terminated: bool,
    pub truncated: bool,
}

/// The steps of an environment from its first on.
pub type Log = Arc<Mutex<Vec<Taken>>>;

/// What the environment does at step `k`, counted over all episodes.
#[derive(Clone)]
pub struct Script {
    pub action_space: Space,
    pub observe: fn(u64) -> Vec<f32>,
    pub reward: fn(u64, &[f32]) -> f64,
    /// Terminated, truncated.
    pub end: fn(u64) -> (bool, bool),
}

impl Script {
    /// Observations of two numbers with different means and spreads; rewards of both signs that depend on the action; episodes
    /// that terminate, that are cut off, and (at step 24) both.
    pub fn new(low: Vec<f32>, high: Vec<f32>) -> Self {
        Script {
            action_space: Space::Box { low, high },
            observe: |k| vec![(k as f32 * 1.3).sin(), 3.0 + 2.0 * (k as f32 * 0.7).cos()],
            reward: |k, action| 2.0 * (k as f64 * 1.7).sin() + 0.1 * f64::from(action[0]),
            end: |k| (k % 7 == 3, k % 5 == 4),
        }
    }

    /// A new agent and its slots; slot i starts i steps into the script.
    pub fn agent(&self, config: PpoConfig, slots: usize) -> (Ppo, Vec<Slot>, Vec<Log>) {
        let ppo = Ppo::new(config, (self.observe)(0).len(), &self.action_space, SEED).unwrap();
        let logs: Vec<Log> = (0..slots).map(|_| Log::default()).collect();
        let slot = |(i, log): (usize, &Log)| Slot::new(i, Box::new(self.env(i, log.clone())));
        (ppo, logs.iter().enumerate().map(slot).collect(), logs)
    }

    pub fn env(&self, first: usize, log: Log) -> Scripted {
        let at = first as u64;
        Scripted { script: self.clone(), at, shown: Vec::new(), log }
    }
}

/// An environment that follows a script.
pub struct Scripted {
    script: Script,
    at: u64,
    shown: Vec<f32>,
    log: Log,
}

impl Env for Scripted {
    fn observation_space(&self) -> Space {
        let n = (self.script.observe)(0).len();
        Space::Box { low: vec![f32::NEG_INFINITY; n], high: vec![f32::INFINITY; n] }
    }

    fn action_space(&self) -> Space {
        self.script.action_space.clone()
    }

    /// Shows something that no step shows, so that the first observation of an episode is not the last of the one before.
    fn reset(&mut self, _: u64) -> Result<Vec<f32>> {
        self.shown = (self.script.observe)(self.at + 1_000_000);
        Ok(self.shown.clone())
    }

    fn step(&mut self, action: &[f32]) -> Result<Step> {
        let reward = (self.script.reward)(self.at, action);
        let (terminated, truncated) = (self.script.end)(self.at);
        let next = (self.script.observe)(self.at + 1);
        let seen = std::mem::replace(&mut self.shown, next.clone());
        let taken = Taken { seen, action: action.to_vec(), reward, next: next.clone(), terminated, truncated };
        self.log.lock().unwrap().push(taken);
        self.at += 1;
        Ok(Step { observation: next, reward, terminated, truncated, info: Info::default() })
    }

    fn save(&self) -> Result<Vec<u8>> {
        Ok(postcard::to_stdvec(&(self.at, &self.shown)).unwrap())
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        (self.at, self.shown) = postcard::from_bytes(state).unwrap();
        Ok(())
    }
}
