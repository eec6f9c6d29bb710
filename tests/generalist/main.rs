//! Pretrained policies: formulation, environment, learning.

mod formulation;
mod learning;
