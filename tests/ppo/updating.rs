//! How PPO's updates end, anneal and report, and that they go on to the same bits.

use crate::scripted::{SEED, Script};
use crate::slow::assert_near;
use lrpilot::agent::{Ppo, PpoConfig, PpoState, Rollout, Squash, UpdateStats};
use lrpilot::rng::{Purpose, stream};
use rand::seq::SliceRandom as _;

const BATCH: usize = 16;
const SAMPLES: usize = 4 * BATCH;
const EPOCHS: usize = 3;

/// Three passes over four minibatches of 16.
fn config() -> PpoConfig {
    let (n_steps, learning_rate) = (SAMPLES / 2, 1e-2);
    let hidden = vec![5, 4];
    PpoConfig { n_steps, batch_size: BATCH, n_epochs: EPOCHS, learning_rate, hidden, ..PpoConfig::default() }
}

/// A rollout of these settings' agent. It is the rollout of every agent in this file before its first update where the
/// settings differ only in what collecting does not use.
fn collected() -> Rollout {
    let (mut ppo, mut slots, _) = script().agent(config(), 2);
    ppo.collect(&mut slots, |_| ()).unwrap()
}

fn script() -> Script {
    Script::new(vec![-1.0], vec![1.0])
}

fn agent(config: PpoConfig) -> Ppo {
    script().agent(config, 0).0
}

fn parameters(state: &PpoState) -> [&[f32]; 3] {
    [&state.actor, &state.critic, &state.log_std]
}

/// The samples of a rollout with these numbers, as a rollout.
fn samples(rollout: &Rollout, indices: &[usize]) -> Rollout {
    fn rows<T: Copy>(of: &[T], indices: &[usize]) -> Vec<T> {
        let width = of.len() / SAMPLES;
        indices.iter().flat_map(|i| of[i * width..(i + 1) * width].to_vec()).collect()
    }
    Rollout {
        slots: 1,
        steps: indices.len(),
        observations: rows(&rollout.observations, indices),
        actions: rows(&rollout.actions, indices),
        log_probs: rows(&rollout.log_probs, indices),
        values: rows(&rollout.values, indices),
        advantages: rows(&rollout.advantages, indices),
        returns: rows(&rollout.returns, indices),
        ..Rollout::default()
    }
}

/// An update one gradient step at a time: each minibatch is a rollout of its own, laid out such that the agent's own
/// permutation of it gives back the order that it has in the whole. Element k is the state after k steps; the statistics
/// are those of each step.
fn one_step_at_a_time(rollout: &Rollout) -> (Vec<PpoState>, Vec<UpdateStats>) {
    let mut ppo = agent(PpoConfig { n_epochs: 1, ..config() });
    let (mut states, mut stats) = (vec![ppo.state()], Vec::new());
    let mut order: Vec<usize> = (0..SAMPLES).collect();
    for epoch in 0..EPOCHS as u64 {
        order.shuffle(&mut stream(SEED, Purpose::Minibatch, epoch));
        for wanted in order.chunks(BATCH) {
            let mut permuted: Vec<usize> = (0..BATCH).collect();
            permuted.shuffle(&mut stream(SEED, Purpose::Minibatch, ppo.state().updates << 16));
            let mut placed = vec![0; BATCH];
            permuted.iter().zip(wanted).for_each(|(to, sample)| placed[*to] = *sample);
            stats.push(ppo.update(&samples(rollout, &placed), 1.0));
            states.push(ppo.state());
        }
    }
    (states, stats)
}

/// The reference is an update that is cut by hand. Its KL divergences say where 1.5 times a target is exceeded: the update
/// stops there, counts that minibatch, and does not take its step. A target a little higher lets it pass.
#[test]
fn an_update_stops_before_the_step_that_goes_too_far() {
    let rollout = collected();
    let (states, steps) = one_step_at_a_time(&rollout);
    let kl: Vec<f64> = steps.iter().map(|s| s.approx_kl).collect();
    let highest_before = |k: usize| kl[..k].iter().copied().fold(0.0, f64::max);
    let record = (2..kl.len()).rfind(|k| kl[*k] > 1.01 * highest_before(*k)).unwrap();
    let update = |target_kl| {
        let mut ppo = agent(PpoConfig { target_kl, ..config() });
        (ppo.update(&rollout, 1.0), ppo.state())
    };
    // The first minibatch is as far as the policy that collected it: 0 but for rounding.
    assert!(kl[0] < 1e-9 && kl[1] > 1e-6, "{kl:?}");
    for (target, used) in [(1e-9, 2), (0.999 * kl[record] / 1.5, record + 1)] {
        let (stats, state) = update(Some(target));
        assert_eq!(stats.minibatches, used, "target {target} with {kl:?}");
        assert_eq!(parameters(&state), parameters(&states[used - 1]));
        assert_eq!(state.adam, states[used - 1].adam);
        let mean = kl[..used].iter().sum::<f64>() / used as f64;
        assert_near("mean KL", stats.approx_kl, mean, 1e-12);
    }
    assert!(update(Some(1.001 * kl[record] / 1.5)).0.minibatches > record + 1);
    for (stats, state) in [update(None), update(Some(1e9))] {
        assert_eq!(stats.minibatches, EPOCHS * SAMPLES / BATCH);
        assert_eq!(parameters(&state), parameters(&states[EPOCHS * SAMPLES / BATCH]));
    }
}

