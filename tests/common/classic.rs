//! Gymnasium's classic control problems (gymnasium 1.4: `envs/classic_control`), for comparing the agent with published
//! returns. Dynamics in f64 as there; the initial states come from our own streams.

use lrpilot::env::{Env, Info, Space, Step};
use lrpilot::rng::{Purpose, stream};
use lrpilot::task::{load_state, save_state};
use lrpilot::{Error, Result};
use rand::RngExt as _;
use std::f64::consts::PI;

/// What a classic problem is, beside its state vector.
pub trait Dynamics: Send + Clone {
    /// Numbers in the state.
    const STATE: usize;
    /// Steps after which an episode is cut off.
    const LIMIT: u64;
    /// Ranges of the uniform initial state.
    fn initial() -> Vec<(f64, f64)>;
    /// Space of actions.
    fn action_space() -> Space;
    /// What is seen of a state.
    fn observe(state: &[f64]) -> Vec<f32>;
    /// The next state, the reward, and whether the episode ends.
    fn advance(state: &[f64], action: &[f32]) -> (Vec<f64>, f64, bool);
}

/// An environment of such a problem.
pub struct Classic<D> {
    pub state: Vec<f64>,
    steps: u64,
    done: bool,
    dynamics: std::marker::PhantomData<D>,
}

impl<D: Dynamics> Classic<D> {
    pub fn new() -> Self {
        Classic { state: vec![0.0; D::STATE], steps: 0, done: false, dynamics: std::marker::PhantomData }
    }
}

impl<D: Dynamics> Env for Classic<D> {
    fn observation_space(&self) -> Space {
        let n = D::observe(&vec![0.0; D::STATE]).len();
        Space::Box { low: vec![f32::NEG_INFINITY; n], high: vec![f32::INFINITY; n] }
    }

    fn action_space(&self) -> Space {
        D::action_space()
    }

    fn reset(&mut self, seed: u64) -> Result<Vec<f32>> {
        let mut rng = stream(seed, Purpose::Environment, 0);
        self.state = D::initial().into_iter().map(|(low, high)| low + (high - low) * rng.random::<f64>()).collect();
        (self.steps, self.done) = (0, false);
        Ok(D::observe(&self.state))
    }

    fn step(&mut self, action: &[f32]) -> Result<Step> {
        if self.done {
            return Err(Error::Bug("step after the end of an episode".into()));
        }
        let (state, reward, terminated) = D::advance(&self.state, action);
        self.state = state;
        self.steps += 1;
        let (observation, truncated) = (D::observe(&self.state), self.steps >= D::LIMIT);
        self.done = terminated || truncated;
        Ok(Step { observation, reward, terminated, truncated, info: Info::default() })
    }

    fn save(&self) -> Result<Vec<u8>> {
        save_state("classic", &(&self.state, self.steps, self.done))
    }

    fn load(&mut self, state: &[u8]) -> Result<()> {
        (self.state, self.steps, self.done) = load_state("classic", state)?;
        Ok(())
    }
}

/// CartPole-v1.
#[derive(Clone)]
pub struct CartPole;

impl Dynamics for CartPole {
    const STATE: usize = 4;
    const LIMIT: u64 = 500;

    fn initial() -> Vec<(f64, f64)> {
        vec![(-0.05, 0.05); 4]
    }

    fn action_space() -> Space {
        Space::Discrete(2)
    }

    fn observe(state: &[f64]) -> Vec<f32> {
        state.iter().map(|v| *v as f32).collect()
    }

    fn advance(s: &[f64], action: &[f32]) -> (Vec<f64>, f64, bool) {
        let (gravity, pole_mass, total_mass, length, tau) = (9.8, 0.1, 1.1, 0.5, 0.02);
        let force = if action[0] == 1.0 { 10.0 } else { -10.0 };
        let (sin, cos) = s[2].sin_cos();
        let temp = (force + pole_mass * length * s[3] * s[3] * sin) / total_mass;
        let theta_acc = (gravity * sin - cos * temp) / (length * (4.0 / 3.0 - pole_mass * cos * cos / total_mass));
        let x_acc = temp - pole_mass * length * theta_acc * cos / total_mass;
        let next = vec![s[0] + tau * s[1], s[1] + tau * x_acc, s[2] + tau * s[3], s[3] + tau * theta_acc];
        let fallen = next[0].abs() > 2.4 || next[2].abs() > 12.0 * 2.0 * PI / 360.0;
        (next, 1.0, fallen)
    }
}

