//! Fast standard normal numbers, from streams that do not depend on threads or devices.
//!
//! A realisation of a deep network draws tens of millions of weights, which can cost as much as multiplying by them. Therefore
//! the numbers are drawn in pairs by the transform of Box and Muller (1958), `√(-2 ln u) (cos, sin)(2π v)`. It is plain
//! arithmetic without table, branch or library call. Compilers turn it into SIMD, and it gives equal bytes on every processor.

#![expect(clippy::inline_always, reason = "functions that are not inlined are compiled for the oldest processor")]

use pulp::{Arch, WithSimd};
use rand::SeedableRng as _;
use rand::rand_core::block::Generator as _;
use rand_chacha::{ChaCha8Core, ChaCha8Rng};

/// A stream of normal numbers; each (seed, realisation, purpose, index) has its own.
///
/// ```
/// use fintan_moments::{Drawn, Normals};
///
/// let values = Normals::new(0, 3, Drawn::Weights, 1).take(4096, 0.5);
/// assert_eq!(values, Normals::new(0, 3, Drawn::Weights, 1).take(4096, 0.5));
/// let variance = values.iter().map(|v| v * v).sum::<f32>() / 4096.0;
/// assert!((variance - 0.25).abs() < 0.03);
/// ```
#[derive(Debug)]
pub struct Normals {
    // The core is used directly, because its wrapper returns single words, which takes longer than the transform.
    core: ChaCha8Core,
}

/// The purpose of random numbers in a realisation.
///
/// ```
/// use fintan_moments::{Drawn, Normals};
///
/// let first = |purpose| Normals::new(0, 0, purpose, 0).take(1, 1.0)[0];
/// assert_ne!(first(Drawn::Signal), first(Drawn::Noise));
/// assert_eq!(Drawn::Choice as u64, 4);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Drawn {
    /// Inputs.
    Signal = 1,
    /// Noise on inputs.
    Noise = 2,
    /// Parameters.
    Weights = 3,
    /// The choice of inputs from a data set.
    Choice = 4,
}

/// Number of pairs in a block.
const BLOCK: usize = 512;

impl Normals {
    /// The stream of a purpose. `index` distinguishes streams with the same purpose.
    #[must_use]
    pub fn new(seed: u64, realisation: u64, purpose: Drawn, index: u64) -> Self {
        Self { core: ChaCha8Core::from_seed(key(seed, realisation, purpose, index)) }
    }

    /// Fills `values` with the next numbers, of mean 0 and standard deviation `std`.
    pub fn fill(&mut self, values: &mut [f32], std: f32) {
        let (arch, mut words) = (Arch::new(), [[0_u32; 64]; 2 * BLOCK / 64]);
        for block in values.chunks_mut(2 * BLOCK) {
            for words in &mut words {
                self.core.generate(words);
            }
            if let Ok(pairs) = <&mut [f32; 2 * BLOCK]>::try_from(&mut *block) {
                arch.dispatch(Transform { words: words.as_flattened(), pairs, std });
            } else {
                let mut pairs = [0.0_f32; 2 * BLOCK];
                arch.dispatch(Transform { words: words.as_flattened(), pairs: &mut pairs, std });
                block.copy_from_slice(&pairs[..block.len()]);
            }
        }
    }

    /// Returns the next `count` numbers.
    #[must_use]
    pub fn take(&mut self, count: usize, std: f32) -> Vec<f32> {
        let mut values = vec![0.0; count];
        self.fill(&mut values, std);
        values
    }
}

/// The underlying random stream of a purpose.
#[must_use]
pub(crate) fn stream(seed: u64, realisation: u64, purpose: Drawn, index: u64) -> ChaCha8Rng {
    ChaCha8Rng::from_seed(key(seed, realisation, purpose, index))
}

fn key(seed: u64, realisation: u64, purpose: Drawn, index: u64) -> [u8; 32] {
    let mut key = [0_u8; 32];
    for (bytes, word) in key.chunks_mut(8).zip([seed, realisation, purpose as u64, index]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    key
}

struct Transform<'a> {
    words: &'a [u32],
    pairs: &'a mut [f32; 2 * BLOCK],
    std: f32,
}

impl WithSimd for Transform<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, _: S) {
        let (cosines, sines) = self.pairs.split_at_mut(BLOCK);
        let (radii, turns) = self.words.split_at(BLOCK);
        for ((x, y), (r, t)) in cosines.iter_mut().zip(sines).zip(radii.iter().zip(turns)) {
            let radius = self.std * radius(*r);
            let (cos, sin) = turn(*t);
            (*x, *y) = (radius * cos, radius * sin);
        }
    }
}

/// `√(-2 ln u)` with u = (n + ½) 2⁻³¹, where n is the upper 31 bits of the word.
#[inline(always)]
fn radius(word: u32) -> f32 {
    let u = ((word >> 1) as i32 as f32 + 0.5) * (1.0 / 2_147_483_648.0);
    (-2.0 * ln(u)).max(0.0).sqrt()
}

/// ln u of a positive normal number. The error is at most 2 units in the last place or 1e-7.
#[inline(always)]
fn ln(u: f32) -> f32 {
    // u = m 2^e with m in [√½, √2).
    let shifted = u.to_bits().wrapping_sub(0x3f35_04f3);
    let exponent = (shifted as i32 >> 23) as f32;
    let mantissa = f32::from_bits((shifted & 0x007f_ffff).wrapping_add(0x3f35_04f3));
    // ln m = 2 artanh s, s = (m - 1) / (m + 1), |s| < 0.1716: the next term is 2 s¹¹/11 < 7e-10.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let z = s * s;
    let tail = z * (0.333_333_34 + z * (0.2 + z * (0.142_857_15 + z * 0.111_111_11)));
    exponent * std::f32::consts::LN_2 + 2.0 * (s + s * tail)
}

