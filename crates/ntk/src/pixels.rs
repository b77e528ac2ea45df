//! Structured computation of kernels for networks that end with convolutions, pixel by pixel.
//!
//! The cotangent of one pixel is pulled back on its cone ([`cones`](crate::cones)) instead of on whole maps. On a CPU this is a
//! hundred times faster for the kernel of a generator. A GPU is faster with whole maps and uses them.

use std::ops::Range;

use burn::tensor::{DType, Element, Tensor, TensorData};
use fintan_config::Shape;
use fintan_net::{ConvLayer, ConvTail, Lowering, TailInput};

use crate::cones::{
    Chain, ConeCotangents, ConeLayer, ConePlan, Geometry, InputTerm, LayerKind, Layout, Output, PartBuffers, Real,
    Target, diagonal, full_at, traced,
};
use crate::kernel::{Block, Entries, KernelParts, KernelValues};
use crate::problem::KernelRequest;
use crate::products::{Batch, By, products};
use crate::structured::add_sites;

/// The convolutions at the end of the network for both sides, or `None` if no layer is on cones.
pub(crate) fn tails(problem: &KernelRequest) -> Option<[ConvTail; 2]> {
    if !have_cones(problem) {
        return None;
    }
    let tail = |side: usize| problem.network.conv_tail(problem.tape(side), problem.on_cones());
    Some([tail(0)?, tail(1)?])
}

/// Whether cotangents can be pulled back on cones. This is impossible if samples are coupled, because a batch norm spreads a
/// cotangent over the whole batch.
pub(crate) fn have_cones(problem: &KernelRequest) -> bool {
    !problem.is_coupled() && problem.network.lowering() == Lowering::Host && problem.network.has_conv_tail()
}

/// The cones of the outputs in `range`.
pub(crate) fn plan_of(problem: &KernelRequest, tail: &ConvTail, range: &Range<usize>) -> ConePlan {
    let geometries: Vec<Geometry> = tail.layers.iter().map(geometry).collect();
    ConePlan::new(&geometries, &outputs(problem, tail, range)).expect("a network's layers fit each other")
}

/// The block between some outputs of rows and some outputs of columns, computed on cones.
pub(crate) fn on_cones(problem: &KernelRequest, tails: &[ConvTail; 2], outputs: &[Range<usize>; 2]) -> Block {
    if problem.sides[0].x.dtype() == DType::F64 {
        Pixels::<f64>::new(problem, tails, outputs).block()
    } else {
        Pixels::<f32>::new(problem, tails, outputs).block()
    }
}

/// Whether [`into_kernel`] can compute this kernel.
pub(crate) fn has_place(problem: &KernelRequest, tail: &ConvTail) -> bool {
    // The layers below the cones add complete blocks, which need memory of their own.
    problem.entries == Entries::Full && !matches!(tail.below, TailInput::Layers)
}

/// Adds a block of a full kernel directly into the kernel. A separate block would take as much memory again.
///
/// For a symmetric kernel, a block off the diagonal is not mirrored.
pub(crate) fn into_kernel(
    problem: &KernelRequest,
    tails: &[ConvTail; 2],
    outputs: &[Range<usize>; 2],
    kernel: &mut KernelParts,
) {
    if problem.sides[0].x.dtype() == DType::F64 {
        Pixels::<f64>::new(problem, tails, outputs).place(kernel);
    } else {
        Pixels::<f32>::new(problem, tails, outputs).place(kernel);
    }
}

struct Pixels<'p, T> {
    problem: &'p KernelRequest,
    tails: &'p [ConvTail; 2],
    outputs: &'p [Range<usize>; 2],
    symmetric: bool,
    weights: Vec<Vec<T>>,
    plans: [ConePlan; 2],
}

impl<'p, T: Real + Element> Pixels<'p, T> {
    fn new(problem: &'p KernelRequest, tails: &'p [ConvTail; 2], outputs: &'p [Range<usize>; 2]) -> Self {
        Self {
            problem,
            tails,
            outputs,
            symmetric: problem.is_symmetric() && outputs[0] == outputs[1],
            weights: tails[0].layers.iter().map(|layer| host(layer.weights.clone())).collect(),
            plans: [0, 1].map(|side| plan_of(problem, &tails[0], &outputs[side])),
        }
    }

