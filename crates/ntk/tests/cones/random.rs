//! Random chains against explicit gradients.

use super::support::{Batch, Brute, Net, Numbers, Random, all_outputs, close, len, random_outputs, random_shapes};
use fintan_ntk::cones::{
    Chain, ConeCotangents, ConePlan, ConeSums, InputTerm, Output, PartBuffers, Real, Target, diagonal, full, traced,
};

struct Case {
    net: Net,
    outputs: Vec<Output>,
    other_outputs: Vec<Output>,
    batches: [Batch; 2],
}

fn case(seed: u64) -> Case {
    let mut random = Random(seed * 7919 + 1);
    let (layers, graph, smooth) = (random.int(1, 3), random.int(0, 1) == 1, random.int(0, 1) == 1);
    let shapes = random_shapes(&mut random, layers, 9);
    let net = Net::random(&mut random, shapes, graph);
    let all = all_outputs(&net.shapes);
    let whole = all.len() <= 100 && random.int(0, 1) == 0;
    let outputs = if whole { all } else { random_outputs(&mut random, &net.shapes, 12) };
    let other_outputs = random_outputs(&mut random, &net.shapes, 7);
    let samples = [random.int(1, 4), random.int(1, 4)];
    let batches = samples.map(|n| net.batch(&mut random, n, smooth));
    Case { net, outputs, other_outputs, batches }
}

fn check_sums(sums: &ConeSums, brute: &Brute, expected: impl Fn(&[f64]) -> Vec<f64>, tolerance: f64, what: &str) {
    for (layer, part) in sums.weights.iter().enumerate() {
        close(part, &expected(&brute.weights[layer]), tolerance, &format!("{what}: weights {layer}"));
    }
    for (layer, part) in sums.bias.iter().enumerate() {
        close(part, &expected(&brute.bias[layer]), tolerance, &format!("{what}: bias {layer}"));
    }
    close(&sums.input, &expected(&brute.input), tolerance, &format!("{what}: input"));
}

fn sums_agree<T: Real>(seed: u64, tolerance: f64) {
    let Case { net, outputs, batches, .. } = case(seed);
    let numbers = Numbers::<T>::new(&net);
    let chains = [numbers.chain(&net, &batches[0]), numbers.chain(&net, &batches[1])];
    let plan = ConePlan::new(&net.shapes, &outputs).expect("a plan");
    for second in [None, Some(&chains[1])] {
        let other = if second.is_some() { &batches[1] } else { &batches[0] };
        let brute = Brute::new(&net, [(&batches[0], &outputs), (other, &outputs)]);
        let samples = [batches[0].samples, other.samples];
        let each = |part: &[f64]| brute.diagonal(part, samples, outputs.len());
        let what = format!("seed {seed}, symmetric {}", second.is_none());
        check_sums(&diagonal(&plan, &chains[0], second), &brute, each, tolerance, &format!("diagonal, {what}"));
        let sum = |part: &[f64]| each(part).chunks(outputs.len()).map(|outputs| outputs.iter().sum()).collect();
        check_sums(&traced(&plan, &chains[0], second), &brute, sum, tolerance, &format!("traced, {what}"));
    }
}

/// Sum, parts by layer and parts by what lies below.
type Parts<T> = (Vec<T>, Vec<[Vec<T>; 2]>, [Vec<T>; 2]);

/// Sum and parts of a full kernel, starting from `start` in every entry.
fn full_parts<T: Real>(
    first: &ConeCotangents<'_, T>,
    second: Option<&ConeCotangents<'_, T>>,
    len: usize,
    term: Option<InputTerm<'_>>,
    start: f64,
) -> Parts<T> {
    let layers = first.plan().layers().len();
    let new = || vec![T::of(start); len];
    let (mut sum, mut input) = (new(), [new(), new()]);
    let mut parts: Vec<_> = (0..layers).map(|_| [new(), new()]).collect();
    full(first, second, term, Target::Sum(&mut sum));
    let [weights, bias] = &mut input;
    let buffers = PartBuffers {
        layers: parts.iter_mut().map(|[weights, bias]| [&mut weights[..], &mut bias[..]]).collect(),
        input: Some([&mut weights[..], &mut bias[..]]),
    };
    full(first, second, term, Target::Parts(buffers));
    (sum, parts, input)
}