/// With nothing of the run ahead the LR is 0, half-way it is half of it to the bit (halving is exact); an agent that is not
/// asked to anneal takes no notice.
#[test]
fn the_lr_falls_linearly_to_zero() {
    let rollout = collected();
    let update = |learning_rate, anneal_lr, remaining| {
        let mut ppo = agent(PpoConfig { learning_rate, anneal_lr, ..config() });
        let before = ppo.state();
        ppo.update(&rollout, remaining);
        (before, ppo.state())
    };
    let (before, after) = update(1e-2, true, 0.0);
    assert_eq!(parameters(&after), parameters(&before));
    assert_eq!((after.adam[0].steps, after.updates), ((EPOCHS * SAMPLES / BATCH) as u64, 1));
    let half = update(1e-2, true, 0.5).1;
    assert_eq!(half, update(0.5e-2, false, 1.0).1);
    let whole = update(1e-2, true, 1.0).1;
    assert_ne!(parameters(&half), parameters(&whole));
    assert_eq!(whole, update(1e-2, false, 0.5).1);
}

/// 1 − Var(returns − values)/Var(returns) with Var x = E x² − (E x)², of the rollout as it was collected.
#[test]
fn explained_variance_is_its_definition() {
    let variance = |x: &[f64]| {
        let mean = |of: fn(f64) -> f64| x.iter().map(|v| of(*v)).sum::<f64>() / x.len() as f64;
        mean(|v| v * v) - mean(|v| v).powi(2)
    };
    let (mut ppo, mut slots, _) = script().agent(config(), 2);
    let mut explained = Vec::new();
    for _ in 0..10 {
        let rollout = ppo.collect(&mut slots, |_| ()).unwrap();
        let returns: Vec<f64> = rollout.returns.iter().map(|v| f64::from(*v)).collect();
        let errors: Vec<f64> = returns.iter().zip(&rollout.values).map(|(r, v)| r - f64::from(*v)).collect();
        let stats = ppo.update(&rollout, 1.0);
        assert_near("explained variance", stats.explained_variance, 1.0 - variance(&errors) / variance(&returns), 1e-9);
        explained.push(stats.explained_variance);
    }
    assert!(explained.iter().any(|v| v.abs() > 0.05), "{explained:?}");
    // Perfect values explain everything; returns that do not vary leave nothing to explain.
    let rollout = collected();
    let perfect = Rollout { values: rollout.returns.clone(), ..rollout.clone() };
    assert_eq!(agent(config()).update(&perfect, 1.0).explained_variance, 1.0);
    let flat = Rollout { returns: vec![1.0; SAMPLES], ..rollout };
    assert!(agent(config()).update(&flat, 1.0).explained_variance.is_nan());
}

/// The whole run and one that goes through bytes after two of five updates, with everything on that has a memory.
/// Rollouts of 32 steps end within episodes, which last 7 at most.
#[test]
fn a_saved_agent_goes_on_to_the_same_bits_with_all_options() {
    let config = PpoConfig {
        normalize_observation: true,
        normalize_reward: true,
        target_kl: Some(0.001),
        anneal_lr: true,
        squash: Squash::Tanh,
        clip_range_vf: Some(0.2),
        ent_coef: 0.01,
        ..config()
    };
    let new = || script().agent(config.clone(), 3);
    let train = |ppo: &mut Ppo, slots: &mut [_], updates: std::ops::Range<u32>| {
        let one = |done: u32| {
            let rollout = ppo.collect(slots, |_| ()).unwrap();
            let stats = ppo.update(&rollout, 1.0 - f64::from(done) / 5.0);
            (rollout, stats)
        };
        updates.map(one).collect::<Vec<_>>()
    };
    let (mut whole, mut slots, _) = new();
    let history = train(&mut whole, &mut slots, 0..5);

    let (mut first, mut slots, _) = new();
    train(&mut first, &mut slots, 0..2);
    let saved: Vec<_> = slots.iter().map(|s| s.save().unwrap()).collect();
    assert!(saved.iter().any(|s| s.episode_length > 0 && !s.needs_reset), "a slot is saved within an episode");
    let bytes = postcard::to_stdvec(&(first.state(), saved)).unwrap();
    let (state, saved): (PpoState, Vec<_>) = postcard::from_bytes(&bytes).unwrap();
    assert!(state.moments.is_some() && state.return_norm.is_some());

    let (mut second, mut slots, _) = new();
    second.set_state(state).unwrap();
    slots.iter_mut().zip(&saved).for_each(|(slot, s)| slot.load(s).unwrap());
    assert_eq!(train(&mut second, &mut slots, 2..5), history[2..]);
    assert_eq!(second.state(), whole.state());
    // Of the updates after the saving some stop early and some do not.
    let full = EPOCHS * (3 * SAMPLES / 2) / BATCH;
    let resumed: Vec<usize> = history[2..].iter().map(|(_, stats)| stats.minibatches).collect();
    assert!(resumed.contains(&full) && resumed.iter().any(|used| *used < full), "{resumed:?} of {full} minibatches");
}