/// (cos, sin) of 2π n 2⁻³², where n is the word.
#[inline(always)]
fn turn(word: u32) -> (f32, f32) {
    // The nearest quarter turn, and the remaining angle in [-π/4, π/4).
    let quarter = word.wrapping_add(0x2000_0000) >> 30;
    let rest = word.wrapping_sub(quarter << 30) as i32 as f32;
    let a = rest * (std::f32::consts::TAU / 4_294_967_296.0);
    let z = a * a;
    // Taylor series: the next terms are below 4e-8 at π/4.
    let sin = a + a * z * (-0.166_666_67 + z * (8.333_334e-3 + z * (-1.984_127e-4 + z * 2.755_732e-6)));
    let cos = 1.0 + z * (-0.5 + z * (4.166_666_8e-2 + z * (-1.388_888_9e-3 + z * 2.480_158_7e-5)));
    // Quarter turns exchange sine and cosine and change signs.
    let swapped = quarter & 1 == 1;
    let (c, s) = if swapped { (sin, cos) } else { (cos, sin) };
    let c = if (quarter + 1) & 2 == 2 { -c } else { c };
    let s = if quarter & 2 == 2 { -s } else { s };
    (c, s)
}

#[cfg(test)]
mod tests {
    use rand::Rng as _;

    use super::*;

    #[test]
    fn the_transform_is_that_of_the_library_functions() {
        let mut rng = stream(3, 1, Drawn::Noise, 0);
        let words = (0..200_000).map(|_| rng.next_u32()).chain([0, 1, 2, 3, u32::MAX, u32::MAX - 1, 1 << 30, 1 << 31]);
        for word in words.chain((0..32).flat_map(|i| [(i << 27) - u32::from(i > 0), (i << 27) + 1])) {
            let u = (f64::from(word >> 1) + 0.5) / 2_147_483_648.0;
            let expected = (-2.0 * u.min(1.0).ln()).sqrt();
            // Near u = 1 the radius is small, so the rounding of u (at most 6e-8) causes a larger error.
            let error = (f64::from(radius(word)) - expected).abs();
            assert!(error < 4e-7 * expected.max(1.0) + 6e-8 / expected, "{word}: off by {error}");
            let angle = std::f64::consts::TAU * f64::from(word) / 4_294_967_296.0;
            let (cos, sin) = turn(word);
            assert!((f64::from(cos) - angle.cos()).abs() < 2e-7, "{word}: {cos} {}", angle.cos());
            assert!((f64::from(sin) - angle.sin()).abs() < 2e-7, "{word}: {sin} {}", angle.sin());
        }
    }

    #[test]
    fn numbers_are_standard_normal_and_independent() {
        let n = 4_000_000;
        let values = Normals::new(7, 0, Drawn::Weights, 0).take(n, 1.0);
        let mean = |of: &dyn Fn(f64) -> f64| values.iter().map(|&v| of(f64::from(v))).sum::<f64>() / n as f64;
        // (value, expected, standard deviation of one term)
        let root = (n as f64).sqrt();
        for (found, expected, spread) in [
            (mean(&|v| v), 0.0, 1.0),
            (mean(&|v| v * v), 1.0, 2.0_f64.sqrt()),
            (mean(&|v| v.powi(3)), 0.0, 15.0_f64.sqrt()),
            (mean(&|v| v.powi(4)), 3.0, 96.0_f64.sqrt()),
            (mean(&|v| v.powi(6)), 15.0, (10_395.0_f64 - 225.0).sqrt()),
            (mean(&f64::abs), std::f64::consts::FRAC_2_PI.sqrt(), (1.0 - std::f64::consts::FRAC_2_PI).sqrt()),
        ] {
            assert!((found - expected).abs() < 4.5 * spread / root, "{found} for {expected}");
        }
        for lag in [1, 2, 511, 512, 513, 1024] {
            let product: f64 = values.iter().zip(&values[lag..]).map(|(a, b)| f64::from(a * b)).sum::<f64>() / n as f64;
            let squares: f64 =
                values.iter().zip(&values[lag..]).map(|(a, b)| f64::from(a * a) * f64::from(b * b)).sum::<f64>()
                    / n as f64;
            assert!(product.abs() < 4.5 / root, "lag {lag}: {product}");
            assert!((squares - 1.0).abs() < 4.5 * 8.0_f64.sqrt() / root, "lag {lag}: {squares}");
        }
        // The test of Kolmogorov and Smirnov, at a level of one in ten thousand.
        let mut sorted: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
        sorted.sort_by(f64::total_cmp);
        let cdf = |v: f64| 0.5 * libm::erfc(-v * std::f64::consts::FRAC_1_SQRT_2);
        let distance =
            sorted.iter().enumerate().map(|(i, &v)| (cdf(v) - i as f64 / n as f64).abs()).fold(0.0, f64::max);
        assert!(distance < 2.23 / root, "{distance}");
    }

    #[test]
    fn streams_differ_and_repeat() {
        let of = |seed, realisation, purpose, index| Normals::new(seed, realisation, purpose, index).take(1500, 1.0);
        let first = of(1, 2, Drawn::Weights, 3);
        assert_eq!(first, of(1, 2, Drawn::Weights, 3));
        for other in [
            of(2, 2, Drawn::Weights, 3),
            of(1, 3, Drawn::Weights, 3),
            of(1, 2, Drawn::Noise, 3),
            of(1, 2, Drawn::Weights, 4),
        ] {
            assert_ne!(first, other);
        }
    }
}
