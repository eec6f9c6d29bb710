//! Changes of the order of an image's values, between PyTorch's `[channel][row][column]` outside of a network and
//! `[row][column][channel]` inside.

use crate::nn::layer::{Layer, Mode, Shape};
use crate::nn::simd::vectorized;

/// Which order to change to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `[channel][row][column]`.
    ChannelsFirst,
    /// `[row][column][channel]`.
    ChannelsLast,
}

/// A change of the order, as a layer.
pub struct Reorder {
    shape: Shape,
    to: Order,
}

impl Reorder {
    /// A layer from the other order to `to`.
    pub fn new(shape: Shape, to: Order) -> Self {
        Reorder { shape, to }
    }

    /// Whether the orders differ for examples of this shape.
    pub fn matters(shape: Shape) -> bool {
        shape.channels > 1 && shape.positions() > 1
    }

    /// Every image of `from`, which has the other order, in the order `order`.
    fn reorder(&self, order: Order, from: &[f32], to: &mut [f32]) {
        let (channels, positions) = (self.shape.channels, self.shape.positions());
        let (rows, columns) = match order {
            Order::ChannelsFirst => (positions, channels),
            Order::ChannelsLast => (channels, positions),
        };
        let images = from.chunks_exact(self.shape.len()).zip(to.chunks_exact_mut(self.shape.len()));
        vectorized(
            #[inline(always)]
            || images.for_each(|(from, to)| transpose(from, rows, columns, to)),
        );
    }
}

/// Side of the squares that are transposed at a time.
const SIDE: usize = 8;

/// `to[c][r] = from[r][c]`.
#[inline(always)]
fn transpose(from: &[f32], rows: usize, columns: usize, to: &mut [f32]) {
    for r in (0..rows).step_by(SIDE) {
        for c in (0..columns).step_by(SIDE) {
            if r + SIDE <= rows && c + SIDE <= columns {
                let mut square = [[0.0; SIDE]; SIDE];
                for (i, row) in square.iter_mut().enumerate() {
                    row.copy_from_slice(&from[(r + i) * columns + c..][..SIDE]);
                }
                for j in 0..SIDE {
                    let column: [f32; SIDE] = std::array::from_fn(|i| square[i][j]);
                    to[(c + j) * rows + r..][..SIDE].copy_from_slice(&column);
                }
            } else {
                for i in r..(r + SIDE).min(rows) {
                    for j in c..(c + SIDE).min(columns) {
                        to[j * rows + i] = from[i * columns + j];
                    }
                }
            }
        }
    }
}

impl Layer for Reorder {
    fn output(&self) -> Shape {
        self.shape
    }

    fn forward(&mut self, _: &[f32], _: &mut [f32], x: &[f32], y: &mut [f32], _: usize, _: &mut Mode<'_>) {
        self.reorder(self.to, x, y);
    }

    fn backward(
        &mut self,
        _: &[f32],
        _: &[f32],
        _: &[f32],
        dy: &mut [f32],
        dx: Option<&mut [f32]>,
        _: &mut [f32],
        _: usize,
    ) {
        let Some(dx) = dx else { return };
        let back = match self.to {
            Order::ChannelsFirst => Order::ChannelsLast,
            Order::ChannelsLast => Order::ChannelsFirst,
        };
        self.reorder(back, dy, dx);
    }
}
