//! What metrics must be whatever the numbers, and what they refuse.

use fintan_metrics::{
    Directions, Features, MetricError, PATCH, Rows, Samples, Scale, frechet_distance, kernel_distance, modes, ms_ssim,
    ms_ssim_scales, patches, precision_recall, sliced_wasserstein,
};
use rand::SeedableRng as _;
use rand_chacha::ChaCha20Rng;
use rand_distr::{Distribution as _, StandardNormal};

fn normal(seed: u64, count: usize, width: usize) -> Features {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    Features { values: (0..count * width).map(|_| StandardNormal.sample(&mut rng)).collect(), width }
}

fn images(seed: u64, count: usize, size: usize) -> Samples {
    let values = normal(seed, count, size * size).values.iter().map(|v| (v / 3.0).clamp(-1.0, 1.0) as f32).collect();
    Samples { values, size, channels: 1 }
}

fn quiet(_: usize) {}

fn near(a: f64, b: f64, tolerance: f64) {
    assert!((a - b).abs() < tolerance, "{a} and {b}");
}

/// Rows `[a, b]` turned by an angle in the plane of the first two features, moved and mirrored: distances stay.
fn moved(set: &Features) -> Features {
    let (sin, cos) = 0.7_f64.sin_cos();
    let row = |row: &[f64]| {
        let mut row = row.to_vec();
        (row[0], row[1]) = (cos * row[0] - sin * row[1] + 3.0, sin * row[0] + cos * row[1] - 1.0);
        let last = row.len() - 1;
        row[last] = -row[last];
        row
    };
    Features { values: set.rows().flat_map(row).collect(), width: set.width }
}

#[test]
fn a_set_is_at_no_distance_from_itself() {
    let set = normal(0, 200, 6);
    near(frechet_distance(&set, &set).expect("defined"), 0.0, 1e-9);
    let found = precision_recall(&set, &set, &quiet).expect("defined");
    assert_eq!((found.precision, found.recall), (1.0, 1.0));
    // Without bias, so a little negative: pairs of equal points are left out within the sets but not between them.
    assert!(kernel_distance(&set, &set, &quiet).expect("defined") < 0.0);
}

#[test]
fn rigid_motions_of_both_sets_change_nothing() {
    let (a, b) = (normal(1, 80, 4), normal(2, 90, 4));
    let there = [moved(&a), moved(&b)];
    let distance = |a: &Features, b: &Features| frechet_distance(a, b).expect("defined");
    near(distance(&a, &b), distance(&there[0], &there[1]), 1e-9);
    near(distance(&a, &b), distance(&b, &a), 1e-9);
    let shares = |a: &Features, b: &Features| precision_recall(a, b, &quiet).expect("defined");
    assert_eq!(shares(&a, &b), shares(&there[0], &there[1]));
    // What is precision one way is recall the other way.
    assert_eq!(shares(&a, &b).precision, shares(&b, &a).recall);
}

/// Between Gaussians whose parameters are known: a shift of m and a factor of s cost |m|² + d (s - 1)².
#[test]
fn the_frechet_distance_is_that_of_gaussians() {
    let set = normal(3, 400, 5);
    let other = Features { values: set.values.iter().map(|v| 1.5 * v + 2.0).collect(), width: 5 };
    let mean: f64 = set.mean().iter().map(|m| (0.5 * m + 2.0).powi(2)).sum();
    let covariance = set.covariance();
    let spread: f64 = (0..5).map(|i| 0.25 * covariance[6 * i]).sum();
    near(frechet_distance(&set, &other).expect("defined"), mean + spread, 1e-9);
}

#[test]
fn a_collapsed_set_has_no_recall_and_a_repeated_image_has_precision() {
    let data = normal(4, 150, 4);
    let collapsed = Features { values: data.row(7).repeat(150), width: 4 };
    let found = precision_recall(&data, &collapsed, &quiet).expect("defined");
    assert_eq!(found.precision, 1.0);
    near(found.recall, 1.0 / 150.0, 1e-12);
    let elsewhere = Features { values: vec![0.123; 600], width: 4 };
    assert_eq!(precision_recall(&data, &elsewhere, &quiet).expect("defined").recall, 0.0);
    let far = Features { values: data.values.iter().map(|v| v + 100.0).collect(), width: 4 };
    let found = precision_recall(&data, &far, &quiet).expect("defined");
    assert_eq!((found.precision, found.recall), (0.0, 0.0));
    assert!(kernel_distance(&data, &far, &quiet).expect("defined") > 1.0);
}

#[test]
fn one_scale_serves_all_features() {
    let set = normal(5, 300, 3);
    let stretched: Vec<f64> = set.rows().flat_map(|row| [10.0 * row[0] + 4.0, row[1], 0.0]).collect();
    let set = Features { values: stretched, width: 3 };
    let scaled = Scale::of(&set).apply(&set);
    assert!(scaled.mean().iter().all(|m| m.abs() < 1e-9));
    let (before, after) = (set.covariance(), scaled.covariance());
    near((after[0] + after[4] + after[8]) / 3.0, 1.0, 1e-9);
    near(after[0] / after[4], before[0] / before[4], 1e-6);
    assert_eq!(after[8], 0.0);
    // Constant features have no spread to divide by.
    let constant = Features { values: vec![2.0; 30], width: 3 };
    assert!(Scale::of(&constant).apply(&constant).values.iter().all(|&v| v == 0.0));
}

