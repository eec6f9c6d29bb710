//! The transforms of kernels, for [`LANES`] neighbouring output channels at a time.

use super::{A, A2, B, B2, COMPONENTS, KERNEL, LANES, SIDE};
use crate::nn::kernels::aligned::{AlignedVec, zeros};
use crate::nn::kernels::gemm::transpose;
use crate::nn::kernels::simd::vectorized;

/// `G`, the transform of kernels.
const G: [[f32; 3]; SIDE] = [
    [1.0 / (A2 * B2), 0.0, 0.0],
    powers(A, 2.0 * A2 * (A2 - B2)),
    powers(-A, 2.0 * A2 * (A2 - B2)),
    powers(B, 2.0 * B2 * (B2 - A2)),
    powers(-B, 2.0 * B2 * (B2 - A2)),
    [0.0, 0.0, 1.0],
];
/// `Gᵀ`, and the magnitudes of its values.
const G_TRANSPOSED: [[f32; SIDE]; 3] = transposed(false);
const G_MAGNITUDES: [[f32; SIDE]; 3] = transposed(true);

/// The powers 0, 1 and 2 of a point, divided by `by`.
const fn powers(point: f32, by: f32) -> [f32; 3] {
    [1.0 / by, point / by, point * point / by]
}

/// `Gᵀ`, or the magnitudes of its values.
const fn transposed(magnitudes: bool) -> [[f32; SIDE]; 3] {
    let mut to = [[0.0; SIDE]; 3];
    let mut entry = 0;
    while entry < 3 * SIDE {
        let (i, j) = (entry % 3, entry / 3);
        to[i][j] = if magnitudes { G[j][i].abs() } else { G[j][i] };
        entry += 1;
    }
    to
}

/// A weight's gradient below this share of the sum of its terms' magnitudes is rounding error.
const NOISE: f32 = f32::EPSILON;

/// `matrix · v` for neighbouring output channels.
#[inline(always)]
fn multiply<const M: usize, const N: usize>(matrix: &[[f32; N]; M], v: &[[f32; LANES]; N]) -> [[f32; LANES]; M] {
    let mut product = [[0.0; LANES]; M];
    // The channels are outermost. If they were innermost, the compiler would vectorise over the rows for AVX-512, with gathers.
    for l in 0..LANES {
        for (sum, row) in product.iter_mut().zip(matrix) {
            for (weight, v) in row.iter().zip(v) {
                sum[l] += weight * v[l];
            }
        }
    }
    product
}

/// `matrix · v · matrixᵀ` for neighbouring output channels.
#[inline(always)]
fn multiply_both<const M: usize, const N: usize>(
    matrix: &[[f32; N]; M],
    v: &[[[f32; LANES]; N]; N],
) -> [[[f32; LANES]; M]; M] {
    // `half` is `matrix · vᵀ`, so its rows are the columns of `v · matrixᵀ`.
    let mut half = [[[0.0; LANES]; N]; M];
    for (j, row) in v.iter().enumerate() {
        for (i, value) in multiply(matrix, row).into_iter().enumerate() {
            half[i][j] = value;
        }
    }
    let mut product = [[[0.0; LANES]; M]; M];
    for (j, column) in half.iter().enumerate() {
        for (i, value) in multiply(matrix, column).into_iter().enumerate() {
            product[i][j] = value;
        }
    }
    product
}

/// The kernels of one layer.
pub struct Kernels {
    inputs: usize,
    outputs: usize,
    /// The kernels or their gradient, `[input channel][kernel tap][output channel]`.
    taps: AlignedVec,
    /// `U: [component][input channel][output channel]`.
    components: AlignedVec,
    /// `U: [component][output channel][input channel]`.
    transposed: AlignedVec,
    /// `dU`, as `U`.
    d_components: AlignedVec,
}

