//! Counted costs against counts by hand.

use fintan_ntk::cones::{ConePlan, Geometry, LayerKind, full_cost, sums_cost};

/// Transposed convolutions with kernel 4, stride 2, padding 1 from a 4 x 4 map on.
fn generator(channels: &[usize]) -> ConePlan {
    let shapes: Vec<Geometry> = (channels.windows(2).enumerate())
        .map(|(i, pair)| Geometry {
            kind: LayerKind::Deconv,
            kernel: [4, 4],
            stride: [2, 2],
            padding: [1, 1],
            input: [4 << i, 4 << i, pair[0]],
            output: [8 << i, 8 << i, pair[1]],
        })
        .collect();
    ConePlan::whole(&shapes).expect("a plan")
}

#[test]
fn a_generator_of_32_by_32() {
    let plan = generator(&[128, 64, 32, 1]);
    // For a batch of 8, between what lies on the maps and whole windows, in 1e9 floating-point operations.
    let sums = sums_cost(&plan, [8, 8], true, 4);
    assert!((2.81..3.3).contains(&(2.0 * sums.pull / 1e9)), "{sums:?}");
    assert!(2.0 * sums.contract / 1e9 < 0.5, "{sums:?}");
    // Between two batches both are pulled back.
    assert_eq!(sums_cost(&plan, [8, 8], false, 4).pull, 2.0 * sums.pull);
    let full = full_cost(&plan, None, [1, 1], 4, true);
    assert!((8.0 * full.pull - sums.pull).abs() < 1e-6 * sums.pull);
    assert!((0.35..0.42).contains(&(2.0 * full.pull / 1e9)), "{full:?}");
    assert!((0.6..1.5).contains(&(2.0 * full.total() / 1e9)), "{full:?}");
    assert!(full.bytes < 40e6, "{full:?}");
}

#[test]
fn a_generator_of_64_by_64() {
    let plan = generator(&[512, 256, 128, 64, 1]);
    let full = full_cost(&plan, None, [4, 4], 4, true);
    assert!((117.0..135.0).contains(&(2.0 * full.pull / 1e9)), "{full:?}");
    assert!((900.0..1500.0).contains(&(2.0 * full.contract / 1e9)), "{full:?}");
    assert!((0.4e9..0.7e9).contains(&full.bytes), "{full:?}");
}

#[test]
fn what_is_not_pulled_back_is_not_counted() {
    // A latent of 100 numbers, seen as a map of one position: nothing lies below it.
    let first = Geometry {
        kind: LayerKind::Deconv,
        kernel: [4, 4],
        stride: [1, 1],
        padding: [0, 0],
        input: [1, 1, 100],
        output: [4, 4, 8],
    };
    let second = Geometry { stride: [2, 2], padding: [1, 1], input: [4, 4, 8], output: [8, 8, 1], ..first };
    let plan = ConePlan::whole(&[first, second]).expect("a plan");
    let [with, without] = [true, false].map(|below| full_cost(&plan, None, [2, 2], 4, below));
    // On their way every position of a window in the 4 x 4 map carries 8 numbers to each of the 100: in a row, of 8 windows
    // 2 hold one position of the map and 6 hold two.
    let positions = f64::from((2 + 6 * 2) * (2 + 6 * 2));
    assert_eq!(with.pull, 2.0 * positions * 8.0 * 100.0);
    assert_eq!(without.pull, 0.0, "through the last layer cotangents are looked up");
    assert!(without.bytes <= with.bytes - 4.0 * 2.0 * 64.0 * 100.0, "{without:?} {with:?}");
    // 64 x 64 products of 100 numbers, for half of the four pairs.
    assert_eq!(with.contract - without.contract, 2.0 * 64.0 * 64.0 * 100.0);
}
