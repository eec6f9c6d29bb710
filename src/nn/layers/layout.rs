//! Changes of the order of an image's values, between PyTorch's `[channel][row][column]` outside of a network and
//! `[row][column][channel]` inside.

use crate::nn::kernels::gemm::transpose;
use crate::nn::layers::{Layer, Mode, Shape};

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
        for (from, to) in from.chunks_exact(self.shape.len()).zip(to.chunks_exact_mut(self.shape.len())) {
            transpose(from, rows, columns, to);
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