fn full_agrees<T: Real>(seed: u64, tolerance: f64) {
    let Case { net, outputs, other_outputs, batches } = case(seed);
    let numbers = Numbers::<T>::new(&net);
    let chains = [numbers.chain(&net, &batches[0]), numbers.chain(&net, &batches[1])];
    let plans = [
        ConePlan::new(&net.shapes, &outputs).expect("a plan"),
        ConePlan::new(&net.shapes, &other_outputs).expect("a plan"),
    ];
    let sides = [ConeCotangents::new(&plans[0], &chains[0]), ConeCotangents::new(&plans[1], &chains[1])];
    for symmetric in [true, false] {
        let other = if symmetric { (&batches[0], &outputs[..]) } else { (&batches[1], &other_outputs[..]) };
        let brute = Brute::new(&net, [(&batches[0], &outputs), other]);
        let (n1, n2) = (batches[0].samples, other.0.samples);
        // Symmetric, as the Gram matrix of a batch with itself is.
        let factor: Vec<f64> = (0..n1 * n2).map(|i| 1.0 + 0.1 * ((i / n2) * (i % n2)) as f64).collect();
        let term = InputTerm { factor: &factor, bias: 0.25 };
        let second = (!symmetric).then_some(&sides[1]);
        let start = 0.5;
        let (sum, parts, input) = full_parts(&sides[0], second, brute.input.len(), Some(term), start);
        let what = |part: &str| format!("full, seed {seed}, symmetric {symmetric}: {part}");
        let started = |part: &[f64]| part.iter().map(|value| value + start).collect::<Vec<_>>();
        for (layer, [weights, bias]) in parts.iter().enumerate() {
            close(weights, &started(&brute.weights[layer]), tolerance, &what(&format!("weights {layer}")));
            close(bias, &started(&brute.bias[layer]), tolerance, &what(&format!("bias {layer}")));
        }
        let pair = |i: usize| (i / brute.columns / outputs.len()) * n2 + i % brute.columns / other.1.len();
        let below: Vec<_> = brute.input.iter().enumerate().map(|(i, value)| value * factor[pair(i)]).collect();
        let below_bias: Vec<_> = brute.input.iter().map(|value| value * term.bias).collect();
        close(&input[0], &started(&below), tolerance, &what("input"));
        close(&input[1], &started(&below_bias), tolerance, &what("input bias"));
        let mut expected: Vec<_> = below.iter().zip(&below_bias).map(|(a, b)| a + b).collect();
        for part in brute.weights.iter().chain(&brute.bias) {
            expected.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        close(&sum, &started(&expected), tolerance, &what("sum"));
    }
}

#[test]
fn windows_are_the_dense_pullback() {
    for seed in 0..200 {
        let Case { net, outputs, batches: [batch, _], .. } = case(seed);
        let numbers = Numbers::<f64>::new(&net);
        let chain = numbers.chain(&net, &batch);
        let plan = ConePlan::new(&net.shapes, &outputs).expect("a plan");
        let range = outputs.len() / 3..outputs.len();
        let found = ConeCotangents::new(&plan, &chain).scatter(range.clone());
        let rows = (0..batch.samples).flat_map(|n| range.clone().map(move |o| (n, o)));
        let expected: Vec<f64> = rows.flat_map(|(n, o)| net.gradients(&batch, n, outputs[o]).2).collect();
        assert_eq!(found.len(), batch.samples * range.len() * len(net.shapes[0].input));
        close(&found, &expected, 1e-12, &format!("seed {seed}"));
    }
}

#[test]
fn traced_and_diagonal_are_sums_of_gradients() {
    (0..300).for_each(|seed| sums_agree::<f64>(seed, 1e-12));
    (0..60).for_each(|seed| sums_agree::<f32>(seed, 1e-5));
}

#[test]
fn full_is_the_gram_matrix_of_gradients() {
    (0..400).for_each(|seed| full_agrees::<f64>(seed, 1e-12));
    (0..60).for_each(|seed| full_agrees::<f32>(seed, 1e-5));
}

#[test]
fn blocks_make_the_whole_kernel() {
    for seed in 0..40 {
        let Case { net, batches: [batch, _], .. } = case(seed);
        let numbers = Numbers::<f64>::new(&net);
        let chain = numbers.chain(&net, &batch);
        let all = all_outputs(&net.shapes);
        let whole = ConePlan::whole(&net.shapes).expect("a plan");
        let cotangents = ConeCotangents::new(&whole, &chain);
        let row = batch.samples * all.len();
        let mut kernel = vec![0.0; row * row];
        full(&cotangents, None, None, Target::Sum(&mut kernel));
        let (a, b) = (all.len() / 3, all.len() - all.len() / 4);
        let plans =
            [&all[..a.max(1)], &all[a.min(b)..b.max(1)]].map(|part| ConePlan::new(&net.shapes, part).expect("a plan"));
        let sides = [ConeCotangents::new(&plans[0], &chain), ConeCotangents::new(&plans[1], &chain)];
        let columns = batch.samples * plans[1].len();
        let mut block = vec![0.0; batch.samples * plans[0].len() * columns];
        full(&sides[0], Some(&sides[1]), None, Target::Sum(&mut block));
        let expected: Vec<f64> = (0..block.len())
            .map(|i| {
                let (r, c) = (i / columns, i % columns);
                let place = |at: usize, outputs: usize, first: usize| at / outputs * all.len() + first + at % outputs;
                kernel[place(r, plans[0].len(), 0) * row + place(c, plans[1].len(), a.min(b))]
            })
            .collect();
        close(&block, &expected, 1e-12, &format!("seed {seed}"));
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let case = {
        let mut random = Random(5);
        let shapes = random_shapes(&mut random, 3, 24);
        let net = Net::random(&mut random, shapes, true);
        let batches = [3, 2].map(|n| net.batch(&mut random, n, true));
        (net, batches)
    };
    let (net, [batch, _]) = case;
    let numbers = Numbers::<f32>::new(&net);
    let chain: Chain<'_, f32> = numbers.chain(&net, &batch);
    let plan = ConePlan::whole(&net.shapes).expect("a plan");
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| {
            let rows = batch.samples * plan.len();
            let mut kernel = vec![0.0_f32; rows * rows];
            let factor = vec![1.0; batch.samples * batch.samples];
            let term = InputTerm { factor: &factor, bias: 0.5 };
            full(&ConeCotangents::new(&plan, &chain), None, Some(term), Target::Sum(&mut kernel));
            (kernel, traced(&plan, &chain, None), diagonal(&plan, &chain, None))
        })
    };
    assert_eq!(run(1), run(2));
    assert_eq!(run(2), run(3));
}

