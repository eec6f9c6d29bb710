//! Two-dimensional convolution (`torch.nn.Conv2d`): by Winograd's algorithm where it pays, else through unfolded
//! windows.

use crate::nn::activation::{activation_backward, add_plane_bias_and_activate};
use crate::nn::init::Init;
use crate::nn::layer::{Activation, Layer, Mode, ParamInfo, Shape};
use crate::nn::simd::vectorized;
use crate::nn::unfold::Unfolding;
use crate::nn::winograd::Winograd;
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

/// `y = act(w ⋆ x + b)` with `w: [channels][input channels][kernel][kernel]`.
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
    /// With fewer channels than this Winograd's transforms cost more than the multiplications that they save.
    const WINOGRAD_CHANNELS: usize = 8;

    fn new(input: Shape, output: Shape, window: Window) -> Self {
        let many = input.channels.min(output.channels) >= Self::WINOGRAD_CHANNELS;
        match window {
            Window { kernel: 3, stride: 1, padding } if many => {
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

    fn positions(&self) -> usize {
        self.output.height * self.output.width
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
        let finish = |out: &mut [f32], channels: Range<usize>| {
            if self.bias {
                let positions = out.len() / channels.len();
                add_plane_bias_and_activate(out, &b[channels], positions, self.activation);
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
        let (w_len, positions) = (self.output.channels * self.fan_in(), self.positions());
        let w = &p[..w_len];
        let (dw, db) = grads.split_at_mut(w_len);
        db.fill(0.0);
        // Called with a few images at a time, just before their gradient is used, so that it is still in cache then.
        let prepare = |d: &mut [f32], place: Range<usize>| {
            if self.activation != Activation::Identity {
                activation_backward(self.activation, &y[place], d);
            }
            add_plane_sums(d, positions, db);
        };
        match &mut self.method {
            Method::Unfolded(unfolding) => unfolding.backward(w, x, dy, dx, dw, prepare),
            Method::Winograd(winograd) => winograd.backward(w, x, dy, dx, dw, prepare),
        }
    }
}

/// Add the sum of each plane of `positions` values to its channel's entry of `sums`, image after image.
fn add_plane_sums(planes: &[f32], positions: usize, sums: &mut [f32]) {
    if sums.is_empty() {
        return;
    }
    vectorized(
        #[inline(always)]
        || {
            for image in planes.chunks_exact(sums.len() * positions) {
                sums.iter_mut().zip(image.chunks_exact(positions)).for_each(|(s, plane)| *s += sum(plane));
            }
        },
    );
}

/// The sum of `values` in sixteen partial sums, which vectorise and lose less than one running sum.
#[inline(always)]
pub(crate) fn sum(values: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    let chunks = values.chunks_exact(16);
    let rest: f32 = chunks.remainder().iter().sum();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(l, v)| *l += v);
    }
    lanes.iter().sum::<f32>() + rest
}
