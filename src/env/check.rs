//! The contract of an environment as code: what learning relies on, tried out.

use crate::env::{Env, Space, Step};
use crate::rng::{Purpose, stream};
use crate::{Error, Result};
use rand::RngExt as _;

/// Seeds of the episodes that are tried; those that follow an end count on from the first.
const SEEDS: [u64; 2] = [0, 1 << 32];
/// Random actions, which follow the lowest, the highest and the middle one.
const RANDOM: usize = 20;
/// Steps in which an end is waited for.
const PATIENCE: usize = 1000;

/// Try out whether `env` keeps the contract of [`Env`], as Gymnasium's `check_env` does: run it on an environment of your
/// own before an agent learns in it.
///
/// It checks that
/// - the spaces have a length, and bounds in order;
/// - two resets with one seed give the same first observation;
/// - observations have the length of their space, are finite and lie within its bounds, and rewards are finite, for
///   the lowest, the highest, the middle and 20 random actions (an infinite bound is tried as a finite number);
/// - a step after the end of an episode is an error (if an episode ends within 1000 steps);
/// - the same seed and the same actions give the same observations, rewards and ends, bit for bit;
/// - an episode that was saved in the middle goes on to the same bits once it is loaded, also when another episode was
///   begun or loaded in between.
///
/// [`Step::info`] is for people and not checked. The environment is left in the middle of some episode; reset it before use.
///
/// ```
/// use lrpilot::env::{EnvConfig, LrEnv, check_env};
/// use lrpilot::task::{ConfiguredTask, Preset, TaskSource};
/// use std::sync::Arc;
/// let source = Arc::new(ConfiguredTask::new(&Preset::NoisyQuadratic.config(), None)?);
/// let parts = EnvConfig::default().parts(source.spec())?;
/// check_env(&mut LrEnv::new(source, parts)?)?;
/// # Ok::<(), lrpilot::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`] with the place `environment`, saying what was violated and by which value; the environment's own.
pub fn check_env(env: &mut dyn Env) -> Result<()> {
    let spaces = Spaces::of(env)?;
    check_resets(env, &spaces)?;
    let actions = spaces.actions();
    let whole = play(env, &spaces, SEEDS[0], &actions)?;
    let again = play(env, &spaces, SEEDS[0], &actions)?;
    same("the same seed and actions, tried twice", &whole, &again)?;
    check_end(env, &spaces, &actions)?;
    check_saving(env, &spaces, &actions)
}

fn violated(message: impl Into<String>, remedy: &str) -> Error {
    Error::config("environment", message, remedy)
}

/// What an environment says of its observations and actions.
struct Spaces {
    observation: (Vec<f32>, Vec<f32>),
    action: Space,
}

impl Spaces {
    fn of(env: &dyn Env) -> Result<Self> {
        let Space::Box { low, high } = env.observation_space() else {
            return Err(violated("the space of observations is discrete", "give a box"));
        };
        check_box("observations", &low, &high)?;
        let action = env.action_space();
        match &action {
            Space::Box { low, high } => check_box("actions", low, high)?,
            Space::Discrete(0) => return Err(violated("there are 0 actions", "give at least one choice")),
            Space::Discrete(_) => {}
        }
        Ok(Spaces { observation: (low, high), action })
    }

    /// The lowest, the highest, the middle and random actions.
    fn actions(&self) -> Vec<Vec<f32>> {
        let mut rng = stream(SEEDS[0], Purpose::Action, 0);
        let mut actions: Vec<Vec<f32>> = [0.0, 1.0, 0.5].map(|share| self.action_at(&mut || share)).into();
        actions.extend((0..RANDOM).map(|_| self.action_at(&mut || rng.random::<f32>())));
        actions
    }

    /// The action at shares in [0, 1] of the way from the lowest to the highest.
    fn action_at(&self, share: &mut dyn FnMut() -> f32) -> Vec<f32> {
        match &self.action {
            Space::Discrete(n) => vec![(share() * *n as f32).floor().min((*n - 1) as f32)],
            Space::Box { low, high } => low.iter().zip(high).map(|(low, high)| between(*low, *high, share())).collect(),
        }
    }

    fn check_observation(&self, observation: &[f32]) -> Result<()> {
        let (low, high) = &self.observation;
        if observation.len() != low.len() {
            let message = format!("an observation has {} numbers, its space {}", observation.len(), low.len());
            return Err(violated(message, "give them the same length"));
        }
        for (i, v) in observation.iter().enumerate() {
            if !v.is_finite() {
                return Err(violated(format!("entry {i} of an observation is {v}"), "give finite numbers"));
            }
            if *v < low[i] || *v > high[i] {
                let message = format!("entry {i} of an observation is {v}, outside of [{}, {}]", low[i], high[i]);
                return Err(violated(message, "widen the space, or clip the observation"));
            }
        }
        Ok(())
    }
}

fn check_box(what: &str, low: &[f32], high: &[f32]) -> Result<()> {
    if low.is_empty() || low.len() != high.len() {
        let message = format!("the box of {what} has {} lower and {} upper bounds", low.len(), high.len());
        return Err(violated(message, "give one of each for every number"));
    }
    match low.iter().zip(high).position(|(low, high)| low.is_nan() || high.is_nan() || low > high) {
        Some(i) => {
            let message = format!("the bounds of entry {i} of {what} are [{}, {}]", low[i], high[i]);
            Err(violated(message, "give bounds in order"))
        }
        None => Ok(()),
    }
}