#[test]
fn single_precision_is_near_double() {
    for seed in 0..20 {
        let Case { net, outputs, batches: [batch, _], .. } = case(seed);
        let plan = ConePlan::new(&net.shapes, &outputs).expect("a plan");
        let (double, single) = (Numbers::<f64>::new(&net), Numbers::<f32>::new(&net));
        let (double, single) = (double.chain(&net, &batch), single.chain(&net, &batch));
        close(&traced(&plan, &single, None).total(), &traced(&plan, &double, None).total(), 1e-5, "traced");
        let rows = batch.samples * outputs.len();
        let (mut a, mut b) = (vec![0.0_f64; rows * rows], vec![0.0_f32; rows * rows]);
        full(&ConeCotangents::new(&plan, &double), None, None, Target::Sum(&mut a));
        full(&ConeCotangents::new(&plan, &single), None, None, Target::Sum(&mut b));
        close(&b, &a, 1e-5, "full");
    }
}

#[test]
fn no_output_is_an_empty_kernel() {
    let Case { net, batches: [batch, _], .. } = case(3);
    let numbers = Numbers::<f32>::new(&net);
    let chain = numbers.chain(&net, &batch);
    let plan = ConePlan::new(&net.shapes, &[]).expect("a plan");
    let cotangents = ConeCotangents::new(&plan, &chain);
    full(&cotangents, None, None, Target::Sum(&mut []));
    assert!(cotangents.scatter(0..0).is_empty());
    assert!(traced(&plan, &chain, None).total().iter().all(|&value| value == 0.0));
    assert!(diagonal(&plan, &chain, None).input.is_empty());
}
