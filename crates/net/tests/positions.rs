//! Average pools against their definition, one window after the other.

use burn::tensor::{Tensor, TensorData};
use fintan_config::{Architecture, AvgPool, Convolution, Init, Layer, Pair, Parametrization, Shape, Standard};
use fintan_net::{Mode, PlacedNetwork};
use rand::RngExt as _;

use fintan_testing::networks::{placements, rng, values};

/// Mean of a channel over the window that begins at (top, left) of the padded map.
fn mean(map: &[f64], shape: Shape, pool: &AvgPool, [top, left]: [usize; 2], channel: usize) -> f64 {
    let (Pair([rows, columns]), Pair([above, beside])) = (pool.window, pool.padding);
    let (mut sum, mut count) = (0.0, 0);
    for y in top..top + rows {
        for x in left..left + columns {
            if (above..above + shape.height).contains(&y) && (beside..beside + shape.width).contains(&x) {
                sum += map[((y - above) * shape.width + x - beside) * shape.channels + channel];
                count += 1;
            }
        }
    }
    sum / if pool.count_padding { (rows * columns) as f64 } else { f64::from(count) }
}

#[test]
fn average_pools_are_means_over_their_windows() {
    let parametrization = Parametrization::Standard(Standard { init: Init::He, bias_std: 0.0 });
    let mut draws = rng(5);
    for case in 0..40 {
        let shape = Shape::image(2, draws.random_range(1..7), draws.random_range(1..7));
        let mut pair = |low: usize, high: usize| Pair([draws.random_range(low..high), draws.random_range(low..high)]);
        let (window, stride, padding) = (pair(1, 4), (case % 3 > 0).then_some(pair(1, 4)), pair(0, 3));
        let pool = AvgPool { window, stride, padding, count_padding: case % 2 == 0 };
        // The identity, since a network needs parameters.
        let identity = Convolution {
            out: 2,
            kernel: 1.into(),
            stride: 1.into(),
            padding: 0.into(),
            output_padding: 0.into(),
            init: None,
        };
        let layers = [Layer::AvgPool(pool), Layer::Conv(identity)];
        let Ok(architecture) = Architecture::new(shape, &layers, parametrization) else { continue };
        let map: Vec<f64> = (0..2 * shape.len()).map(|i| (i as f64 * 0.7).sin()).collect();
        for placement in placements() {
            let network = PlacedNetwork::drawn(&architecture, &placement, &mut |[rows, columns], _| {
                let diagonal = |i: usize| if rows == columns && i / columns == i % columns { 1.0 } else { 0.0 };
                TensorData::new((0..rows * columns).map(diagonal).collect::<Vec<f64>>(), [rows, columns])
            });
            let data = TensorData::new(map.clone(), [2, shape.height, shape.width, 2]);
            let x = Tensor::from_data(data.convert_dtype(placement.dtype), (&placement.device, placement.dtype));
            let (y, _) = network.forward(x, Mode::Train);
            let Shape { height, width, .. } = architecture.output();
            let found = values(&y);
            assert_eq!(y.dims(), [2, height, width, 2]);
            let Pair([down, along]) = stride.unwrap_or(window);
            for (i, got) in found.into_iter().enumerate() {
                let (sample, row, column, channel) =
                    (i / (2 * width * height), i / (2 * width) % height, i / 2 % width, i % 2);
                let start = [row * down, column * along];
                let want = mean(&map[sample * shape.len()..][..shape.len()], shape, &pool, start, channel);
                assert!((got - want).abs() < 1e-12, "{pool:?} of {shape}, value {i}: {got} and {want}");
            }
        }
    }
}
