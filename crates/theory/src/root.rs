//! Roots of functions of one variable.

/// A root of `f` in \[low, high\], computed to a width of `tolerance` relative to the ends. `f` must have opposite signs at
/// the ends.
///
/// Illinois variant of the false position method (the value at an end that was kept twice is halved), with a bisection in
/// every third step in case one end moves slowly. `None` if the signs are equal or a value is not finite.
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
    // The end that the last step moved.
    let mut moved_low = None;
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
        let below = (value < 0.0) == (at_low < 0.0);
        let halved = if moved_low == Some(below) { 0.5 } else { 1.0 };
        if below {
            (low, at_low, at_high) = (x, value, halved * at_high);
        } else {
            (high, at_high, at_low) = (x, value, halved * at_low);
        }
        moved_low = Some(below);
        if high - low <= width {
            return Ok(Some(f64::midpoint(low, high)));
        }
    }
    Ok(Some(f64::midpoint(low, high)))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use super::root;

    #[test]
    fn smooth_functions_take_few_steps() {
        for (f, ends) in [
            ((|x| x * x - 2.0) as fn(f64) -> f64, [0.0, 2.0]),
            (|x| x.exp() - 5.0, [0.0, 4.0]),
            (|x| x.powi(3) - 0.3, [0.0, 1.0]),
        ] {
            let calls = Cell::new(0);
            let counted = |x: f64| {
                calls.set(calls.get() + 1);
                Ok::<_, Infallible>(f(x))
            };
            let Ok(found) = root(counted, ends, 4e-16);
            assert!(f(found.expect("signs differ")).abs() < 2e-15);
            // Bisection alone would need 53.
            assert!(calls.get() <= 26, "{} calls", calls.get());
        }
    }
}
