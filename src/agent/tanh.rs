//! Hyperbolic tangent with the same bits on every machine.
//!
//! A policy's decision feeds back into what it observes next, so a last bit that differs becomes another schedule, and C
//! libraries differ: glibc changed its `tanhf` between 2.36 and 2.43. This is the method of Sun's fdlibm, with its
//! constants, in IEEE arithmetic only. It equals `tanhf` of glibc 2.36, with which the policies of this project's tables
//! were learned, in all 2³² values (NaN counted as NaN); the networks' own [`tanh`](crate::nn::layers::activation::tanh), made for
//! vectors, does not.

use std::f32::consts::LOG2_E;

/// Hyperbolic tangent, within 3 units in the last place; NaN stays NaN.
pub(crate) fn tanh(v: f32) -> f32 {
    let a = v.abs();
    let magnitude = if a >= 10.0 {
        1.0
    } else if a >= 1.0 {
        1.0 - 2.0 / (exp_m1(2.0 * a) + 2.0)
    } else {
        let m = exp_m1(-2.0 * a);
        -m / (m + 2.0)
    };
    magnitude.copysign(v)
}

/// e^x − 1 for −2 < x < 20, with x = k·ln 2 + r and |r| ≤ ½ ln 2.
fn exp_m1(x: f32) -> f32 {
    /// The upper bits of ln 2, so few that their product with k is exact, and the rest.
    const LN_2: [f32; 2] = [0.693_138_1, 9.058_001e-6];
    /// Of the polynomial in r²/2 that approximates (r/2)·(e^r + 1)/(e^r − 1).
    const COEFFICIENTS: [f32; 6] = [1.0, -3.333_333_5e-2, 1.587_301_6e-3, -7.936_508e-5, 4.008_217_7e-6, -2.010_992e-7];
    let k = (LOG2_E * x + 0.5f32.copysign(x)) as i32;
    let (high, low) = (x - k as f32 * LN_2[0], k as f32 * LN_2[1]);
    let r = high - low;
    // What rounding took from r.
    let lost = (high - r) - low;
    let half = 0.5 * r;
    let square = r * half;
    let p = COEFFICIENTS.iter().rev().fold(0.0, |sum, c| c + square * sum);
    let t = 3.0 - p * half;
    let e = square * ((p - t) / (6.0 - r * t));
    let power = |k: i32| f32::from_bits(((127 + k) as u32) << 23);
    // r − `rest` is e^r − 1.
    let rest = if k == 0 { r * e - square } else { (r * (e - lost) - lost) - square };
    match k {
        0 => r - rest,
        -1 => 0.5 * (r - rest) - 0.5,
        ..=-2 => power(k) * (1.0 - (rest - r)) - 1.0,
        _ => power(k) * ((1.0 - power(-k)) - (rest - r)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 9973rd of all f32, 430,651 values.
    fn values() -> impl Iterator<Item = f32> {
        (0..=u32::MAX).step_by(9973).map(f32::from_bits).filter(|v| !v.is_nan())
    }

    #[test]
    fn is_within_three_units_in_the_last_place() {
        for v in values() {
            let (got, want) = (tanh(v), f64::from(v).tanh());
            let unit = f64::from((want as f32).abs().next_up() - (want as f32).abs());
            assert!((f64::from(got) - want).abs() <= 3.0 * unit, "tanh({v:e}) is {want:e}, not {got:e}");
        }
        assert!(tanh(f32::NAN).is_nan());
        assert_eq!((tanh(f32::INFINITY), tanh(-1e30), tanh(-0.0).to_bits()), (1.0, -1.0, (-0.0f32).to_bits()));
    }

    /// The checksum of the same values from glibc 2.36's `tanhf`.
    #[test]
    fn has_the_same_bits_everywhere() {
        let bytes = |v: f32| tanh(v).to_bits().to_le_bytes();
        let checksum = values().fold(0, |sum, v| crc32c::crc32c_append(sum, &bytes(v)));
        assert_eq!(checksum, 0x43dc_0d72);
    }
}
