//! PPO against Stable-Baselines3 (`tests/golden/ppo_update.py`), on environments that must be learned, and to the bit.

use lrpilot::agent::{Ppo, PpoConfig, PpoState, Rollout, Slot};
use lrpilot::env::{Env, Info, Space, Step, check_env};
use lrpilot::nn::init::normal;
use lrpilot::rng::{Purpose, Rng, stream};
use lrpilot::{Error, Result};
use rand::RngExt as _;
use serde::Deserialize;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[derive(Deserialize)]
struct Case {
    discrete: bool,
    clip_range_vf: Option<f64>,
    observations: Vec<f32>,
    actions: Vec<f32>,
    log_probs: Vec<f64>,
    values: Vec<f32>,
    advantages: Vec<f32>,
    returns: Vec<f32>,
    before: Parameters,
    after: Parameters,
    gradients: Parameters,
    policy_loss: f64,
    value_loss: f64,
    entropy: f64,
    approx_kl: f64,
    clip_fraction: f64,
}

#[derive(Deserialize)]
struct Parameters {
    actor: Vec<f32>,
    critic: Vec<f32>,
    log_std: Vec<f32>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(include_str!("golden/ppo_update.json")).unwrap()
}

fn agent_of(case: &Case) -> Ppo {
    let space = if case.discrete { Space::Discrete(3) } else { unit_box(2) };
    let config = PpoConfig {
        n_steps: 32,
        batch_size: 32,
        n_epochs: 1,
        learning_rate: 1e-2,
        ent_coef: 0.01,
        clip_range_vf: case.clip_range_vf,
        hidden: vec![4, 4],
        ..PpoConfig::default()
    };
    let mut ppo = Ppo::new(config, 3, &space, 0).unwrap();
    let Parameters { actor, critic, log_std } = &case.before;
    let state = PpoState { actor: actor.clone(), critic: critic.clone(), log_std: log_std.clone(), ..ppo.state() };
    ppo.set_state(state).unwrap();
    ppo
}

fn rollout_of(case: &Case) -> Rollout {
    Rollout {
        slots: 1,
        steps: 32,
        observations: case.observations.clone(),
        actions: case.actions.clone(),
        log_probs: case.log_probs.clone(),
        values: case.values.clone(),
        advantages: case.advantages.clone(),
        returns: case.returns.clone(),
        ..Rollout::default()
    }
}

#[track_caller]
fn assert_close(what: &str, ours: &[f32], theirs: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let scale = theirs.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    for (i, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() <= tolerance * scale, "{what}[{i}]: {a} against {b}");
    }
}

/// After one step Adam's first moment is (1 − β₁) times the gradient: 0.1·g. Some ratios of the rollout are clipped
/// (checked), so that the test fails without clipping.
#[test]
fn one_update_equals_stable_baselines3() {
    for case in cases() {
        let mut ppo = agent_of(&case);
        let stats = ppo.update(&rollout_of(&case), 1.0);
        assert!(case.clip_fraction > 0.1 && case.clip_fraction < 0.9);
        let scalars = [
            ("policy loss", stats.policy_loss, case.policy_loss),
            ("value loss", stats.value_loss, case.value_loss),
            ("entropy", stats.entropy, case.entropy),
            ("approximate KL", stats.approx_kl, case.approx_kl),
            ("clip fraction", stats.clip_fraction, case.clip_fraction),
        ];
        for (what, ours, theirs) in scalars {
            assert!((ours - theirs).abs() <= 1e-5 * theirs.abs().max(0.1), "{what}: {ours} against {theirs}");
        }
        let state = ppo.state();
        let gradient = |i: usize| state.adam[i].tensors[0].iter().map(|m| m * 10.0).collect::<Vec<f32>>();
        assert_close("actor gradient", &gradient(0), &case.gradients.actor, 1e-5);
        assert_close("critic gradient", &gradient(1), &case.gradients.critic, 1e-5);
        assert_close("log σ gradient", &gradient(2), &case.gradients.log_std, 1e-5);
        assert_close("actor", &state.actor, &case.after.actor, 1e-5);
        assert_close("critic", &state.critic, &case.after.critic, 1e-5);
        assert_close("log σ", &state.log_std, &case.after.log_std, 1e-5);
    }
}

fn unit_box(n: usize) -> Space {
    Space::Box { low: vec![-1.0; n], high: vec![1.0; n] }
}

/// Pays for giving the observation back (as Stable-Baselines3's identity environments): a choice, or a number.
struct Identity {
    choices: Option<usize>,
    rng: Rng,
    shown: f32,
    steps: u32,
    saved_seed: u64,
}

impl Identity {
    fn new(choices: Option<usize>) -> Self {
        Identity { choices, rng: stream(0, Purpose::Environment, 0), shown: 0.0, steps: 0, saved_seed: 0 }
    }

    fn observe(&mut self) -> Vec<f32> {
        match self.choices {
            Some(n) => {
                let chosen = self.rng.random_range(0..n);
                self.shown = chosen as f32;
                (0..n).map(|i| f32::from(u8::from(i == chosen))).collect()
            }
            None => {
                self.shown = (normal(&mut self.rng) as f32 * 0.5).clamp(-1.0, 1.0);
                vec![self.shown]
            }
        }
    }
}

impl Env for Identity {
    fn observation_space(&self) -> Space {
        unit_box(self.choices.unwrap_or(1))
    }