impl Kernels {
    /// For `inputs` and `outputs` channels, which are multiples of [`LANES`].
    pub fn new(inputs: usize, outputs: usize) -> Self {
        let components = zeros(COMPONENTS * inputs * outputs);
        Kernels {
            inputs,
            outputs,
            taps: zeros(KERNEL * inputs * outputs),
            transposed: components.clone(),
            d_components: components.clone(),
            components,
        }
    }

    /// Returns `U` of each component.
    pub fn components(&self) -> impl Iterator<Item = &[f32]> {
        self.components.chunks_exact(self.inputs * self.outputs)
    }

    /// Returns the transpose of each component of `U`, as of the last call of [`Kernels::prepare_gradients`].
    pub fn transposed(&self) -> impl Iterator<Item = &[f32]> {
        self.transposed.chunks_exact(self.inputs * self.outputs)
    }

    /// Returns `dU` of each component, to be added to.
    pub fn d_components(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.d_components.chunks_exact_mut(self.inputs * self.outputs)
    }

    /// Transposes `U` and sets `dU` to zero.
    pub fn prepare_gradients(&mut self) {
        let len = self.inputs * self.outputs;
        let components = self.components.chunks_exact(len);
        for (u, to) in components.zip(self.transposed.chunks_exact_mut(len)) {
            transpose(u, self.inputs, self.outputs, to);
        }
        self.d_components.fill(0.0);
    }

    /// `U = G w Gᵀ`.
    pub fn transform(&mut self, w: &[f32]) {
        let (inputs, outputs) = (self.inputs, self.outputs);
        transpose(w, outputs, KERNEL * inputs, &mut self.taps);
        let (kernels, components) = (self.taps.as_chunks::<LANES>().0, self.components.as_chunks_mut::<LANES>().0);
        let vectors = outputs / LANES;
        vectorized(
            #[inline(always)]
            || {
                for (c, kernel) in kernels.chunks_exact(KERNEL * vectors).enumerate() {
                    for o in 0..vectors {
                        let mut w = [[[0.0; LANES]; 3]; 3];
                        for (tap, w) in w.as_flattened_mut().iter_mut().enumerate() {
                            *w = kernel[tap * vectors + o];
                        }
                        for (component, u) in multiply_both(&G, &w).as_flattened().iter().enumerate() {
                            components[(component * inputs + c) * vectors + o] = *u;
                        }
                    }
                }
            },
        );
    }

    /// `dw = Gᵀ dU G`.
    pub fn gradients(&mut self, dw: &mut [f32]) {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let (kernels, gradients) = (self.taps.as_chunks_mut::<LANES>().0, self.d_components.as_chunks::<LANES>().0);
        let vectors = outputs / LANES;
        vectorized(
            #[inline(always)]
            || {
                for (c, kernel) in kernels.chunks_exact_mut(KERNEL * vectors).enumerate() {
                    for o in 0..vectors {
                        let mut du = [[[0.0f32; LANES]; SIDE]; SIDE];
                        let mut magnitudes = du;
                        let both = du.as_flattened_mut().iter_mut().zip(magnitudes.as_flattened_mut());
                        for (component, (du, magnitude)) in both.enumerate() {
                            *du = gradients[(component * inputs + c) * vectors + o];
                            for l in 0..LANES {
                                magnitude[l] = du[l].abs();
                            }
                        }
                        let dw = multiply_both(&G_TRANSPOSED, &du);
                        let magnitudes = multiply_both(&G_MAGNITUDES, &magnitudes);
                        let taps = dw.as_flattened().iter().zip(magnitudes.as_flattened());
                        for (tap, (dw, magnitude)) in taps.enumerate() {
                            let resolved = &mut kernel[tap * vectors + o];
                            for l in 0..LANES {
                                resolved[l] = if dw[l].abs() < NOISE * magnitude[l] { 0.0 } else { dw[l] };
                            }
                        }
                    }
                }
            },
        );
        transpose(&self.taps, KERNEL * inputs, outputs, dw);
    }
}
