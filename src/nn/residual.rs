//! The basic block of residual networks, with torchvision's parameter names.

use crate::nn::activation::activation_backward;
use crate::nn::batch_norm::BatchNorm;
use crate::nn::conv::{Conv2d, Images, Window};
use crate::nn::gemm::Update::{self, Add, Overwrite};
use crate::nn::layer::Activation::{self, Identity, Relu};
use crate::nn::layer::{Layer, Mode, ParamInfo, Shape};
use crate::nn::simd::vectorized;
use std::ops::Range;

/// `relu(bn2(conv2(relu(bn1(conv1(x))))) + skip(x))` (`torchvision.models.resnet.BasicBlock`).
pub struct Residual {
    first: Stage,
    second: Stage,
    /// Absent where the input can be added as it is.
    skip: Option<Stage>,
    /// The first stage's output.
    hidden: Vec<f32>,
    skip_output: Vec<f32>,
    d_hidden: Vec<f32>,
}

/// A convolution without bias and its batch normalisation.
struct Stage {
    names: [&'static str; 2],
    conv: Conv2d,
    norm: BatchNorm,
    conv_params: Range<usize>,
    norm_params: Range<usize>,
    buffers: Range<usize>,
    conv_output: Vec<f32>,
    /// Room for a piece of the gradient of that.
    d_piece: Vec<f32>,
}

fn total(infos: &[ParamInfo]) -> usize {
    infos.iter().map(ParamInfo::len).sum()
}

impl Stage {
    /// The stage whose parameters and buffers start where those of `before` end.
    fn new(
        names: [&'static str; 2],
        input: Shape,
        channels: usize,
        window: Window,
        before: Option<&Stage>,
        max_batch: usize,
    ) -> Result<Self, String> {
        let conv = Conv2d::new(input, channels, window, false, Identity)?;
        let norm = BatchNorm::new(conv.output(), Identity);
        let start = before.map_or(0, |s| s.norm_params.end);
        let middle = start + total(&conv.params());
        let buffer = before.map_or(0, |s| s.buffers.end);
        let len = conv.output().len() * max_batch;
        Ok(Stage {
            names,
            conv_params: start..middle,
            norm_params: middle..middle + total(&norm.params()),
            buffers: buffer..buffer + total(&norm.buffers()),
            d_piece: vec![0.0; conv.piece_len()],
            conv,
            norm,
            conv_output: vec![0.0; len],
        })
    }

    fn params(&self) -> Vec<ParamInfo> {
        let conv = self.conv.params().into_iter().map(|p| named(self.names[0], p));
        conv.chain(self.norm.params().into_iter().map(|p| named(self.names[1], p))).collect()
    }

    fn buffers(&self) -> Vec<ParamInfo> {
        self.norm.buffers().into_iter().map(|p| named(self.names[1], p)).collect()
    }

    /// `act(norm(conv(x)) + added)`.
    fn forward(
        &mut self,
        p: &[f32],
        b: &mut [f32],
        x: &[f32],
        added: Option<&[f32]>,
        activation: Activation,
        y: &mut [f32],
        mode: &mut Mode<'_>,
    ) {
        let between = &mut self.conv_output[..y.len()];
        let (norm, training) = (&mut self.norm, matches!(mode, Mode::Train(_)));
        norm.begin();
        self.conv.convolve(&p[self.conv_params.clone()], x, Images::All(between), |piece, _| {
            if training {
                norm.take_in(piece);
            }
        });
        let (p, b) = (&p[self.norm_params.clone()], &mut b[self.buffers.clone()]);
        norm.normalize(p, b, between, added, activation, y, mode);
    }

    fn backward(
        &mut self,
        p: &[f32],
        x: &[f32],
        dy: &[f32],
        activation: Activation,
        dx: Option<(&mut [f32], Update)>,
        grads: &mut [f32],
    ) {
        let (between, d) = (&self.conv_output[..dy.len()], Images::Piece(&mut self.d_piece));
        let (np, cp) = (self.norm_params.clone(), self.conv_params.clone());
        self.norm.gradients(&p[np.clone()], between, dy, activation, &mut grads[np]);
        let norm = &self.norm;
        self.conv.convolve_backward(&p[cp.clone()], x, d, dx, &mut grads[cp], |piece, place| {
            norm.pass_back(&between[place.clone()], &dy[place], activation, piece);
        });
    }
}

fn named(prefix: &str, info: ParamInfo) -> ParamInfo {
    ParamInfo { name: format!("{prefix}.{}", info.name), ..info }
}

impl Residual {
    /// A block from `input` to `channels`, the first convolution with `stride`.
    ///
    /// # Errors
    /// A message, if a number is zero.
    pub fn new(input: Shape, channels: usize, stride: usize, max_batch: usize) -> Result<Self, String> {
        let window = Window { kernel: 3, stride, padding: 1 };
        let again = Window { stride: 1, ..window };
        let first = Stage::new(["conv1", "bn1"], input, channels, window, None, max_batch)?;
        let output = first.conv.output();
        let second = Stage::new(["conv2", "bn2"], output, channels, again, Some(&first), max_batch)?;
        let skip = if stride == 1 && channels == input.channels {
            None
        } else {
            let window = Window { kernel: 1, stride, padding: 0 };
            Some(Stage::new(["downsample.0", "downsample.1"], input, channels, window, Some(&second), max_batch)?)
        };
        let room = || vec![0.0; output.len() * max_batch];
        let skip_output = if skip.is_some() { room() } else { Vec::new() };
        Ok(Residual { first, second, skip, hidden: room(), skip_output, d_hidden: room() })
    }