/// A number at a share of the way between two bounds; an infinite one is 1 beyond the other, or beyond 0.
fn between(low: f32, high: f32, share: f32) -> f32 {
    let (low, high) = match (low.is_finite(), high.is_finite()) {
        (true, true) => (low, high),
        (true, false) => (low, low + 1.0),
        (false, true) => (high - 1.0, high),
        (false, false) => (-1.0, 1.0),
    };
    (low * (1.0 - share) + high * share).clamp(low, high)
}

fn check_resets(env: &mut dyn Env, spaces: &Spaces) -> Result<()> {
    for seed in SEEDS {
        let first = env.reset(seed)?;
        spaces.check_observation(&first)?;
        let second = env.reset(seed)?;
        if bits(&first) != bits(&second) {
            let message = format!("two resets with the seed {seed} observe {first:?} and {second:?}");
            return Err(violated(message, "draw everything random from the seed"));
        }
    }
    Ok(())
}

/// What is compared of a step.
#[derive(Debug, PartialEq)]
struct Seen {
    observation: Vec<u32>,
    reward: u64,
    ended: (bool, bool),
}

fn bits(observation: &[f32]) -> Vec<u32> {
    observation.iter().map(|v| v.to_bits()).collect()
}

/// One checked step.
fn step(env: &mut dyn Env, spaces: &Spaces, action: &[f32]) -> Result<Seen> {
    let Step { observation, reward, terminated, truncated, .. } = env.step(action)?;
    spaces.check_observation(&observation)?;
    if !reward.is_finite() {
        return Err(violated(format!("the reward of the action {action:?} is {reward}"), "give finite rewards"));
    }
    Ok(Seen { observation: bits(&observation), reward: reward.to_bits(), ended: (terminated, truncated) })
}

/// Begin an episode with `seed` and take `actions`; what follows an end begins with the next seed.
fn play(env: &mut dyn Env, spaces: &Spaces, seed: u64, actions: &[Vec<f32>]) -> Result<Vec<Seen>> {
    spaces.check_observation(&env.reset(seed)?)?;
    go_on(env, spaces, seed, actions)
}

/// As [`play`], from where the environment stands.
fn go_on(env: &mut dyn Env, spaces: &Spaces, mut seed: u64, actions: &[Vec<f32>]) -> Result<Vec<Seen>> {
    let mut seen = Vec::with_capacity(actions.len());
    for (i, action) in actions.iter().enumerate() {
        let taken = step(env, spaces, action)?;
        if taken.ended != (false, false) && i + 1 < actions.len() {
            seed += 1;
            spaces.check_observation(&env.reset(seed)?)?;
        }
        seen.push(taken);
    }
    Ok(seen)
}

fn same(when: &str, first: &[Seen], second: &[Seen]) -> Result<()> {
    let Some(i) = first.iter().zip(second).position(|(a, b)| a != b) else { return Ok(()) };
    let tell = |s: &Seen| {
        let observation: Vec<f32> = s.observation.iter().map(|b| f32::from_bits(*b)).collect();
        let (reward, (terminated, truncated)) = (f64::from_bits(s.reward), s.ended);
        format!("{observation:?}, reward {reward}, terminated {terminated}, truncated {truncated}")
    };
    let message = format!("{when}, differ in step {}: {} against {}", i + 1, tell(&first[i]), tell(&second[i]));
    Err(violated(message, "let every step depend on the seed, the actions and what is saved, and on nothing else"))
}

/// After its end an episode takes no step.
fn check_end(env: &mut dyn Env, spaces: &Spaces, actions: &[Vec<f32>]) -> Result<()> {
    let Some(length) = episode_length(env, spaces, actions)? else { return Ok(()) };
    match env.step(&actions[0]) {
        Err(_) => Ok(()),
        Ok(_) => {
            let message = format!("an episode ended with step {length}, and step {} was no error", length + 1);
            Err(violated(message, "give an error until the environment is reset"))
        }
    }
}

/// Play the first episode to its end; the number of its steps, if it has one.
fn episode_length(env: &mut dyn Env, spaces: &Spaces, actions: &[Vec<f32>]) -> Result<Option<usize>> {
    env.reset(SEEDS[0])?;
    for (i, action) in actions.iter().cycle().take(PATIENCE).enumerate() {
        if step(env, spaces, action)?.ended != (false, false) {
            return Ok(Some(i + 1));
        }
    }
    Ok(None)
}

/// Two episodes, each saved in its middle, go on to the bits that they have without that, whatever came in between.
fn check_saving(env: &mut dyn Env, spaces: &Spaces, actions: &[Vec<f32>]) -> Result<()> {
    let length = episode_length(env, spaces, actions)?.unwrap_or(actions.len()).min(actions.len());
    let (before, after) = actions[..length].split_at(length / 2);
    let mut episodes = Vec::new();
    for seed in SEEDS {
        let whole = play(env, spaces, seed, &actions[..length])?;
        let start = play(env, spaces, seed, before)?;
        same("a whole episode and its first half", &whole, &start)?;
        // The second episode may be shorter than the first, so that its middle is an end; it is begun anew there.
        let ended = start.last().is_some_and(|s| s.ended != (false, false));
        let ends = start.iter().filter(|s| s.ended != (false, false)).count() as u64;
        if ended {
            env.reset(seed + ends)?;
        }
        let saved = env.save()?;
        let rest = go_on(env, spaces, seed + ends, after)?;
        same("an episode, and the same one saved in the middle", &whole[length / 2..], &rest)?;
        episodes.push((saved, seed + ends, rest));
    }
    for (saved, seed, rest) in episodes.iter().chain(&episodes) {
        env.load(saved)?;
        let loaded = go_on(env, spaces, *seed, after)?;
        same("an episode that was saved in the middle, and the same one loaded after another", rest, &loaded)?;
    }
    Ok(())
}
