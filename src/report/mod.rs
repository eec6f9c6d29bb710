//! Records of runs, and everything that only reads them: tables, charts, TensorBoard events, HTML.

pub mod record;
