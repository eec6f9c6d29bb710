//! Two-dimensional convolution (`torch.nn.Conv2d`): by Winograd's algorithm where it pays, else through unfolded
//! windows.

use crate::nn::activation::{activation_backward, add_bias_and_activate};
use crate::nn::init::Init;
use crate::nn::layer::{Activation, Layer, Mode, ParamInfo, Shape};
use crate::nn::simd::vectorized;
use crate::nn::unfold::Unfolding;
use crate::nn::winograd::{self, Winograd};
use std::ops::Range;

/// How a square kernel slides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Side, ≥ 1.
    pub kernel: usize,
    /// Step, ≥ 1.
    pub stride: usize,
    /// Zeros added on each side.
    pub padding: usize,
}

/// `y = act(w ⋆ x + b)` with `w: [channels][input channels][kernel][kernel]`, images as `[row][column][channel]`.
pub struct Conv2d {
    input: Shape,
    output: Shape,
    window: Window,
    bias: bool,
    activation: Activation,
    method: Method,
}

/// How the products are done.
enum Method {
    /// Through unfolded windows.
    Unfolded(Box<Unfolding>),
    /// In transformed tiles.
    Winograd(Box<Winograd>),
}

impl Method {
    fn new(input: Shape, output: Shape, window: Window) -> Self {
        // Whole vectors of channels; with few of them the transforms would cost more than the multiplications they save.
        let suits = input.channels % winograd::LANES == 0 && output.channels % winograd::LANES == 0;
        match window {
            Window { kernel: 3, stride: 1, padding } if suits => {
                Method::Winograd(Box::new(Winograd::new(input, output, padding)))
            }
            _ => Method::Unfolded(Box::new(Unfolding::new(input, output, window))),
        }
    }
}

impl Conv2d {
    /// A layer from `input` to `channels`, with a bias or without.
    ///
    /// # Errors
    /// A message, if a number is zero or the kernel is larger than the padded image.
    pub fn new(
        input: Shape,
        channels: usize,
        window: Window,
        bias: bool,
        activation: Activation,
    ) -> Result<Self, String> {
        let Window { kernel, stride, padding } = window;
        if channels == 0 || kernel == 0 || stride == 0 {
            return Err(format!(
                "a convolution with channels {channels}, kernel {kernel}, stride {stride}; all must be at least 1"
            ));
        }
        let side = |n: usize| -> Result<usize, String> {
            let padded = padding.checked_mul(2).and_then(|p| n.checked_add(p)).ok_or("the padding is too large")?;
            let room = padded.checked_sub(kernel).ok_or_else(|| {
                format!(
                    "kernel {kernel} is larger than the padded image {}×{} + 2·{padding}",
                    input.height, input.width
                )
            })?;
            Ok(room / stride + 1)
        };
        let output = Shape::image(channels, side(input.height)?, side(input.width)?);
        let method = Method::new(input, output, window);
        Ok(Conv2d { input, output, window, bias, activation, method })
    }

    fn fan_in(&self) -> usize {
        self.input.channels * self.window.kernel * self.window.kernel
    }
}

impl Layer for Conv2d {
    fn output(&self) -> Shape {
        self.output
    }

    fn params(&self) -> Vec<ParamInfo> {
        let init = Init::Uniform { fan_in: self.fan_in() };
        let (oc, ic, k) = (self.output.channels, self.input.channels, self.window.kernel);
        let mut infos = vec![ParamInfo { name: "weight".into(), shape: vec![oc, ic, k, k], init }];
        if self.bias {
            infos.push(ParamInfo { name: "bias".into(), shape: vec![oc], init });
        }
        infos
    }

    fn forward(&mut self, p: &[f32], _: &mut [f32], x: &[f32], y: &mut [f32], _: usize, _: &mut Mode<'_>) {
        let (w, b) = p.split_at(self.output.channels * self.fan_in());
        let finish = |out: &mut [f32]| {
            if self.bias {
                add_bias_and_activate(out, b, self.activation);
            }
        };
        match &mut self.method {
            Method::Unfolded(unfolding) => unfolding.forward(w, x, y, finish),
            Method::Winograd(winograd) => winograd.forward(w, x, y, finish),
        }
    }

    fn backward(
        &mut self,
        p: &[f32],
        x: &[f32],
        y: &[f32],
        dy: &mut [f32],
        dx: Option<&mut [f32]>,
        grads: &mut [f32],
        _: usize,
    ) {
        let w_len = self.output.channels * self.fan_in();
        let w = &p[..w_len];
        let (dw, db) = grads.split_at_mut(w_len);
        db.fill(0.0);
        // Called with a few rows or an image at a time, just before their gradient is used, so that it is still in cache then.
        let prepare = |d: &mut [f32], place: Range<usize>| {
            if self.activation != Activation::Identity {
                activation_backward(self.activation, &y[place], d);
            }
            add_column_sums(d, db);
        };
        match &mut self.method {
            Method::Unfolded(unfolding) => unfolding.backward(w, x, dy, dx, dw, prepare),
            Method::Winograd(winograd) => winograd.backward(w, x, dy, dx, dw, prepare),
        }
    }
}

/// Add each column of `rows: [·][sums.len()]` to its entry of `sums`.
fn add_column_sums(rows: &[f32], sums: &mut [f32]) {
    if sums.is_empty() {
        return;
    }
    vectorized(
        #[inline(always)]
        || {
            for row in rows.chunks_exact(sums.len()) {
                sums.iter_mut().zip(row).for_each(|(s, v)| *s += v);
            }
        },
    );
}