    fn chain(&self, side: usize) -> Chain<'_, T> {
        let tail = &self.tails[side];
        let layers = tail.layers.iter().zip(&self.weights);
        let layers = layers.map(|(layer, weights)| ConeLayer {
            geometry: geometry(layer),
            weights,
            scale: layer.scale.iter().map(|&s| T::of(s)).collect(),
            bias_scale: layer.bias_scale,
            activations: host(layer.x.clone()).into(),
            derivative: layer.derivative.clone().map(|d| host(d).into()),
        });
        let derivative = tail.derivative.clone().map(|d| host(d).into());
        Chain::new(self.problem.side(side).n(), layers.collect(), derivative).expect("a tape fits its network")
    }

    fn chains(&self) -> (Chain<'_, T>, Option<Chain<'_, T>>) {
        (self.chain(0), (!self.symmetric).then(|| self.chain(1)))
    }

    fn block(&self) -> Block {
        let (first, second) = self.chains();
        match self.problem.entries {
            Entries::Full => self.full(&first, second.as_ref()),
            entries @ (Entries::Traced | Entries::Diagonal) => self.sums(&first, second.as_ref(), entries),
        }
    }

    /// Computes blocks of traced and diagonal kernels.
    fn sums(&self, first: &Chain<T>, second: Option<&Chain<T>>, entries: Entries) -> Block {
        let mut block = Block::zeros(self.problem, self.outputs);
        let (plan, [n1, n2]) = (&self.plans[0], self.problem.samples());
        let sums = if entries == Entries::Traced { traced(plan, first, second) } else { diagonal(plan, first, second) };
        // Reorders [N1, N2, outputs] to [outputs, N1, N2].
        let outputs = self.outputs[0].len();
        let ordered = |values: Vec<f64>| match entries {
            Entries::Diagonal => {
                (0..outputs).flat_map(|o| (0..n1 * n2).map(move |pair| pair * outputs + o)).map(|i| values[i]).collect()
            }
            Entries::Full | Entries::Traced => values,
        };
        for (layer, (weights, biases)) in self.tails[0].layers.iter().zip(sums.weights.into_iter().zip(sums.bias)) {
            block.add(layer.parameter, &ordered(weights));
            block.add(layer.parameter + 1, &ordered(biases));
        }
        match &self.tails[0].below {
            TailInput::Nothing => {}
            TailInput::Dense { parameter, bias_scale, .. } => {
                let (mut weights, mut biases) = (ordered(sums.input.clone()), ordered(sums.input));
                let factor = self.factor();
                for (i, value) in weights.iter_mut().enumerate() {
                    *value *= factor[i % (n1 * n2)];
                }
                for value in &mut biases {
                    *value *= bias_scale * bias_scale;
                }
                block.add(*parameter, &weights);
                block.add(parameter + 1, &biases);
            }
            TailInput::Layers => {
                let left = ConeCotangents::new(plan, first);
                let right = second.map(|chain| ConeCotangents::new(plan, chain));
                self.go_on(&left, right.as_ref(), &mut block);
            }
        }
        block
    }

    fn full(&self, first: &Chain<T>, second: Option<&Chain<T>>) -> Block {
        let (left, right) = self.cotangents(first, second);
        let mut block = Block::zeros(self.problem, self.outputs);
        let (rows, columns) = (self.outputs[0].len(), self.outputs[1].len());
        let layout = Layout::matrix([rows, columns], self.problem.samples()[1]);
        self.add_full(&left, right.as_ref(), layout, &mut block.parts.iter_mut().collect::<Vec<_>>());
        if matches!(self.tails[0].below, TailInput::Layers) {
            self.go_on(&left, right.as_ref(), &mut block);
        }
        block
    }

    /// Computes [`into_kernel`] for one floating-point type.
    fn place(&self, kernel: &mut KernelParts) {
        let (first, second) = self.chains();
        let (left, right) = self.cotangents(&first, second.as_ref());
        let layout = Layout::pairs(kernel.outputs, [self.outputs[0].start, self.outputs[1].start], kernel.samples[1]);
        let mut parts: Vec<_> = kernel.parts.iter_mut().map(|part| &mut part.values).collect();
        self.add_full(&left, right.as_ref(), layout, &mut parts);
    }

    fn cotangents<'c>(
        &'c self,
        first: &'c Chain<T>,
        second: Option<&'c Chain<T>>,
    ) -> (ConeCotangents<'c, T>, Option<ConeCotangents<'c, T>>) {
        let pull = match &self.tails[0].below {
            TailInput::Nothing => ConeCotangents::of_layers,
            TailInput::Dense { .. } | TailInput::Layers => ConeCotangents::new,
        };
        (pull(&self.plans[0], first), second.map(|chain| pull(&self.plans[1], chain)))
    }

    /// Adds the parts of a full kernel: of the layers on cones, and of a dense layer below them.
    fn add_full(
        &self,
        left: &ConeCotangents<T>,
        right: Option<&ConeCotangents<T>>,
        layout: Layout,
        parts: &mut [&mut KernelValues],
    ) {
        let factor = self.factor();
        let input = match &self.tails[0].below {
            TailInput::Dense { bias_scale, .. } => Some(InputTerm { factor: &factor, bias: bias_scale * bias_scale }),
            TailInput::Nothing | TailInput::Layers => None,
        };
        if let [whole] = parts {
            return full_at(layout, left, right, input, Target::Sum(whole.slice_mut()));
        }
        let mut slots: Vec<Option<&mut [T]>> = parts.iter_mut().map(|part| Some(part.slice_mut())).collect();
        let mut pair = |parameter: usize| {
            [0, 1].map(|i| slots[parameter + i].take().expect("every parameter belongs to one layer"))
        };
        let below = match &self.tails[0].below {
            TailInput::Dense { parameter, .. } => Some(pair(*parameter)),
            TailInput::Nothing | TailInput::Layers => None,
        };
        let layers = self.tails[0].layers.iter().map(|layer| pair(layer.parameter)).collect();
        full_at(layout, left, right, input, Target::Parts(PartBuffers { layers, input: below }));
    }

    /// Pulls cotangents back through the layers below the cones, on whole maps.
    fn go_on(&self, left: &ConeCotangents<T>, right: Option<&ConeCotangents<T>>, block: &mut Block) {
        let problem = self.problem;
        add_sites(problem, right.is_none(), block, |side, visit| {
            let Shape { channels, height, width } = self.tails[side].layers[0].input;
            let cotangents = if side == 0 { left } else { right.unwrap_or(left) };
            let (n, outputs) = (problem.side(side).n(), cotangents.plan().len());
            let x = &problem.side(side).x;
            let maps = TensorData::new(cotangents.scatter(0..outputs), [n, outputs, height * width * channels]);
            let maps: Tensor<3> = Tensor::from_data(maps, (&x.device(), x.dtype()));
            let dy = maps.permute([1, 0, 2]).reshape([outputs * n, height, width, channels]);
            problem.network.visit_below(problem.tape(side), self.tails[side].layers.len(), dy, visit);
        });
    }

    /// `scale² ⟨x_n, x_n'⟩` for the inputs x of the dense layer below, `[N1, N2]`.
    fn factor(&self) -> Vec<f64> {
        let inputs = |side: usize| match &self.tails[side].below {
            TailInput::Dense { x, scale, .. } => {
                let [n, _, _, features] = x.dims();
                Some((x.clone().reshape([1, n, features]), *scale))
            }
            TailInput::Nothing | TailInput::Layers => None,
        };
        let (Some((x, scale)), Some((y, _))) = (inputs(0), inputs(1)) else { return Vec::new() };
        products(&x, Some(&y), Batch::Kept, By::Host).into_iter().map(|v| scale * scale * v).collect()
    }
}

/// The values of a tensor in the precision of the tensor.
fn host<T: Real + Element, const D: usize>(x: Tensor<D>) -> Vec<T> {
    match x.into_data().try_into_vec::<T>() {
        Ok(values) => values,
        Err(_) => unreachable!("the type was chosen by the tensor's"),
    }
}

fn geometry(layer: &ConvLayer) -> Geometry {
    let hwc = |shape: Shape| [shape.height, shape.width, shape.channels];
    Geometry {
        kind: if layer.transposed { LayerKind::Deconv } else { LayerKind::Conv },
        kernel: layer.convolution.kernel.0,
        stride: layer.convolution.stride.0,
        padding: layer.convolution.padding.0,
        input: hwc(layer.input),
        output: hwc(layer.output),
    }
}

/// The pixels of the outputs in `range`. A reshape at the end keeps the channel, row, column order of its input.
fn outputs(problem: &KernelRequest, tail: &ConvTail, range: &Range<usize>) -> Vec<Output> {
    let Shape { height, width, .. } = tail.layers.last().expect("an tail has a convolution").output;
    let pixel = |&o: &usize| Output { y: o / width % height, x: o % width, channel: o / (height * width) };
    problem.outputs[range.clone()].iter().map(pixel).collect()
}
