//! What an update tells about itself.

/// Averages over the minibatches of an update.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct UpdateStats {
    /// Clipped surrogate loss.
    pub policy_loss: f64,
    /// Mean squared error of the values (without its weight).
    pub value_loss: f64,
    /// Entropy of the policy.
    pub entropy: f64,
    /// (r − 1) − ln r, averaged (Schulman's estimator).
    pub approx_kl: f64,
    /// Share of samples with |r − 1| above the clip range.
    pub clip_fraction: f64,
    /// 1 − Var(returns − values)/Var(returns), before the update.
    pub explained_variance: f64,
    /// Global gradient norm before clipping.
    pub grad_norm: f64,
    /// Mean σ of the policy; 0 for a categorical one.
    pub action_sd: f64,
    /// Minibatches used.
    pub minibatches: usize,
}

impl UpdateStats {
    pub(super) fn add(&mut self, other: &UpdateStats) {
        self.policy_loss += other.policy_loss;
        self.value_loss += other.value_loss;
        self.entropy += other.entropy;
        self.approx_kl += other.approx_kl;
        self.clip_fraction += other.clip_fraction;
        self.grad_norm += other.grad_norm;
        self.minibatches += 1;
    }

    pub(super) fn mean(mut self) -> Self {
        let n = self.minibatches.max(1) as f64;
        for v in [
            &mut self.policy_loss,
            &mut self.value_loss,
            &mut self.entropy,
            &mut self.approx_kl,
            &mut self.clip_fraction,
            &mut self.grad_norm,
        ] {
            *v /= n;
        }
        self
    }
}
