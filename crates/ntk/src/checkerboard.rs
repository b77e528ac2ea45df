//! Measures of checkerboards and borders, from the kernel over the pixels of an image.

/// Decomposition of a kernel over pixels into patterns of growing period.
///
/// ```
/// use fintan_ntk::Checkerboard;
///
/// // A delta kernel over 8 x 8 pixels has equal eigenvalues: 1 constant image, 3 of period 2, and 60 others.
/// let delta = |p: usize| (0..64).map(|q| if p == q { 1.0 } else { 0.0 }).collect();
/// let found = Checkerboard::of([8, 8], 2, 1, delta).expect("2 divides 8");
/// assert_eq!(found.trace_shares, [1.0 / 64.0, 3.0 / 64.0, 60.0 / 64.0]);
/// assert_eq!((found.eigenvalue_ratios, found.border_ratio), (vec![1.0; 3], 1.0));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Checkerboard {
    /// Fractions of the trace, in this order: the constant image; images of period s that are not constant; images of period
    /// s² but not s; and so on; all other images.
    pub trace_shares: Vec<f64>,
    /// Mean eigenvalue of the kernel on each of these spaces, divided by that on the last one. It is exact if the spaces are
    /// invariant.
    pub eigenvalue_ratios: Vec<f64>,
    /// Mean diagonal entry in the border (the two outermost frames of pixels), divided by the mean of all other entries.
    pub border_ratio: f64,
}

impl Checkerboard {
    /// Measures an `[height · width]²` kernel of one channel. `row(p)` returns the entries of pixel p, and `levels` is the
    /// number of powers of the `stride` s.
    ///
    /// With P_k the projection on images of period s^k (means over residue classes), block k holds
    /// `(tr P_k Θ - tr P_{k-1} Θ) / tr Θ` (theory: eigenspaces of generators far from borders, arXiv 1907.05715).
    /// `None` if s^levels does not divide height and width, or if a side is shorter than 5 pixels.
    #[must_use]
    pub fn of(
        [height, width]: [usize; 2],
        stride: usize,
        levels: u32,
        mut row: impl FnMut(usize) -> Vec<f64>,
    ) -> Option<Self> {
        let coarsest = stride.checked_pow(levels)?;
        let divided = coarsest > 0 && height.is_multiple_of(coarsest) && width.is_multiple_of(coarsest);
        if stride < 2 || !divided || height < 5 || width < 5 {
            return None;
        }
        let valuation = |distance: usize| (1..=levels).take_while(|&k| distance.is_multiple_of(stride.pow(k))).count();
        let levels = levels as usize;
        // Sums of entries, by the largest power of the stride that divides the displacement.
        let mut sums = vec![0.0; levels + 1];
        let (mut trace, mut frame, mut inside) = (0.0, (0.0, 0.0), (0.0, 0.0));
        let along = |size: usize| -> Vec<usize> { (0..size).map(valuation).collect() };
        let (rows, columns) = (along(height), along(width));
        for p in 0..height * width {
            let (y, x) = (p / width, p % width);
            let entries = row(p);
            for (line, there) in entries.chunks(width).enumerate() {
                let vertical = rows[line.abs_diff(y)];
                for (column, value) in there.iter().enumerate() {
                    sums[vertical.min(columns[column.abs_diff(x)])] += value;
                }
            }
            trace += entries[p];
            let at_border = y < 2 || x < 2 || y + 2 >= height || x + 2 >= width;
            let part = if at_border { &mut frame } else { &mut inside };
            *part = (part.0 + entries[p], part.1 + 1.0);
        }
        let pixels = (height * width) as f64;
        let classes = |k: usize| (stride * stride).pow(k as u32) as f64;
        let mut held = Vec::with_capacity(levels + 2);
        for k in 0..=levels {
            held.push(classes(k) / pixels * sums[k..].iter().sum::<f64>());
        }
        held.push(trace);
        let parts: Vec<(f64, f64)> = (0..held.len())
            .map(|k| {
                let count = if k <= levels { classes(k) } else { pixels };
                match k.checked_sub(1) {
                    None => (held[0], 1.0),
                    Some(before) => (held[k] - held[before], count - classes(before)),
                }
            })
            .filter(|part| part.1 > 0.0)
            .collect();
        let least = parts.last().map_or(1.0, |part| part.0 / part.1);
        Some(Self {
            trace_shares: parts.iter().map(|part| part.0 / trace).collect(),
            eigenvalue_ratios: parts.iter().map(|part| part.0 / part.1 / least).collect(),
            border_ratio: (frame.0 / frame.1) / (inside.0 / inside.1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The trace of the projections on a constant, on columns of period 2 and on single pixels must be in the right block.
    #[test]
    fn projections_fall_into_their_blocks() {
        let (h, w) = (8, 8);
        let of = |kernel: &dyn Fn(usize, usize) -> f64| {
            Checkerboard::of([h, w], 2, 2, |p| (0..h * w).map(|q| kernel(p, q)).collect()).expect("divisible")
        };
        let close = |got: &[f64], want: &[f64]| {
            assert!(got.len() == want.len() && got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-12), "{got:?}");
        };
        let stripes = |p: usize| if (p % w).is_multiple_of(2) { 1.0 } else { -1.0 };
        close(&of(&|_, _| 1.0).trace_shares, &[1.0, 0.0, 0.0, 0.0]);
        close(&of(&|p, q| stripes(p) * stripes(q)).trace_shares, &[0.0, 1.0, 0.0, 0.0]);
        let delta = of(&|p, q| f64::from(p == q));
        close(&delta.trace_shares, &[1.0 / 64.0, 3.0 / 64.0, 12.0 / 64.0, 48.0 / 64.0]);
        close(&delta.eigenvalue_ratios, &[1.0; 4]);
        assert!((delta.border_ratio - 1.0).abs() < 1e-12);
        // 2 on the frame, 1 inside.
        let framed = of(&|p, q| {
            let at_border = p / w < 2 || p % w < 2 || p / w + 2 >= h || p % w + 2 >= w;
            if p == q { 1.0 + f64::from(at_border) } else { 0.0 }
        });
        assert!((framed.border_ratio - 2.0).abs() < 1e-12);
        assert!(Checkerboard::of([6, 6], 2, 2, |_| vec![0.0; 36]).is_none());
    }
}