/// Acrobot-v1 (the book's dynamics).
#[derive(Clone)]
pub struct Acrobot;

impl Dynamics for Acrobot {
    const STATE: usize = 4;
    const LIMIT: u64 = 500;

    fn initial() -> Vec<(f64, f64)> {
        vec![(-0.1, 0.1); 4]
    }

    fn action_space() -> Space {
        Space::Discrete(3)
    }

    fn observe(s: &[f64]) -> Vec<f32> {
        [s[0].cos(), s[0].sin(), s[1].cos(), s[1].sin(), s[2], s[3]].map(|v| v as f32).to_vec()
    }

    fn advance(s: &[f64], action: &[f32]) -> (Vec<f64>, f64, bool) {
        let torque = f64::from(action[0]) - 1.0;
        let mut next = runge_kutta([s[0], s[1], s[2], s[3]], torque, 0.2);
        let wrap = |x: f64| {
            let mut x = x;
            while x > PI {
                x -= 2.0 * PI;
            }
            while x < -PI {
                x += 2.0 * PI;
            }
            x
        };
        (next[0], next[1]) = (wrap(next[0]), wrap(next[1]));
        next[2] = next[2].clamp(-4.0 * PI, 4.0 * PI);
        next[3] = next[3].clamp(-9.0 * PI, 9.0 * PI);
        let up = -next[0].cos() - (next[1] + next[0]).cos() > 1.0;
        (next.to_vec(), if up { 0.0 } else { -1.0 }, up)
    }
}

/// Time derivative of the acrobot's state; masses, lengths and inertias are 1, centres of mass at 0.5.
fn acrobot_derivative(s: [f64; 4], torque: f64) -> [f64; 4] {
    let [theta1, theta2, d1, d2] = s;
    let (lc, g) = (0.5, 9.8);
    let inertia1 = lc * lc + (1.0 + lc * lc + 2.0 * lc * theta2.cos()) + 2.0;
    let inertia2 = lc * lc + lc * theta2.cos() + 1.0;
    let phi2 = lc * g * (theta1 + theta2 - PI / 2.0).cos();
    let phi1 = -lc * d2 * d2 * theta2.sin() - 2.0 * lc * d2 * d1 * theta2.sin()
        + (lc + 1.0) * g * (theta1 - PI / 2.0).cos()
        + phi2;
    let acc2 = (torque + inertia2 / inertia1 * phi1 - lc * d1 * d1 * theta2.sin() - phi2)
        / (lc * lc + 1.0 - inertia2 * inertia2 / inertia1);
    let acc1 = -(inertia2 * acc2 + phi1) / inertia1;
    [d1, d2, acc1, acc2]
}

fn runge_kutta(s: [f64; 4], torque: f64, dt: f64) -> [f64; 4] {
    let ahead = |k: [f64; 4], h: f64| std::array::from_fn(|i| s[i] + h * k[i]);
    let k1 = acrobot_derivative(s, torque);
    let k2 = acrobot_derivative(ahead(k1, dt / 2.0), torque);
    let k3 = acrobot_derivative(ahead(k2, dt / 2.0), torque);
    let k4 = acrobot_derivative(ahead(k3, dt), torque);
    std::array::from_fn(|i| s[i] + dt / 6.0 * (k1[i] + 2.0 * k2[i] + 2.0 * k3[i] + k4[i]))
}

/// Pendulum-v1.
#[derive(Clone)]
pub struct Pendulum;

impl Dynamics for Pendulum {
    const STATE: usize = 2;
    const LIMIT: u64 = 200;

    fn initial() -> Vec<(f64, f64)> {
        vec![(-PI, PI), (-1.0, 1.0)]
    }

    fn action_space() -> Space {
        Space::Box { low: vec![-2.0], high: vec![2.0] }
    }

    fn observe(s: &[f64]) -> Vec<f32> {
        [s[0].cos(), s[0].sin(), s[1]].map(|v| v as f32).to_vec()
    }

    fn advance(s: &[f64], action: &[f32]) -> (Vec<f64>, f64, bool) {
        let torque = f64::from(action[0]).clamp(-2.0, 2.0);
        let angle = (s[0] + PI).rem_euclid(2.0 * PI) - PI;
        let cost = angle * angle + 0.1 * s[1] * s[1] + 0.001 * torque * torque;
        let speed = (s[1] + (15.0 * s[0].sin() + 3.0 * torque) * 0.05).clamp(-8.0, 8.0);
        (vec![s[0] + speed * 0.05, speed], -cost, false)
    }
}
