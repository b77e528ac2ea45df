//! Numbers of any size: an f64 factor and a power of two.
//!
//! In deep networks with homogeneous nonlinearities, variances are products of hundreds of factors. They leave the range of
//! f64 (from 1e-308 to 1e308); correlations and scaled kernels are ratios and do not.

use std::fmt;
use std::ops::{Add, Div, Mul, Sub};

/// `factor · 2^exponent`; the absolute value of the factor is in \[1/2, 1), or the factor is 0.
///
/// ```
/// use fintan_theory::Wide;
///
/// let tiny = Wide::scaled(1.0, -2000); // 2^-2000, below the range of f64
/// assert_eq!((tiny.value(), tiny.log2()), (0.0, -2000.0));
/// assert_eq!((tiny * Wide::scaled(3.0, 2000)).value(), 3.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wide {
    factor: f64,
    exponent: i64,
}

/// `2^exponent`: 0 below the range of f64 and ∞ above it.
pub(crate) fn power_of_two(exponent: i64) -> f64 {
    match exponent {
        1024.. => f64::INFINITY,
        -1022..=1023 => f64::from_bits(((exponent + 1023) as u64) << 52),
        -1074..=-1023 => f64::from_bits(1 << (exponent + 1074)),
        ..-1074 => 0.0,
    }
}

/// The exponent e in `|x| = m 2^e` with m in \[1/2, 1); `None` if x is 0 or not finite.
pub(crate) fn exponent_of(x: f64) -> Option<i64> {
    if x == 0.0 || !x.is_finite() {
        return None;
    }
    let biased = |x: f64| ((x.to_bits() >> 52) & 0x7ff) as i64;
    Some(match biased(x) {
        // Numbers below the normal range.
        0 => biased(x * power_of_two(64)) - 1022 - 64,
        normal => normal - 1022,
    })
}

/// `x · 2^exponent`, even if an intermediate power of two would underflow or overflow.
pub(crate) fn scaled_by(x: f64, exponent: i64) -> f64 {
    let half = (exponent / 2).clamp(-1000, 1000);
    let rest = (exponent - half).clamp(-1000, 1000);
    let beyond = (exponent - half - rest).clamp(-1074, 1023);
    x * power_of_two(half) * power_of_two(rest) * power_of_two(beyond)
}

/// The exponent of a factor whose square or products could leave the range of f64; 0 for any other factor.
pub(crate) fn outside(x: f64) -> i64 {
    exponent_of(x).filter(|e| e.abs() > 32).unwrap_or(0)
}

impl Wide {
    /// 0.
    pub const ZERO: Self = Self { factor: 0.0, exponent: 0 };

    /// Converts an f64.
    #[must_use]
    pub fn new(x: f64) -> Self {
        Self::scaled(x, 0)
    }

    /// `x · 2^exponent`.
    #[must_use]
    pub fn scaled(x: f64, exponent: i64) -> Self {
        match exponent_of(x) {
            Some(own) => Self { factor: scaled_by(x, -own), exponent: exponent + own },
            None => Self { factor: x, exponent: 0 },
        }
    }

    /// Converts to f64: 0 or ±∞ outside its range.
    #[must_use]
    pub fn value(self) -> f64 {
        scaled_by(self.factor, self.exponent)
    }

    /// Whether the number is finite.
    #[must_use]
    pub fn is_finite(self) -> bool {
        self.factor.is_finite()
    }

    /// Whether f64 can represent the number with all its digits.
    #[must_use]
    pub fn is_in_range(self) -> bool {
        self.factor == 0.0 || self.value().is_normal()
    }

    /// Logarithm to base 2; -∞ for 0.
    #[must_use]
    pub fn log2(self) -> f64 {
        self.factor.log2() + self.exponent as f64
    }

    /// Logarithm to base 10; -∞ for 0.
    #[must_use]
    pub fn log10(self) -> f64 {
        self.log2() * std::f64::consts::LOG10_2
    }

    /// Square root.
    #[must_use]
    pub fn sqrt(self) -> Self {
        let odd = self.exponent.rem_euclid(2);
        Self::scaled((self.factor * power_of_two(odd)).sqrt(), (self.exponent - odd) / 2)
    }