    fn stages(&self) -> impl Iterator<Item = &Stage> {
        [&self.first, &self.second].into_iter().chain(&self.skip)
    }
}

impl Layer for Residual {
    fn output(&self) -> Shape {
        self.second.conv.output()
    }

    fn params(&self) -> Vec<ParamInfo> {
        self.stages().flat_map(Stage::params).collect()
    }

    fn buffers(&self) -> Vec<ParamInfo> {
        self.stages().flat_map(Stage::buffers).collect()
    }

    fn forward(&mut self, p: &[f32], b: &mut [f32], x: &[f32], y: &mut [f32], _: usize, mode: &mut Mode<'_>) {
        let hidden = &mut self.hidden[..y.len()];
        self.first.forward(p, b, x, None, Relu, hidden, mode);
        let skip: &[f32] = match &mut self.skip {
            Some(stage) => {
                let out = &mut self.skip_output[..y.len()];
                stage.forward(p, b, x, None, Identity, out, mode);
                out
            }
            None => x,
        };
        self.second.forward(p, b, hidden, Some(skip), Relu, y, mode);
    }

    fn backward(
        &mut self,
        p: &[f32],
        x: &[f32],
        y: &[f32],
        dy: &mut [f32],
        mut dx: Option<&mut [f32]>,
        grads: &mut [f32],
        _: usize,
    ) {
        activation_backward(Relu, y, dy);
        let (hidden, d_hidden) = (&self.hidden[..dy.len()], &mut self.d_hidden[..dy.len()]);
        self.second.backward(p, hidden, dy, Identity, Some((d_hidden, Overwrite)), grads);
        self.first.backward(p, x, d_hidden, Relu, dx.as_deref_mut().map(|dx| (dx, Overwrite)), grads);
        match (&mut self.skip, dx) {
            (Some(stage), dx) => stage.backward(p, x, dy, Identity, dx.map(|dx| (dx, Add)), grads),
            (None, Some(dx)) => add(dx, dy),
            (None, None) => {}
        }
    }
}

fn add(to: &mut [f32], values: &[f32]) {
    vectorized(
        #[inline(always)]
        || to.iter_mut().zip(values).for_each(|(t, v)| *t += v),
    );
}
