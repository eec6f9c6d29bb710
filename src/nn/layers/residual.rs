//! The basic block of residual networks, with torchvision's parameter names.

use crate::nn::kernels::aligned::{AlignedVec, zeros};
use crate::nn::kernels::gemm::Update::{self, Add, Overwrite};
use crate::nn::kernels::simd::vectorized;
use crate::nn::kernels::window::Window;
use crate::nn::layers::activation::activation_backward;
use crate::nn::layers::conv_norm::ConvNorm;
use crate::nn::layers::{Layer, Mode, ParamInfo, Pass, total_len};
use crate::nn::model::Activation::{Identity, Relu};
use crate::nn::model::Shape;
use std::ops::Range;

/// `relu(bn2(conv2(relu(bn1(conv1(x))))) + skip(x))` (`torchvision.models.resnet.BasicBlock`).
pub struct Residual {
    first: Stage,
    second: Stage,
    /// Absent if the input itself can be added.
    skip: Option<Stage>,
    /// The first stage's output.
    hidden: AlignedVec,
    skip_output: AlignedVec,
    d_hidden: AlignedVec,
}

/// A convolution without bias and its batch normalisation.
struct Stage {
    names: [&'static str; 2],
    layer: ConvNorm,
    params: Range<usize>,
    buffers: Range<usize>,
}

impl Stage {
    /// A stage whose parameters and buffers begin where those of `before` end.
    fn new(names: [&'static str; 2], layer: ConvNorm, before: Option<&Stage>) -> Self {
        let (param, buffer) = before.map_or((0, 0), |s| (s.params.end, s.buffers.end));
        let params = param..param + total_len(&layer.params());
        let buffers = buffer..buffer + total_len(&layer.buffers());
        Stage { names, layer, params, buffers }
    }

    fn params(&self) -> Vec<ParamInfo> {
        let parts = self.layer.parts().into_iter().zip(self.names);
        parts.flat_map(|(part, name)| part.into_iter().map(move |p| named(name, p))).collect()
    }

    fn buffers(&self) -> Vec<ParamInfo> {
        self.layer.buffers().into_iter().map(|p| named(self.names[1], p)).collect()
    }

    fn forward(
        &mut self,
        pass: Pass<'_>,
        buffers: &mut [f32],
        added: Option<&[f32]>,
        y: &mut [f32],
        mode: &mut Mode<'_>,
    ) {
        let pass = self.own(pass);
        self.layer.forward_with(pass, &mut buffers[self.buffers.clone()], added, y, mode);
    }

    fn backward(
        &mut self,
        pass: Pass<'_>,
        dy: &[f32],
        added: bool,
        dx: Option<(&mut [f32], Update)>,
        grads: &mut [f32],
    ) {
        let pass = self.own(pass);
        self.layer.backward_with(pass, dy, added, dx, &mut grads[self.params.clone()]);
    }

    /// `pass` with this stage's part of the block's parameters.
    fn own<'a>(&self, pass: Pass<'a>) -> Pass<'a> {
        Pass { params: &pass.params[self.params.clone()], ..pass }
    }
}

fn named(prefix: &str, info: ParamInfo) -> ParamInfo {
    ParamInfo { name: format!("{prefix}.{}", info.name), ..info }
}

impl Residual {
    /// A block from `input` to `channels`, whose first convolution has the stride `stride`.
    ///
    /// # Errors
    /// A message, if a number is zero.
    pub fn new(input: Shape, channels: usize, stride: usize, max_batch: usize) -> Result<Self, String> {
        let window = Window { kernel: 3, stride, padding: 1 };
        let layer = |input, window, activation| ConvNorm::new(input, channels, window, false, activation, max_batch);
        let first = Stage::new(["conv1", "bn1"], layer(input, window, Relu)?, None);
        let output = first.layer.output();
        let second = layer(output, Window { stride: 1, ..window }, Relu)?;
        let second = Stage::new(["conv2", "bn2"], second, Some(&first));
        let skip = if stride == 1 && channels == input.channels {
            None
        } else {
            let layer = layer(input, Window { kernel: 1, stride, padding: 0 }, Identity)?;
            Some(Stage::new(["downsample.0", "downsample.1"], layer, Some(&second)))
        };
        let room = || zeros(output.len() * max_batch);
        let skip_output = if skip.is_some() { room() } else { zeros(0) };
        Ok(Residual { first, second, skip, hidden: room(), skip_output, d_hidden: room() })
    }

    fn stages(&self) -> impl Iterator<Item = &Stage> {
        [&self.first, &self.second].into_iter().chain(&self.skip)
    }
}

impl Layer for Residual {
    fn output(&self) -> Shape {
        self.second.layer.output()
    }

    fn params(&self) -> Vec<ParamInfo> {
        self.stages().flat_map(Stage::params).collect()
    }

    fn buffers(&self) -> Vec<ParamInfo> {
        self.stages().flat_map(Stage::buffers).collect()
    }

    fn forward(&mut self, pass: Pass<'_>, buffers: &mut [f32], y: &mut [f32], mode: &mut Mode<'_>) {
        let hidden = &mut self.hidden[..y.len()];
        self.first.forward(pass, buffers, None, hidden, mode);
        let skip: &[f32] = match &mut self.skip {
            Some(stage) => {
                let out = &mut self.skip_output[..y.len()];
                stage.forward(pass, buffers, None, out, mode);
                out
            }
            None => pass.x,
        };
        self.second.forward(Pass { x: hidden, ..pass }, buffers, Some(skip), y, mode);
    }

    fn backward(&mut self, pass: Pass<'_>, y: &[f32], dy: &mut [f32], mut dx: Option<&mut [f32]>, grads: &mut [f32]) {
        activation_backward(Relu, y, dy);
        let (hidden, d_hidden) = (&self.hidden[..dy.len()], &mut self.d_hidden[..dy.len()]);
        self.second.backward(Pass { x: hidden, ..pass }, dy, true, Some((d_hidden, Overwrite)), grads);
        self.first.backward(pass, d_hidden, false, dx.as_deref_mut().map(|dx| (dx, Overwrite)), grads);
        match (&mut self.skip, dx) {
            (Some(stage), dx) => stage.backward(pass, dy, false, dx.map(|dx| (dx, Add)), grads),
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
