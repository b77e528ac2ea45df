//! Random chains, and their kernels by explicit gradients and plain loops.

#![allow(dead_code, reason = "each test uses a part")]

use std::borrow::Cow;

use fintan_ntk::cones::{Chain, ConeLayer, Geometry, LayerKind, Output, Real};

/// A small generator of reproducible numbers.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    /// In `low..=high`.
    pub(crate) fn int(&mut self, low: usize, high: usize) -> usize {
        low + self.next() as usize % (high - low + 1)
    }

    /// In -1 .. 1.
    pub(crate) fn real(&mut self) -> f64 {
        self.next() as f64 / f64::from(1_u32 << 30) - 1.0
    }

    pub(crate) fn reals(&mut self, len: usize) -> Vec<f64> {
        (0..len).map(|_| self.real()).collect()
    }
}

/// Gradients by the weights and the bias of each layer, and by the input's pre-map.
pub(crate) type Gradients = (Vec<Vec<f64>>, Vec<Vec<f64>>, Vec<f64>);

/// What the layers of a network share between batches.
pub(crate) struct Net {
    pub(crate) shapes: Vec<Geometry>,
    pub(crate) weights: Vec<Vec<f64>>,
    pub(crate) scales: Vec<Vec<f64>>,
    pub(crate) betas: Vec<f64>,
}

/// Numbers of a batch.
pub(crate) struct Batch {
    pub(crate) samples: usize,
    pub(crate) activations: Vec<Vec<f64>>,
    pub(crate) derivatives: Vec<Option<Vec<f64>>>,
    pub(crate) input_derivative: Option<Vec<f64>>,
}

pub(crate) fn len(map: [usize; 3]) -> usize {
    map.iter().product()
}

/// Random shapes of a chain whose maps stay small.
pub(crate) fn random_shapes(random: &mut Random, layers: usize, limit: usize) -> Vec<Geometry> {
    'again: loop {
        let mut shapes = Vec::new();
        let mut input = [random.int(1, 4), random.int(1, 4), random.int(1, 3)];
        for _ in 0..layers {
            let kind = if random.int(0, 3) == 0 { LayerKind::Conv } else { LayerKind::Deconv };
            let kernel = [random.int(1, 6), random.int(1, 6)];
            let stride = [random.int(1, 3), random.int(1, 3)];
            let padding = [random.int(0, kernel[0] / 2), random.int(0, kernel[1] / 2)];
            let mut output = [0, 0, random.int(1, 3)];
            for axis in 0..2 {
                let (k, s, p, n) = (kernel[axis], stride[axis], padding[axis], input[axis]);
                let size = match kind {
                    LayerKind::Deconv => ((n - 1) * s + k + random.int(0, s - 1)) as isize - 2 * p as isize,
                    LayerKind::Conv if n + 2 * p < k => 0,
                    LayerKind::Conv => ((n + 2 * p - k) / s + 1) as isize,
                };
                if size < 1 || size as usize > limit {
                    continue 'again;
                }
                output[axis] = size as usize;
            }
            shapes.push(Geometry { kind, kernel, stride, padding, input, output });
            input = output;
        }
        return shapes;
    }
}

impl Net {
    pub(crate) fn random(random: &mut Random, shapes: Vec<Geometry>, graph: bool) -> Self {
        let weights = shapes.iter().map(|shape| random.reals(shape.weights())).collect();
        let scales = shapes
            .iter()
            .map(|s| {
                let constant = 0.5 + 0.4 * random.real();
                let map = s.output[0] * s.output[1];
                (0..map).map(|_| if graph { 1.0 + 0.5 * random.real() } else { constant }).collect()
            })
            .collect();
        let betas = shapes.iter().map(|_| if random.int(0, 4) == 0 { 0.0 } else { random.real() }).collect();
        Self { shapes, weights, scales, betas }
    }

