//! Scales from values to positions, with round ticks.

/// A scale from values to positions, linear or logarithmic, with round ticks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Axis {
    lo: f64,
    hi: f64,
    start: f64,
    end: f64,
    log: bool,
}

impl Axis {
    /// Linear over the finite `values`, which map to positions from `start` to `end`.
    pub fn linear(values: impl Iterator<Item = f64>, start: f64, end: f64) -> Self {
        let (lo, hi) = extent(values.filter(|v| v.is_finite())).unwrap_or((0.0, 1.0));
        let (lo, hi) = if lo < hi { (lo, hi) } else { (lo - 0.5, hi + 0.5) };
        Axis { lo, hi, start, end, log: false }
    }

    /// Logarithmic over the positive finite `values`.
    pub fn log(values: impl Iterator<Item = f64>, start: f64, end: f64) -> Self {
        let (lo, hi) = extent(values.filter(|v| v.is_finite() && *v > 0.0)).unwrap_or((0.1, 1.0));
        let (lo, hi) = if hi > 1.5 * lo { (lo, hi) } else { (lo / 1.5, hi * 1.5) };
        Axis { lo, hi, start, end, log: true }
    }

    /// The position of `value`; outside the axis for values outside its range.
    pub fn position(&self, value: f64) -> f64 {
        let fraction = if self.log {
            (value / self.lo).ln() / (self.hi / self.lo).ln()
        } else {
            (value - self.lo) / (self.hi - self.lo)
        };
        self.start + fraction * (self.end - self.start)
    }

    /// Round values inside the range, about five.
    pub fn ticks(&self) -> Vec<f64> {
        let by_decades = if self.log { self.ticks_by_decades() } else { Vec::new() };
        if by_decades.len() >= 3 { by_decades } else { self.even_ticks() }
    }

    fn ticks_by_decades(&self) -> Vec<f64> {
        let (first, last) = (self.lo.log10().floor() as i32, self.hi.log10().ceil() as i32);
        let stride = ((last - first) as usize).div_ceil(7).max(1);
        let factors: &[i32] = if self.hi > 300.0 * self.lo { &[1] } else { &[1, 2, 5] };
        // Parsed, not multiplied, so that 1e-3 is the number people write.
        let tick = |exponent: i32| factors.iter().filter_map(move |f| format!("{f}e{exponent}").parse().ok());
        self.inside((first..=last).step_by(stride).flat_map(tick))
    }

    fn even_ticks(&self) -> Vec<f64> {
        let raw = (self.hi - self.lo) / 5.0;
        let magnitude = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|f| f * magnitude).into_iter().find(|s| 1.6 * s >= raw).unwrap_or(raw);
        let first = (self.lo / step).ceil();
        // Rounded to the step's own precision, so that 3 × 0.1 is written 0.3.
        let digits = (-step.log10().floor()).max(0.0) as usize;
        self.inside((0..12).filter_map(|i| format!("{:.digits$}", (first + f64::from(i)) * step).parse().ok()))
    }

    fn inside(&self, values: impl Iterator<Item = f64>) -> Vec<f64> {
        values.filter(|t| (self.lo..=self.hi).contains(t)).collect()
    }
}

fn extent(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |range, v| {
        let (lo, hi) = range.unwrap_or((v, v));
        Some((lo.min(v), hi.max(v)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_positions_linear_in_the_scale() {
        let axis = Axis::log([1e-4, 1e-1].into_iter(), 0.0, 300.0);
        assert_eq!(axis.ticks(), [1e-4, 1e-3, 1e-2, 1e-1]);
        assert!((axis.position(1e-3) - 100.0).abs() < 1e-9);
        let axis = Axis::linear([0.0, 1.0].into_iter(), 10.0, 20.0);
        assert_eq!(axis.ticks(), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        assert_eq!(axis.position(0.5), 15.0);
        // Less than a decade has too few powers of ten.
        assert_eq!(Axis::log([4.05, 4.62].into_iter(), 0.0, 1.0).ticks(), [3.0, 4.0, 5.0, 6.0]);
        assert_eq!(Axis::log([0.3, 0.9].into_iter(), 0.0, 1.0).ticks(), [0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]);
        let point = Axis::linear([7.0].into_iter(), 0.0, 1.0);
        assert_eq!(point.position(7.0), 0.5);
    }
}
