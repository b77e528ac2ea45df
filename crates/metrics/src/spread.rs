//! Statistics of repeated measurements.

/// Mean and standard deviation (divisor n - 1) of the values. A single value has no deviation; without values the result is
/// `None`.
///
/// ```
/// use fintan_metrics::mean_and_spread;
///
/// assert_eq!(mean_and_spread(&[1.0, 3.0]), Some((2.0, Some(2.0_f64.sqrt()))));
/// assert_eq!(mean_and_spread(&[1.0]), Some((1.0, None)));
/// ```
#[must_use]
pub fn mean_and_spread(values: &[f64]) -> Option<(f64, Option<f64>)> {
    let n = values.len() as f64;
    if values.is_empty() {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((mean, (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt())))
}

#[cfg(test)]
mod tests {
    use super::mean_and_spread;

    #[test]
    fn one_value_has_no_spread() {
        assert_eq!(mean_and_spread(&[]), None);
        assert_eq!(mean_and_spread(&[2.0]), Some((2.0, None)));
        // The variance of 1, 2, 3, 4 is 5/3.
        let (mean, spread) = mean_and_spread(&[1.0, 2.0, 3.0, 4.0]).expect("values");
        assert_eq!(mean, 2.5);
        assert!((spread.expect("several") - (5.0_f64 / 3.0).sqrt()).abs() < 1e-15);
    }
}
