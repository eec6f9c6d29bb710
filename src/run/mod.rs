//! Learn, evaluate, compare.
