//! What PPO collects, against slow definitions: bootstrapping, normalisation, squashing, and slots that do not fit.

use crate::scripted::{Log, Script, Taken};
use crate::slow::{assert_near, slow_moments, slow_network, slow_normalized};
use lrpilot::agent::{Ppo, PpoConfig, PpoState, Slot, Squash, log_prob_gaussian};
use lrpilot::env::Space;

const STEPS: usize = 30;

fn config() -> PpoConfig {
    PpoConfig {
        n_steps: STEPS,
        batch_size: 16,
        gamma: 0.9,
        gae_lambda: 0.8,
        hidden: vec![5, 4],
        ..PpoConfig::default()
    }
}

fn script() -> Script {
    Script::new(vec![-1.0], vec![1.0])
}

/// The steps of the latest rollout.
fn latest(log: &Log, steps: usize) -> Vec<Taken> {
    let log = log.lock().unwrap();
    log[log.len() - steps..].to_vec()
}

/// V of an observation under the parameters and statistics of a state.
fn slow_value(state: &PpoState, observation: &[f32]) -> f64 {
    slow_network(&[2, 5, 4, 1], &state.critic, &slow_normalized(state.moments.as_ref(), observation))[0]
}

/// An episode that is cut off goes on with the value of the observation that it was cut off at; one that terminated is
/// worth nothing from there, also if a limit fell on the same step. Advantages follow from their definition (Schulman et
/// al. 2016, eq. 16), in which δ_t = r_t + γ V(s_{t+1}) − V(s_t), V is 0 after a terminal step, and the sum stops at the
/// end of either kind. V follows from the agent's state before the collection, which is the second one, so that the
/// statistics of the observations are not those of the start.
#[test]
fn truncated_episodes_are_bootstrapped_and_terminated_ones_are_not() {
    for normalize_observation in [false, true] {
        let (mut ppo, mut slots, logs) = script().agent(PpoConfig { normalize_observation, ..config() }, 2);
        let rollout = ppo.collect(&mut slots, |_| ()).unwrap();
        ppo.update(&rollout, 1.0);
        let state = ppo.state();
        let rollout = ppo.collect(&mut slots, |_| ()).unwrap();
        let (mut bootstrapped, mut both) = (0, 0);
        for (slot, log) in logs.iter().enumerate() {
            let taken = latest(log, STEPS);
            let next_value = |t: &Taken| if t.terminated { 0.0 } else { slow_value(&state, &t.next) };
            let ended = |t: &Taken| t.terminated || t.truncated;
            let delta = |t: &Taken| t.reward + 0.9 * next_value(t) - slow_value(&state, &t.seen);
            for (i, t) in taken.iter().enumerate() {
                let at = slot * STEPS + i;
                let bonus = if t.truncated { 0.9 * next_value(t) } else { 0.0 };
                bootstrapped += usize::from(bonus.abs() > 0.1);
                both += usize::from(t.terminated && t.truncated);
                assert_near("reward", rollout.rewards[at], t.reward + bonus, 1e-5);
                assert_near("value", rollout.values[at], slow_value(&state, &t.seen), 1e-5);
                assert_eq!(rollout.done[at], ended(t));
                let end = (i..STEPS).find(|k| ended(&taken[*k])).unwrap_or(STEPS - 1);
                let advantage: f64 = (i..=end).map(|k| 0.72f64.powi((k - i) as i32) * delta(&taken[k])).sum();
                assert_near("advantage", rollout.advantages[at], advantage, 1e-5);
                assert_near("return", rollout.returns[at], advantage + slow_value(&state, &t.seen), 1e-5);
            }
            assert_near("last value", rollout.last_values[slot], slow_value(&state, &taken[STEPS - 1].next), 1e-5);
        }
        assert!(
            bootstrapped >= 5 && both >= 1,
            "{bootstrapped} values are large enough to be missed, {both} ends are both"
        );
    }
}

/// Stable-Baselines3's `VecNormalize`: R ← γR + r, which starts anew with an episode; the statistics take R in; the reward
/// becomes r/√(Var R + 1e-8), clipped to ±10. There the statistics take in one step of all environments at a time, here
/// all steps of one environment, in the order of the slots. What a truncated step holds in addition is not scaled.
struct SlowScaling {
    running: Vec<f64>,
    all: Vec<f64>,
}

impl SlowScaling {
    fn scale(&mut self, slot: usize, taken: &[Taken]) -> Vec<f64> {
        for t in taken {
            self.running[slot] = 0.9 * self.running[slot] + t.reward;
            self.all.push(self.running[slot]);
            if t.terminated || t.truncated {
                self.running[slot] = 0.0;
            }
        }
        let sd = (slow_moments(&self.all).1 + 1e-8).sqrt();
        taken.iter().map(|t| (t.reward / sd).clamp(-10.0, 10.0)).collect()
    }