    fn action_space(&self) -> Space {
        self.choices.map_or_else(|| unit_box(1), Space::Discrete)
    }

    fn reset(&mut self, seed: u64) -> Result<Vec<f32>> {
        (self.rng, self.steps, self.saved_seed) = (stream(seed, Purpose::Environment, 0), 0, seed);
        Ok(self.observe())
    }

    fn step(&mut self, action: &[f32]) -> Result<Step> {
        if self.steps == 20 {
            return Err(Error::Bug("step after the end of an episode".into()));
        }
        let error = f64::from((action[0] - self.shown).abs());
        let reward = if self.choices.is_some() { f64::from(u8::from(error == 0.0)) } else { 1.0 - error };
        self.steps += 1;
        let observation = self.observe();
        Ok(Step { observation, reward, terminated: self.steps == 20, truncated: false, info: Info::default() })
    }

    fn save(&self) -> Result<Vec<u8>> {
        Ok([&self.saved_seed.to_le_bytes()[..], &self.steps.to_le_bytes()[..]].concat())
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        self.reset(u64::from_le_bytes(state[..8].try_into().unwrap()))?;
        while self.steps < u32::from_le_bytes(state[8..].try_into().unwrap()) {
            self.step(&[0.0])?;
        }
        Ok(())
    }
}

fn identity_agent(choices: Option<usize>, seed: u64) -> (Ppo, Vec<Slot>) {
    let config = PpoConfig { n_steps: 64, batch_size: 64, learning_rate: 3e-3, gamma: 0.5, ..PpoConfig::default() };
    let env = Identity::new(choices);
    let ppo = Ppo::new(config, env.observation_space().dim(), &env.action_space(), seed).unwrap();
    (ppo, (0..4).map(|i| Slot::new(i, Box::new(Identity::new(choices)))).collect())
}

/// Mean reward of a step in the last of `updates` rollouts.
fn train(ppo: &mut Ppo, slots: &mut [Slot], updates: usize) -> f64 {
    let mut last = 0.0;
    for _ in 0..updates {
        let told = AtomicU64::new(0);
        let tell = |steps| {
            told.fetch_add(steps, Relaxed);
        };
        let rollout = ppo.collect(slots, tell).unwrap();
        assert_eq!(told.into_inner(), (rollout.slots * rollout.steps) as u64);
        ppo.update(&rollout, 1.0);
        last = rollout.rewards.iter().map(|r| f64::from(*r)).sum::<f64>() / rollout.rewards.len() as f64;
    }
    last
}

#[test]
fn identity_environments_keep_the_contract() {
    check_env(&mut Identity::new(Some(3))).unwrap();
    check_env(&mut Identity::new(None)).unwrap();
}

/// Chance gives 1/3 and about 0.4; each is learned within 8,000 steps.
#[test]
fn identity_environments_are_learned() {
    for (choices, wanted) in [(Some(3), 0.95), (None, 0.8)] {
        let (mut ppo, mut slots) = identity_agent(choices, 1);
        let before = train(&mut ppo, &mut slots, 1);
        let after = train(&mut ppo, &mut slots, 30);
        assert!(before < 0.6 && after > wanted, "{choices:?}: from {before} to {after}");
    }
}

#[test]
fn same_seed_same_bits_for_any_number_of_threads() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (mut ppo, mut slots) = identity_agent(None, 7);
            train(&mut ppo, &mut slots, 3);
            ppo.state()
        })
    };
    let one = run(1);
    assert_eq!(one, run(1));
    assert_eq!(one, run(2));
    assert_ne!(one.actor, identity_agent(None, 8).0.state().actor);
}

#[test]
fn a_saved_agent_goes_on_to_the_same_bits() {
    let (mut whole, mut slots) = identity_agent(Some(3), 2);
    train(&mut whole, &mut slots, 4);
    let (mut first, mut slots) = identity_agent(Some(3), 2);
    train(&mut first, &mut slots, 2);
    let saved: Vec<_> = slots.iter().map(|s| s.save().unwrap()).collect();
    let (mut second, mut slots) = identity_agent(Some(3), 2);
    second.set_state(first.state()).unwrap();
    slots.iter_mut().zip(&saved).for_each(|(slot, s)| slot.load(s).unwrap());
    train(&mut second, &mut slots, 2);
    assert_eq!(second.state(), whole.state());
}

/// Without clipping, many passes over one rollout carry the policy far away; the clip keeps most of it near.
#[test]
fn clipping_keeps_the_policy_near() {
    let kl_after = |clip_range: f64| {
        let case = &cases()[0];
        let config = PpoConfig {
            n_epochs: 40,
            batch_size: 32,
            learning_rate: 1e-2,
            clip_range,
            hidden: vec![4, 4],
            ..PpoConfig::default()
        };
        let mut ppo = Ppo::new(config, 3, &unit_box(2), 0).unwrap();
        let Parameters { actor, critic, log_std } = &case.before;
        let state = PpoState { actor: actor.clone(), critic: critic.clone(), log_std: log_std.clone(), ..ppo.state() };
        ppo.set_state(state).unwrap();
        ppo.update(&rollout_of(case), 1.0).approx_kl
    };
    let (clipped, free) = (kl_after(0.2), kl_after(1e9));
    assert!(clipped < 0.5 * free, "mean KL {clipped} with clipping, {free} without");
}
