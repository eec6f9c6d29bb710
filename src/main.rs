//! The `lrpilot` command.

fn main() {}
