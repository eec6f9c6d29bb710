//! PyTorch 2.15's defaults of the schedulers' parameters, for `#[serde(default)]`.

macro_rules! defaults {
    ($($name:ident: $kind:ty = $value:expr;)*) => {
        $(pub(super) fn $name() -> $kind { $value })*
    };
}

defaults! {
    third: f64 = 1.0 / 3.0;
    tenth: f64 = 0.1;
    one: f64 = 1.0;
    once: usize = 1;
    five: usize = 5;
    yes: bool = true;
    pct_start: f64 = 0.3;
    div_factor: f64 = 25.0;
    final_div_factor: f64 = 1e4;
    one_cycle_base: f64 = 0.85;
    one_cycle_max: f64 = 0.95;
    step_size_up: usize = 2000;
    cyclic_base: f64 = 0.8;
    cyclic_max: f64 = 0.9;
}
