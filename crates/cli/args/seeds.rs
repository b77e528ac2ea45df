//! Lists of seeds.

use std::str::FromStr;

/// Largest number of seeds in a list. It is far more than anyone trains, so a larger number is a typing error.
const MOST: u64 = 10_000;

/// An item of a list of seeds: one seed, or `A..B` for A to B - 1, like other ranges of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SeedRange {
    from: u64,
    count: u64,
}

impl SeedRange {
    /// The seeds of the item, in order.
    pub(crate) fn seeds(self) -> impl Iterator<Item = u64> {
        (0..self.count).map(move |i| self.from + i)
    }
}

impl FromStr for SeedRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.trim().parse::<u64>().ok();
        let Some((from, to)) = text.split_once("..") else {
            let from = number(text).ok_or("it must be a seed such as 3, or a range such as 3..5 (which is 3 and 4)")?;
            return Ok(Self { from, count: 1 });
        };
        let (Some(from), Some(to)) = (number(from), number(to)) else {
            return Err("a range of seeds must be two whole numbers such as 3..5 (which is 3 and 4)".into());
        };
        match to.checked_sub(from) {
            Some(count @ 1..=MOST) => Ok(Self { from, count }),
            Some(1..) => Err(format!("a range must hold at most {MOST} seeds")),
            _ => Err(format!(
                "the range holds no seed: its end is left out, so {from} alone is {from}..{}",
                u128::from(from) + 1
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_leave_their_end_out() {
        let seeds = |text: &str| text.parse::<SeedRange>().map(|range| range.seeds().collect::<Vec<_>>());
        assert_eq!(seeds("3..5"), Ok(vec![3, 4]));
        assert_eq!(seeds(" 7 "), Ok(vec![7]));
        assert_eq!(seeds("18446744073709551614..18446744073709551615"), Ok(vec![u64::MAX - 1]));
        for (text, said) in [
            ("3..3", "holds no seed"),
            ("5..3", "holds no seed"),
            ("0..18446744073709551615", "at most 10000"),
            ("3..=5", "two whole numbers"),
            ("..5", "two whole numbers"),
            ("-1", "a seed such as 3"),
            ("", "a seed such as 3"),
        ] {
            assert!(seeds(text).is_err_and(|e| e.contains(said)), "{text}");
        }
    }
}
