//! Networks with given weights, inputs and noise, whose moments were computed elsewhere.

use burn::tensor::DType;
use fintan_testing::moments::golden;

use crate::support::placements;

#[test]
fn small_networks_have_the_moments_computed_elsewhere() {
    for case in golden() {
        for placement in placements(DType::F64) {
            case.check(&placement, 1e-10);
        }
        for placement in placements(DType::F32) {
            case.check(&placement, 1e-5);
        }
    }
}