    pub(crate) fn batch(&self, random: &mut Random, samples: usize, smooth: bool) -> Batch {
        let mut factor = |len: usize| -> Vec<f64> {
            let values = random.reals(len);
            if smooth { values } else { values.iter().map(|&v| f64::from(u8::from(v > 0.0))).collect() }
        };
        let input_derivative = smooth.then(|| factor(samples * len(self.shapes[0].input)));
        let last = self.shapes.len() - 1;
        let derivatives = self.shapes.iter().enumerate();
        let derivatives =
            derivatives.map(|(i, s)| (i < last || smooth).then(|| factor(samples * len(s.output)))).collect();
        let activations = self.shapes.iter().map(|s| random.reals(samples * len(s.input))).collect();
        Batch { samples, activations, derivatives, input_derivative }
    }

    /// Calls `edge(position of the output, tap, position of the input)` for all edges of a layer.
    pub(crate) fn for_each_edge(&self, layer: usize, mut edge: impl FnMut(usize, usize, usize)) {
        let Geometry { kind, kernel, stride, padding, input, output } = self.shapes[layer];
        for uy in 0..output[0] {
            for ux in 0..output[1] {
                for qy in 0..input[0] {
                    for qx in 0..input[1] {
                        let tap = |axis: usize, u: usize, q: usize| {
                            let (s, p) = (stride[axis] as isize, padding[axis] as isize);
                            let k = match kind {
                                LayerKind::Deconv => u as isize - s * q as isize + p,
                                LayerKind::Conv => q as isize - s * u as isize + p,
                            };
                            usize::try_from(k).ok().filter(|&k| k < kernel[axis])
                        };
                        if let (Some(ky), Some(kx)) = (tap(0, uy, qy), tap(1, ux, qx)) {
                            edge(uy * output[1] + ux, ky * kernel[1] + kx, qy * input[1] + qx);
                        }
                    }
                }
            }
        }
    }

    pub(crate) fn weight_index(&self, layer: usize, tap: usize, i: usize, o: usize) -> usize {
        let [ci, co] = [self.shapes[layer].input[2], self.shapes[layer].output[2]];
        match self.shapes[layer].kind {
            LayerKind::Deconv => (tap * co + o) * ci + i,
            LayerKind::Conv => (tap * ci + i) * co + o,
        }
    }

    /// Gradients of one output of one sample.
    pub(crate) fn gradients(&self, batch: &Batch, sample: usize, output: Output) -> Gradients {
        let last = self.shapes.len() - 1;
        let [_, w, c] = self.shapes[last].output;
        let mut cotangent = vec![0.0; len(self.shapes[last].output)];
        let at = (output.y * w + output.x) * c + output.channel;
        cotangent[at] = 1.0;
        let (mut by_weights, mut by_bias) = (vec![Vec::new(); last + 1], vec![Vec::new(); last + 1]);
        for layer in (0..=last).rev() {
            let shape = &self.shapes[layer];
            let ([ci, co], size) = ([shape.input[2], shape.output[2]], len(shape.input));
            if let Some(derivative) = &batch.derivatives[layer] {
                multiply(&mut cotangent, &derivative[sample * len(shape.output)..]);
            }
            let mut bias = vec![0.0; co];
            for position in cotangent.chunks(co) {
                for (sum, value) in bias.iter_mut().zip(position) {
                    *sum += self.betas[layer] * value;
                }
            }
            let (mut weights, mut below) = (vec![0.0; shape.weights()], vec![0.0; size]);
            let activations = &batch.activations[layer][sample * size..(sample + 1) * size];
            self.for_each_edge(layer, |u, tap, q| {
                for o in 0..co {
                    let value = self.scales[layer][u] * cotangent[u * co + o];
                    for i in 0..ci {
                        let index = self.weight_index(layer, tap, i, o);
                        weights[index] += value * activations[q * ci + i];
                        below[q * ci + i] += value * self.weights[layer][index];
                    }
                }
            });
            (by_weights[layer], by_bias[layer], cotangent) = (weights, bias, below);
        }
        if let Some(derivative) = &batch.input_derivative {
            multiply(&mut cotangent, &derivative[sample * len(self.shapes[0].input)..]);
        }
        (by_weights, by_bias, cotangent)
    }
}

