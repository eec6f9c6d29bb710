//! Fully connected layer with a fused activation (`torch.nn.Linear`).

use crate::nn::init::Init;
use crate::nn::kernels::gemm::{Trans, Update::Overwrite, matmul};
use crate::nn::layers::activation::{activation_backward, add_bias_and_activate};
use crate::nn::layers::{Layer, Mode, ParamInfo, Pass};
use crate::nn::model::{Activation, Shape};

/// `y = act(x·Wᵀ + b)` with `W: [units][inputs]`.
pub struct Dense {
    inputs: usize,
    units: usize,
    activation: Activation,
}

impl Dense {
    /// A layer from `inputs` features to `units` features.
    pub fn new(inputs: usize, units: usize, activation: Activation) -> Self {
        Dense { inputs, units, activation }
    }
}

impl Layer for Dense {
    fn output(&self) -> Shape {
        Shape::flat(self.units)
    }

    fn params(&self) -> Vec<ParamInfo> {
        let init = Init::Uniform { fan_in: self.inputs };
        vec![
            ParamInfo { name: "weight".into(), shape: vec![self.units, self.inputs], init },
            ParamInfo { name: "bias".into(), shape: vec![self.units], init },
        ]
    }

    fn forward(&mut self, pass: Pass<'_>, _: &mut [f32], y: &mut [f32], _: &mut Mode<'_>) {
        let (w, b) = pass.params.split_at(self.units * self.inputs);
        matmul(pass.batch, self.units, self.inputs, pass.x, Trans::No, w, Trans::Yes, y, Overwrite);
        add_bias_and_activate(y, b, self.activation);
    }

    fn backward(&mut self, pass: Pass<'_>, y: &[f32], dy: &mut [f32], dx: Option<&mut [f32]>, grads: &mut [f32]) {
        let Pass { params, x, batch } = pass;
        activation_backward(self.activation, y, dy);
        let w_len = self.units * self.inputs;
        let (dw, db) = grads.split_at_mut(w_len);
        matmul(self.units, self.inputs, batch, dy, Trans::Yes, x, Trans::No, dw, Overwrite);
        db.fill(0.0);
        for row in dy.chunks_exact(self.units) {
            db.iter_mut().zip(row).for_each(|(d, g)| *d += g);
        }
        if let Some(dx) = dx {
            matmul(batch, self.inputs, self.units, dy, Trans::No, &params[..w_len], Trans::No, dx, Overwrite);
        }
    }
}