#[test]
fn structural_similarity_is_one_between_equal_images_only() {
    let mut set = images(6, 4, 24);
    let other = ms_ssim(&set, &quiet).expect("defined");
    assert!(other.value < 0.2 && other.pairs == 2, "{other:?}");
    let half = set.values.len() / 2;
    set.values.copy_within(..half, half);
    near(ms_ssim(&set, &quiet).expect("defined").value, 1.0, 1e-12);
    // 11 pixels at the coarsest scale; five scales from 176 on.
    assert_eq!([10, 11, 21, 22, 32, 43, 44, 64, 175, 176, 1024].map(ms_ssim_scales), [0, 1, 1, 2, 2, 2, 3, 3, 4, 5, 5]);
}

#[test]
fn slices_see_a_shift_as_far_as_they_look_along_it() {
    let (width, count) = (8, 64);
    let values: Vec<f32> = normal(7, count, width).values.iter().map(|&v| v as f32).collect();
    let shifted: Vec<f32> = values.iter().enumerate().map(|(i, v)| if i % width == 0 { v + 0.5 } else { *v }).collect();
    let directions = Directions::draw(1, 100, width);
    for direction in directions.values.chunks_exact(width) {
        near(direction.iter().map(|v| v * v).sum(), 1.0, 1e-12);
    }
    let along: f64 = directions.values.iter().step_by(width).map(|v| v.abs()).sum::<f64>() / 100.0;
    let rows = |values| Rows { values, width };
    let found = sliced_wasserstein(rows(&values), &[rows(&shifted)], &directions, &quiet).expect("defined");
    near(found[0], 0.5 * along, 1e-6);
    assert_ne!(directions, Directions::draw(2, 100, width));
}

#[test]
fn patches_are_cut_out_of_images() {
    let size = 12;
    let values = (0..3 * size * size).map(|i| i as f32).collect();
    let cut = patches(&Samples { values, size, channels: 1 }, 50, 3).expect("cut");
    let mut corners = Vec::new();
    for patch in cut.chunks_exact(PATCH * PATCH) {
        let corner = patch[0] as usize;
        for (i, &v) in patch.iter().enumerate() {
            assert_eq!(v as usize, corner + i / PATCH * size + i % PATCH);
        }
        // Inside one image.
        assert!(corner % size + PATCH <= size && corner / size % size + PATCH <= size);
        corners.push(corner);
    }
    corners.sort_unstable();
    corners.dedup();
    assert!(corners.len() > 30, "patches lie all over");
}

#[test]
fn modes_are_counted_and_their_shares_compared() {
    let shares = [0.5, 0.25, 0.25];
    let even = modes(&[0, 0, 1, 2], &shares);
    assert_eq!((even.hit, even.counts.as_slice()), (3, &[2, 1, 1][..]));
    near(even.divergence, 0.0, 1e-12);
    let collapsed = modes(&[1; 9], &shares);
    assert_eq!(collapsed.hit, 1);
    near(collapsed.divergence, 4.0_f64.ln(), 1e-12);
}

#[test]
fn what_has_no_value_is_refused() {
    let said = |error: Option<MetricError>| error.expect("refused").to_string();
    let (few, set) = (normal(8, 6, 6), normal(8, 7, 6));
    assert_eq!(said(frechet_distance(&set, &few).err()), "the Fréchet distance needs at least 7 samples, got 6");
    let three = normal(9, 3, 6);
    let refused = precision_recall(&set, &three, &quiet).err();
    assert_eq!(said(refused), "precision and recall needs at least 4 samples, got 3");
    let refused = kernel_distance(&set, &normal(9, 3, 5), &quiet).err();
    assert_eq!(said(refused), "the kernel distance compares sets of one shape, got [7, 6] and [3, 5]");
    let mut broken = set.clone();
    broken.values[3] = f64::NAN;
    assert_eq!(
        said(frechet_distance(&set, &broken).err()),
        "the Fréchet distance is not defined for values that are not finite"
    );
    assert_eq!(said(ms_ssim(&images(1, 4, 8), &quiet).err()), "MS-SSIM needs images of at least 11x11, got 8x8");
    assert_eq!(said(ms_ssim(&images(1, 1, 16), &quiet).err()), "MS-SSIM needs at least 2 samples, got 1");
    assert!(said(patches(&images(1, 4, 6), 5, 0).err()).contains("at least 7x7, got 6x6"));
    let (one, two) = (vec![0.0_f32; 8], vec![0.0_f32; 4]);
    let rows = |values| Rows { values, width: 4 };
    let refused = sliced_wasserstein(rows(&one), &[rows(&two)], &Directions::draw(0, 2, 4), &quiet).err();
    assert!(said(refused).ends_with("got [2, 4] and [1, 4]"));
}