fn multiply(values: &mut [f64], factors: &[f64]) {
    for (value, factor) in values.iter_mut().zip(factors) {
        *value *= factor;
    }
}

/// Kernels of all rows by explicit gradients: `[part][row, row']`, parts: weights by layer, biases by layer, input.
pub(crate) struct Brute {
    pub(crate) weights: Vec<Vec<f64>>,
    pub(crate) bias: Vec<Vec<f64>>,
    pub(crate) input: Vec<f64>,
    pub(crate) columns: usize,
}

impl Brute {
    pub(crate) fn new(net: &Net, sides: [(&Batch, &[Output]); 2]) -> Self {
        let gradients = sides.map(|(batch, outputs)| {
            let rows = (0..batch.samples).flat_map(|n| outputs.iter().map(move |&o| (n, o)));
            rows.map(|(n, o)| net.gradients(batch, n, o)).collect::<Vec<_>>()
        });
        let kernel = |pick: &dyn Fn(&Gradients) -> &Vec<f64>| -> Vec<f64> {
            let rows = gradients[0].iter();
            rows.flat_map(|a| gradients[1].iter().map(move |b| dot(pick(a), pick(b)))).collect()
        };
        let layers = 0..net.shapes.len();
        let weights = layers.clone().map(|l| kernel(&|g| &g.0[l])).collect();
        let bias = layers.map(|l| kernel(&|g| &g.1[l])).collect();
        Self { weights, bias, input: kernel(&|g| &g.2), columns: gradients[1].len() }
    }

    /// `[N1, N2, O]` of a part.
    pub(crate) fn diagonal(&self, part: &[f64], samples: [usize; 2], outputs: usize) -> Vec<f64> {
        let mut diagonal = Vec::new();
        for n in 0..samples[0] {
            for m in 0..samples[1] {
                diagonal.extend((0..outputs).map(|o| part[(n * outputs + o) * self.columns + m * outputs + o]));
            }
        }
        diagonal
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Owner of a chain's numbers in one precision.
pub(crate) struct Numbers<T> {
    pub(crate) weights: Vec<Vec<T>>,
}

impl<T: Real> Numbers<T> {
    pub(crate) fn new(net: &Net) -> Self {
        Self { weights: net.weights.iter().map(|values| convert(values)).collect() }
    }

    pub(crate) fn chain(&self, net: &Net, batch: &Batch) -> Chain<'_, T> {
        let layers = (0..net.shapes.len()).map(|l| ConeLayer {
            geometry: net.shapes[l],
            weights: &self.weights[l],
            scale: convert(&net.scales[l]),
            bias_scale: net.betas[l],
            activations: Cow::Owned(convert(&batch.activations[l])),
            derivative: batch.derivatives[l].as_ref().map(|values| Cow::Owned(convert(values))),
        });
        let derivative = batch.input_derivative.as_ref().map(|values| Cow::Owned(convert(values)));
        Chain::new(batch.samples, layers.collect(), derivative).expect("a chain")
    }
}

pub(crate) fn convert<T: Real>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&value| T::of(value)).collect()
}

pub(crate) fn all_outputs(shapes: &[Geometry]) -> Vec<Output> {
    let [h, w, c] = shapes[shapes.len() - 1].output;
    (0..h * w * c).map(|i| Output { y: i / (w * c), x: i / c % w, channel: i % c }).collect()
}

/// A random selection in a random order.
pub(crate) fn random_outputs(random: &mut Random, shapes: &[Geometry], count: usize) -> Vec<Output> {
    let all = all_outputs(shapes);
    (0..count).map(|_| all[random.int(0, all.len() - 1)]).collect()
}

/// Checks values against expected ones, relative to the largest of them (or to `floor`).
pub(crate) fn close<T: Real>(found: &[T], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1e-3_f64, |largest, value| largest.max(value.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found.double() - expected).abs();
        assert!(error <= tolerance * largest, "{what}[{i}]: {found:?} is not {expected} ({largest})");
    }
}