    /// `self / other` as f64.
    #[must_use]
    pub fn over(self, other: Self) -> f64 {
        (self / other).value()
    }

    pub(crate) fn is_zero(self) -> bool {
        self.factor == 0.0
    }

    pub(crate) fn is_positive(self) -> bool {
        self.factor > 0.0
    }

    /// See [`outside`].
    pub(crate) fn outside(self) -> i64 {
        if self.exponent.abs() > 32 && !self.is_zero() { self.exponent } else { 0 }
    }
}

impl Mul for Wide {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        Self::scaled(self.factor * other.factor, self.exponent + other.exponent)
    }
}

impl Mul<f64> for Wide {
    type Output = Self;
    fn mul(self, other: f64) -> Self {
        self * Self::new(other)
    }
}

impl Div for Wide {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        Self::scaled(self.factor / other.factor, self.exponent - other.exponent)
    }
}

impl Add for Wide {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        if self.is_zero() || other.is_zero() {
            return if self.is_zero() { other } else { self };
        }
        let (large, small) = if self.exponent >= other.exponent { (self, other) } else { (other, self) };
        Self::scaled(large.factor + scaled_by(small.factor, small.exponent - large.exponent), large.exponent)
    }
}

impl Sub for Wide {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + Self { factor: -other.factor, ..other }
    }
}

/// Prints six decimals if that is short, otherwise the form `1.234560e-4567`.
impl fmt::Display for Wide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value();
        if self.factor == 0.0 || (1e-4..1e9).contains(&value.abs()) || !self.factor.is_finite() {
            return f.pad(&format!("{value:.6}"));
        }
        if value.is_normal() {
            return f.pad(&format!("{value:.6e}"));
        }
        let log = Self { factor: self.factor.abs(), ..*self }.log10();
        let sign = if self.factor < 0.0 { "-" } else { "" };
        f.pad(&format!("{sign}{:.6}e{}", 10.0_f64.powf(log - log.floor()), log.floor()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_is_that_of_f64_and_goes_beyond_it() {
        let numbers = [0.0, 1.0, -3.75, 1e-320, 7e300, -2e-300, 1e16];
        for a in numbers {
            assert_eq!(Wide::new(a).value(), a);
            for b in numbers {
                let (x, y) = (Wide::new(a), Wide::new(b));
                assert_eq!((x + y).value(), a + b, "{a} + {b}");
                if (a * b).is_normal() {
                    assert_eq!((x * y).value(), a * b, "{a} * {b}");
                }
            }
        }
        let mut small = Wide::new(1.0);
        for _ in 0..1000 {
            small = small * 1e-3;
        }
        assert_eq!((small.value(), small.is_in_range(), small.is_finite()), (0.0, false, true));
        assert!((small.log10() + 3000.0).abs() < 1e-9);
        assert!((small.sqrt().log10() + 1500.0).abs() < 1e-9);
        assert!(((small * 3.0).over(small) - 3.0).abs() < 1e-15);
        assert!((small + small * 2.0 - small).over(small) - 2.0 < 1e-15);
        assert_eq!(format!("{:>9}", Wide::new(2.0)), " 2.000000");
        let text = (small * 1.5).to_string();
        assert!(text.starts_with("1.5") && text.ends_with("e-3000"), "{text}");
        assert_eq!((outside(1e-3), outside(1e30), small.outside() < -9000), (0, 100, true));
    }

    #[test]
    fn powers_of_two_at_all_exponents() {
        for e in [-1074, -1040, -1022, -3, 0, 5, 1023] {
            assert_eq!(power_of_two(e), (e as f64).exp2());
            assert_eq!(exponent_of(power_of_two(e)), Some(e + 1));
        }
        assert_eq!((power_of_two(-1075), power_of_two(1024)), (0.0, f64::INFINITY));
        assert_eq!(scaled_by(power_of_two(-1000), 2000), power_of_two(1000));
        assert_eq!(scaled_by(1.0, -4000), 0.0);
    }
}
