//! Data sets: readers, checks, splits.
