//! Schedules: open-loop, metric-driven, learned.
