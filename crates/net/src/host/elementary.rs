//! Elementary functions in arithmetic that compilers turn into vector instructions: no calls, no branches.

#![expect(clippy::inline_always, reason = "functions that are not inlined are compiled for the oldest processor")]

/// 1.5 · 2⁵²: added to a number below 2⁵¹, it rounds it to a whole number, which then stands in the lowest bits.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// ln 2 = `LN2_HIGH` + `LN2_LOW`; the product of the first with a whole number below 2¹¹ is exact.
const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// 1/n! for n = 14, 13, .., 2.
const TAYLOR: [f64; 13] = [
    1.147_074_559_772_972_5e-11,
    1.605_904_383_682_161_5e-10,
    2.087_675_698_786_81e-9,
    2.505_210_838_544_172e-8,
    2.755_731_922_398_589e-7,
    2.755_731_922_398_589_3e-6,
    2.480_158_730_158_73e-5,
    1.984_126_984_126_984e-4,
    1.388_888_888_888_889e-3,
    8.333_333_333_333_333e-3,
    4.166_666_666_666_666_4e-2,
    1.666_666_666_666_666_6e-1,
    0.5,
];

/// x = n ln 2 + r with |r| ≤ ½ ln 2: (n, exp r - 1), for |x| below 10³.
#[inline(always)]
fn reduced(x: f64) -> (f64, f64) {
    let n = x * std::f64::consts::LOG2_E + ROUND - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let mut sum = TAYLOR[0];
    for coefficient in &TAYLOR[1..] {
        sum = sum * r + coefficient;
    }
    (n, r + r * r * sum)
}

/// 2ⁿ for a whole number n in -1022 ..= 1023.
#[inline(always)]
fn power_of_two(n: f64) -> f64 {
    f64::from_bits(((n + ROUND).to_bits() << 52).wrapping_add(1023 << 52))
}

/// exp x, to 2 units in the last place.
#[inline(always)]
pub(crate) fn exp(x: f64) -> f64 {
    let (n, less_one) = reduced(x.clamp(-746.0, 710.0));
    // Two factors, because 2ⁿ itself may be outside the numbers.
    let half = n * 0.5 + ROUND - ROUND;
    (less_one + 1.0) * power_of_two(half) * power_of_two(n - half)
}

/// tanh x, to 4 units in the last place.
#[inline(always)]
pub(crate) fn tanh(x: f64) -> f64 {
    // From -2|x|, whose exponential never exceeds 1; beyond 22, tanh is 1 in f64. A comparison, because `max` hides NaN.
    let twice = x.abs() * -2.0;
    let (n, less_one) = reduced(if twice < -44.0 { -44.0 } else { twice });
    let power = power_of_two(n);
    let less_one = power * less_one + (power - 1.0);
    let size = -less_one / (less_one + 2.0);
    size.copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_and_tanh_are_those_of_the_host_to_the_last_digits() {
        let mut largest = [0.0_f64; 2];
        for i in -80_000..=80_000_i32 {
            let x = f64::from(i) * 8.9e-3 + f64::from(i % 7) * 1e-5;
            for (k, (found, wanted)) in [(exp(x), x.exp()), (tanh(x * 0.1), (x * 0.1).tanh())].into_iter().enumerate() {
                if wanted.is_finite() && wanted.abs() > f64::MIN_POSITIVE {
                    largest[k] = largest[k].max(((found - wanted) / wanted).abs());
                }
            }
        }
        assert!(largest[0] < 2.0 * f64::EPSILON && largest[1] < 4.0 * f64::EPSILON, "{largest:?}");
        for tiny in [0.0, 1e-300, -1e-300, 1e-9, -1e-9, 1e-5, 0.1] {
            assert!((tanh(tiny) - tiny.tanh()).abs() <= 4.0 * f64::EPSILON * tiny.abs(), "{tiny}");
        }
        assert_eq!([exp(710.0), exp(1e9), exp(f64::INFINITY)], [f64::INFINITY; 3]);
        assert_eq!([exp(-746.0), exp(-1e9), exp(f64::NEG_INFINITY)], [0.0; 3]);
        assert_eq!([tanh(f64::INFINITY), tanh(-1e300)], [1.0, -1.0]);
        assert!(exp(f64::NAN).is_nan() && tanh(f64::NAN).is_nan());
        // Below the normal numbers, one unit is a larger share.
        assert!((exp(-740.0) - (-740.0_f64).exp()).abs() <= 1e-323);
    }
}