    /// Compare all slots' rewards of a rollout; returns how many were clipped at 10 and at −10.
    fn check(&mut self, rewards: &[f32], state: &PpoState, logs: &[Log], steps: usize) -> [usize; 2] {
        let mut clipped = [0, 0];
        for (slot, log) in logs.iter().enumerate() {
            let taken = latest(log, steps);
            for (i, (t, scaled)) in taken.iter().zip(self.scale(slot, &taken)).enumerate() {
                let bonus = if t.truncated && !t.terminated { 0.9 * slow_value(state, &t.next) } else { 0.0 };
                assert_near("scaled reward", rewards[slot * steps + i], scaled + bonus, 1e-5);
                clipped[0] += usize::from(scaled == 10.0);
                clipped[1] += usize::from(scaled == -10.0);
            }
        }
        clipped
    }
}

/// In the third rollout of both slots there are a reward of 1000 and one of −1000, each at an episode's end, where it does
/// not go on into later returns. Of 600 returns so far, these four make an sd of √(4·1000²/600) ≈ 82, so each of them is 12
/// of it; all other rewards are below one.
#[test]
fn rewards_are_scaled_by_the_sd_of_the_discounted_return() {
    const LONG: usize = 100;
    let reward = |k, _: &[f32]| match k {
        276 => 1000.0,
        283 => -1000.0,
        _ => 2.0 * (k as f64 * 1.7).sin() + 0.5,
    };
    let script = Script { reward, ..script() };
    let (mut ppo, mut slots, logs) = script.agent(PpoConfig { n_steps: LONG, normalize_reward: true, ..config() }, 2);
    let mut slow = SlowScaling { running: vec![0.0; 2], all: Vec::new() };
    for collected in 0..3 {
        let state = ppo.state();
        let rollout = ppo.collect(&mut slots, |_| ()).unwrap();
        let [above, below] = slow.check(&rollout.rewards, &state, &logs, LONG);
        let last = collected == 2;
        assert_eq!((above > 0, below > 0), (last, last));
        ppo.update(&rollout, 1.0);
    }
}

/// Slots that come later begin with a return of 0, and those that were there go on with theirs.
#[test]
fn slots_may_be_added_while_rewards_are_scaled() {
    let (mut ppo, mut slots, logs) = script().agent(PpoConfig { normalize_reward: true, ..config() }, 3);
    let mut slow = SlowScaling { running: vec![0.0; 3], all: Vec::new() };
    for used in [1, 3, 2] {
        let state = ppo.state();
        let rollout = ppo.collect(&mut slots[..used], |_| ()).unwrap();
        assert_eq!(rollout.slots, used);
        slow.check(&rollout.rewards, &state, &logs[..used], STEPS);
    }
}

/// Two slots with one index would see the same seeds and draw the same noise.
#[test]
fn slots_with_one_index_are_refused() {
    let (mut ppo, _, _) = script().agent(config(), 0);
    let log = Log::default();
    let mut slots: Vec<Slot> = [2, 0, 2].map(|i| Slot::new(i, Box::new(script().env(0, log.clone())))).into();
    let error = ppo.collect(&mut slots, |_| ()).unwrap_err().to_string();
    assert!(error.contains("two slots have the index 2"), "{error}");
    assert!(log.lock().unwrap().is_empty(), "an environment was stepped");
    slots.pop();
    ppo.collect(&mut slots, |_| ()).unwrap();
}

/// The statistics of a rollout are those of all observations acted on before it; the rollout's own come in after it.
/// An observation far from what was seen before becomes ±10.
#[test]
fn observations_are_normalized_by_what_was_seen_before() {
    let observe = |k| match k {
        47 => vec![1e4, -1e4],
        _ => vec![(k as f32 * 1.3).sin(), 30.0 + 2.0 * (k as f32 * 0.7).cos()],
    };
    let script = Script { observe, ..script() };
    let (mut ppo, mut slots, logs) = script.agent(PpoConfig { normalize_observation: true, ..config() }, 2);
    let mut columns = [Vec::new(), Vec::new()];
    for collected in 0..3 {
        let frozen = ppo.state().moments.unwrap();
        assert_eq!(ppo.policy().moments.as_ref(), Some(&frozen));
        for (i, column) in columns.iter().enumerate() {
            let (mean, variance) = slow_moments(column);
            assert_near("mean", frozen.mean[i], mean, 1e-9);
            assert_near("variance", frozen.variance[i], variance, 1e-9);
        }
        assert_near("count", frozen.count, columns[0].len() as f64 + 1e-4, 1e-9);
        let rollout = ppo.collect(&mut slots, |_| ()).unwrap();
        let seen: Vec<Vec<f32>> = logs.iter().flat_map(|log| latest(log, STEPS)).map(|t| t.seen).collect();
        for (row, seen) in rollout.observations.chunks(2).zip(&seen) {
            for (i, wanted) in slow_normalized(Some(&frozen), seen).into_iter().enumerate() {
                assert_near("observation", row[i], wanted, 1e-5);
            }
        }
        // Step 47 falls into the second rollout of both slots; without statistics (first rollout) 30 is clipped too.
        assert_eq!(rollout.observations.chunks(2).any(|row| *row == [10.0, -10.0]), collected == 1);
        seen.iter().for_each(|row| columns.iter_mut().zip(row).for_each(|(c, v)| c.push(f64::from(*v))));
        ppo.update(&rollout, 1.0);
    }
}

