//! Counted costs against counts by hand.

use fintan_ntk::cones::{Geometry, LayerKind, Plan, full_cost, sums_cost};

/// Transposed convolutions with kernel 4, stride 2, padding 1 from a 4 x 4 map on.
fn generator(channels: &[usize]) -> Plan {
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
    Plan::whole(&shapes).expect("a plan")
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
    let full = full_cost(&plan, None, [1, 1], 4);
    assert!((8.0 * full.pull - sums.pull).abs() < 1e-6 * sums.pull);
    assert!((0.35..0.42).contains(&(2.0 * full.pull / 1e9)), "{full:?}");
    assert!((0.6..1.5).contains(&(2.0 * full.total() / 1e9)), "{full:?}");
    assert!(full.bytes < 40e6, "{full:?}");
}

#[test]
fn a_generator_of_64_by_64() {
    let plan = generator(&[512, 256, 128, 64, 1]);
    let full = full_cost(&plan, None, [4, 4], 4);
    assert!((117.0..135.0).contains(&(2.0 * full.pull / 1e9)), "{full:?}");
    assert!((900.0..1500.0).contains(&(2.0 * full.contract / 1e9)), "{full:?}");
    assert!((0.4e9..0.7e9).contains(&full.bytes), "{full:?}");
}
