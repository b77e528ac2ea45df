//! Roots of functions of one variable.

/// A root of `f` in \[low, high\], where its ends have opposite signs, to a width of `tolerance` relative to the ends.
///
/// Illinois variant of the false position, with bisection every third step against slow ends. `None` where the signs are equal or
/// a value is not finite.
pub(crate) fn root<E>(
    f: impl Fn(f64) -> Result<f64, E>,
    [mut low, mut high]: [f64; 2],
    tolerance: f64,
) -> Result<Option<f64>, E> {
    let (mut at_low, mut at_high) = (f(low)?, f(high)?);
    if at_low == 0.0 {
        return Ok(Some(low));
    }
    if at_high == 0.0 {
        return Ok(Some(high));
    }
    if at_low.is_nan() || at_high.is_nan() || (at_low < 0.0) == (at_high < 0.0) {
        return Ok(None);
    }
    let width = tolerance * low.abs().max(high.abs()).max(f64::MIN_POSITIVE);
    for step in 0..400 {
        let secant = high - at_high * (high - low) / (at_high - at_low);
        let middle = f64::midpoint(low, high);
        let x = if step % 3 == 2 || !(low..=high).contains(&secant) { middle } else { secant };
        let value = f(x)?;
        if !value.is_finite() {
            return Ok(None);
        }
        if value == 0.0 {
            return Ok(Some(x));
        }
        if (value < 0.0) == (at_low < 0.0) {
            (low, at_low, at_high) = (x, value, 0.5 * at_high);
        } else {
            (high, at_high, at_low) = (x, value, 0.5 * at_low);
        }
        if high - low <= width {
            return Ok(Some(f64::midpoint(low, high)));
        }
    }
    Ok(Some(f64::midpoint(low, high)))
}