/// A frozen policy does the same to a raw observation: its output is the mean of the next action's distribution.
#[test]
fn the_frozen_policy_normalizes_as_the_agent_does() {
    let (mut ppo, mut slots, logs) = script().agent(PpoConfig { normalize_observation: true, ..config() }, 1);
    let rollout = ppo.collect(&mut slots, |_| ()).unwrap();
    ppo.update(&rollout, 1.0);
    let (state, mut policy) = (ppo.state(), ppo.policy());
    let rollout = ppo.collect(&mut slots, |_| ()).unwrap();
    for (i, t) in latest(&logs[0], STEPS).iter().enumerate() {
        let mut mean = [0.0];
        policy.act(&t.seen, &mut mean);
        let slow = slow_network(&[2, 5, 4, 1], &state.actor, &slow_normalized(state.moments.as_ref(), &t.seen));
        assert_near("mean", mean[0], slow[0], 1e-5);
        let log_prob = log_prob_gaussian(&rollout.actions[i..=i], &mean, &state.log_std);
        assert_near("log-probability", rollout.log_probs[i], log_prob, 1e-6);
    }
}

/// σ = e ≈ 2.7 carries samples far beyond the bounds, which are of different widths and not around 0.
#[test]
fn actions_are_squashed_or_clipped_into_the_box() {
    let (low, high) = ([-2.0f32, 0.5], [3.0f32, 0.75]);
    for squash in [Squash::Tanh, Squash::None] {
        let script = Script::new(low.to_vec(), high.to_vec());
        let (mut ppo, mut slots, logs) = script.agent(PpoConfig { squash, log_std_init: 1.0, ..config() }, 2);
        let rollout = ppo.collect(&mut slots, |_| ()).unwrap();
        let taken: Vec<Taken> = logs.iter().flat_map(|log| latest(log, STEPS)).collect();
        let (mut policy, mut mean) = (ppo.policy(), [0.0; 2]);
        let mut outside = 0;
        for ((raw, t), log_prob) in rollout.actions.chunks(2).zip(&taken).zip(&rollout.log_probs) {
            for i in 0..2 {
                assert!((low[i]..=high[i]).contains(&t.action[i]), "{} is not in the box", t.action[i]);
                outside += usize::from(!(low[i]..=high[i]).contains(&raw[i]));
                let (raw, low, high) = (f64::from(raw[i]), f64::from(low[i]), f64::from(high[i]));
                let wanted = match squash {
                    Squash::Tanh => low + (raw.tanh() + 1.0) / 2.0 * (high - low),
                    Squash::None => raw.max(low).min(high),
                };
                assert_near("action", t.action[i], wanted, 1e-6);
            }
            // Densities are those of the raw sample.
            policy.act(&t.seen, &mut mean);
            assert_near("log-probability", *log_prob, log_prob_gaussian(raw, &mean, &[1.0; 2]), 1e-6);
        }
        assert!(outside > 30, "{outside} samples lie outside the box");
    }
}

#[test]
fn squashing_needs_finite_bounds() {
    let new = |squash, low, high| {
        let space = Space::Box { low: vec![-1.0, low], high: vec![1.0, high] };
        Ppo::new(PpoConfig { squash, ..config() }, 2, &space, 0).map(|_| ())
    };
    for (low, high) in [(f32::NEG_INFINITY, 1.0), (0.0, f32::INFINITY), (f32::NEG_INFINITY, f32::INFINITY)] {
        let error = new(Squash::Tanh, low, high).unwrap_err();
        assert!(error.to_string().contains("ppo.squash"), "{error}");
        assert_eq!(error.exit_code(), 78);
        new(Squash::None, low, high).unwrap();
    }
    new(Squash::Tanh, 0.0, 1.0).unwrap();
}
