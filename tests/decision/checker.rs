//! The environment checker, on environments that keep the contract and on some that break it in one place each.

use crate::classic::{Acrobot, CartPole, Classic, Pendulum};
use crate::scripted::{digits, env, quadratic};
use lrpilot::env::{Env, EnvConfig, Formulation, Info, Space, Step, check_env};
use lrpilot::task::{TaskMixture, TaskSource};
use lrpilot::{Error, Result};
use lrpilot_core::HyperparameterRange;
use std::sync::Arc;

fn check_formulations<S: TaskSource + 'static>(source: &Arc<S>, further: &[HyperparameterRange]) {
    for formulation in [Formulation::Paper, Formulation::Pilot] {
        for hyperparameters in [Vec::new(), further.to_vec()] {
            let config = EnvConfig { formulation, hyperparameters, ..EnvConfig::default() };
            check_env(&mut env(source, &config.parts(source.spec()).unwrap())).unwrap();
        }
    }
}

#[test]
fn training_runs_keep_the_contract() {
    check_formulations(&digits(6), &HyperparameterRange::all());
    check_formulations(&Arc::new(quadratic(30)), &[]);
    let sources: Vec<Box<dyn TaskSource>> = vec![Box::new(quadratic(9)), Box::new(quadratic(12))];
    check_formulations(&Arc::new(TaskMixture::new("two", sources).unwrap()), &[]);
}

#[test]
fn classic_problems_keep_the_contract() {
    check_env(&mut Classic::<CartPole>::new()).unwrap();
    check_env(&mut Classic::<Acrobot>::new()).unwrap();
    check_env(&mut Classic::<Pendulum>::new()).unwrap();
}

/// What is wrong with a [`Walk`].
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    NoLength,
    BoundsReversed,
    NoChoice,
    SeedIgnored,
    WrongLength,
    NotFinite,
    OutsideOfTheBox,
    RewardNotFinite,
    GoesOnAfterTheEnd,
    RewardNotRepeated,
    EndNotRepeated,
    LoadsNothing,
    SavesHalf,
    LoadErrors,
}

/// A walk on a line that ends after nine steps. It is right but for one fault.
struct Walk {
    fault: Fault,
    at: f32,
    speed: f32,
    steps: u64,
    /// Counts over all episodes.
    resets: u64,
}

impl Walk {
    fn new(fault: Fault) -> Self {
        Walk { fault, at: 0.0, speed: 0.0, steps: 9, resets: 0 }
    }

    fn observe(&self) -> Vec<f32> {
        match self.fault {
            Fault::WrongLength if self.steps == 2 => vec![self.at],
            Fault::NotFinite if self.steps == 2 => vec![self.at, f32::NAN],
            Fault::OutsideOfTheBox if self.steps == 2 => vec![self.at, 1e9],
            _ => vec![self.at, self.speed],
        }
    }
}

impl Env for Walk {
    fn observation_space(&self) -> Space {
        match self.fault {
            Fault::NoLength => Space::Box { low: vec![], high: vec![] },
            Fault::BoundsReversed => Space::Box { low: vec![-1e3, 1.0], high: vec![1e3, -1.0] },
            _ => Space::Box { low: vec![-1e3; 2], high: vec![1e3; 2] },
        }
    }

    fn action_space(&self) -> Space {
        if self.fault == Fault::NoChoice { Space::Discrete(0) } else { Space::Box { low: vec![-1.0], high: vec![1.0] } }
    }

    fn reset(&mut self, seed: u64) -> Result<Vec<f32>> {
        self.resets += 1;
        let start = if self.fault == Fault::SeedIgnored { self.resets } else { seed };
        (self.at, self.speed, self.steps) = ((start % 10) as f32, 0.0, 0);
        Ok(self.observe())
    }

    fn step(&mut self, action: &[f32]) -> Result<Step> {
        if self.steps >= 9 && self.fault != Fault::GoesOnAfterTheEnd {
            return Err(Error::Bug("the walk is over".into()));
        }
        self.speed += action[0];
        self.at += self.speed;
        self.steps += 1;
        let reward = match self.fault {
            Fault::RewardNotFinite if self.steps == 4 => f64::INFINITY,
            Fault::RewardNotRepeated => self.resets as f64,
            _ => f64::from(self.at),
        };
        let early = self.fault == Fault::EndNotRepeated && self.resets > 6 && self.steps == 5;
        let terminated = self.steps >= 9 || early;
        Ok(Step { observation: self.observe(), reward, terminated, truncated: false, info: Info::default() })
    }

    fn save(&self) -> Result<Vec<u8>> {
        let speed = if self.fault == Fault::SavesHalf { 0.0 } else { self.speed };
        Ok(postcard::to_stdvec(&(self.at, speed, self.steps)).unwrap())
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        match self.fault {
            Fault::LoadsNothing => self.steps = 3,
            Fault::LoadErrors => return Err(Error::Bug("nothing was saved".into())),
            _ => (self.at, self.speed, self.steps) = postcard::from_bytes(state).unwrap(),
        }
        Ok(())
    }
}

#[test]
fn each_fault_is_named_with_its_value() {
    check_env(&mut Walk::new(Fault::None)).unwrap();
    let faults = [
        (Fault::NoLength, "the box of observations has 0 lower and 0 upper bounds"),
        (Fault::BoundsReversed, "the bounds of entry 1 of observations are [1, -1]"),
        (Fault::NoChoice, "there are 0 actions"),
        (Fault::SeedIgnored, "two resets with the seed 0 observe [1.0, 0.0] and [2.0, 0.0]"),
        (Fault::WrongLength, "an observation has 1 numbers, its space 2"),
        (Fault::NotFinite, "entry 1 of an observation is NaN"),
        (Fault::OutsideOfTheBox, "entry 1 of an observation is 1000000000, outside of [-1000, 1000]"),
        (Fault::RewardNotFinite, "is inf"),
        (Fault::GoesOnAfterTheEnd, "an episode ended with step 9, and step 10 was no error"),
        (Fault::RewardNotRepeated, "the same seed and actions, tried twice, differ in step 1"),
        (Fault::EndNotRepeated, "terminated false, truncated false against"),
        (Fault::LoadsNothing, "the same one loaded after another, differ in step"),
        (Fault::SavesHalf, "the same one loaded after another, differ in step"),
        (Fault::LoadErrors, "nothing was saved"),
    ];
    for (fault, words) in faults {
        let error = check_env(&mut Walk::new(fault)).unwrap_err().to_string();
        assert!(error.contains(words), "{fault:?}: {error}");
        assert!(fault == Fault::LoadErrors || error.starts_with("environment: "), "{fault:?}: {error}");
    }
}
