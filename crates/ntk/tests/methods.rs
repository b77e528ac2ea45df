//! The three methods against one another, over networks nobody chose.

use fintan_config::Shape;
use fintan_net::Mode;
use fintan_ntk::{Entries, KernelParts, KernelPlan, KernelRequest, Method, TileSize, Tiles};

use crate::support::{ENTRIES, METHODS, backends, compute, difference, far, list, network, problem, random_network};
use fintan_testing::networks::{normal, rng};

#[test]
fn methods_agree_within_and_between_sets() {
    for seed in 0..40 {
        for placement in backends() {
            let (network, [x1, x2]) = random_network(seed, &placement);
            for entries in ENTRIES {
                for x2 in [None, Some(&x2)] {
                    let problem = problem(&network, &x1, x2, entries);
                    let [oracle, others @ ..] = [2, 0, 1].map(|i: usize| compute(METHODS[i], &problem));
                    for other in others {
                        let off = difference(&other, &oracle);
                        let what = format!("seed {seed}, {entries:?}, {}", network.architecture().nodes.len());
                        assert!(off < 1e-10, "{what}: {off:e}\n{:?}", network.architecture());
                    }
                }
            }
        }
    }
}

/// Running statistics uncouple the samples of a batch.
#[test]
fn methods_agree_in_evaluation_mode() {
    for seed in 0..12 {
        let placement = &backends()[0];
        let (network, [x1, _]) = random_network(seed, placement);
        let problem =
            KernelRequest::new(network, x1, None, Mode::Eval, Entries::Full, Vec::new()).expect("a sound problem");
        assert!(!problem.is_coupled());
        let off = difference(&compute(METHODS[0], &problem), &compute(METHODS[2], &problem));
        assert!(off < 1e-10, "seed {seed}: {off:e}");
    }
}

/// A selection of outputs gives the entries of the whole kernel, in the order asked for.
#[test]
fn selected_outputs_are_entries_of_the_whole() {
    let mut compared = 0;
    for seed in 0..20 {
        let placement = &backends()[0];
        let (network, [x1, x2]) = random_network(seed, placement);
        let count = network.architecture().output().len();
        if count < 3 {
            continue;
        }
        compared += 1;
        let chosen = vec![count - 1, 0, count / 2];
        for method in METHODS {
            let make = |outputs: Vec<usize>| {
                KernelRequest::new(network.clone(), x1.clone(), Some(x2.clone()), Mode::Train, Entries::Full, outputs)
                    .expect("a sound problem")
            };
            let (whole, some) = (compute(method, &make(Vec::new())), compute(method, &make(chosen.clone())));
            let (all, few) = (list(&whole.total()), list(&some.total()));
            for pair in 0..6 {
                for (i, &o) in chosen.iter().enumerate() {
                    for (j, &p) in chosen.iter().enumerate() {
                        let (want, got) = (all[(pair * count + o) * count + p], few[(pair * 3 + i) * 3 + j]);
                        assert!((want - got).abs() < 1e-11 * (1.0 + want.abs()), "seed {seed}, {method:?}");
                    }
                }
            }
        }
    }
    assert!(compared >= 10, "only {compared} of 20 networks have three outputs or more");
}

/// Tiles put together are the kernel, however it is cut: by samples, by outputs, by both, by any method, samples coupled or not.
#[test]
fn kernels_do_not_depend_on_tiles() {
    let mut coupled = 0;
    for seed in 0..10 {
        let placement = &backends()[(seed % 2) as usize];
        let (network, [x1, x2]) = random_network(seed, placement);
        let count = network.architecture().output().len();
        for (entries, method) in ENTRIES.into_iter().flat_map(|entries| METHODS.map(|method| (entries, method))) {
            for x2 in [None, Some(&x2)] {
                let problem = problem(&network, &x1, x2, entries);
                coupled += usize::from(problem.is_coupled());
                let whole = compute(method, &problem);
                for (samples, outputs) in [(None, Some(2)), (Some(1), None), (Some(2), Some(2)), (Some(2), None)] {
                    let size = TileSize { samples, outputs: outputs.map(|n: usize| n.min(count)) };
                    let plan = KernelPlan::in_tiles(&problem, Some(method), f64::INFINITY, size).expect("no bound");
                    let cut = samples.is_some() || count > 2;
                    assert_eq!(plan.tiles.len() > 1, cut, "seed {seed}, {size:?}");
                    let off = difference(&KernelParts::compute(&problem, &plan), &whole);
                    assert!(off < 1e-13, "seed {seed}, {entries:?}, {method:?}, {size:?}: {off:e}");
                    // One by one and backwards, as other processes may.
                    let (mut kernel, mut tiles) = (KernelParts::of(&problem), Tiles::new(&problem, &plan));
                    for (i, tile) in plan.tiles.iter().enumerate().rev() {
                        kernel.insert(tile, &tiles.block(i), problem.is_symmetric());
                    }
                    let off = difference(&kernel, &whole);
                    assert!(off < 1e-13, "seed {seed}, {entries:?}, {method:?}, {size:?}: {off:e}");
                }
            }
        }
    }
    assert!(coupled > 0, "some of these networks have batch norm");
}

/// A kernel among some samples is a block of the whole, also where a batch norm couples them all.
#[test]
fn a_kernel_among_some_samples_is_a_block() {
    for seed in 0..20 {
        let placement = &backends()[0];
        let (network, [x1, x2]) = random_network(seed, placement);
        let whole = problem(&network, &x1, Some(&x2), Entries::Traced);
        let all = list(&compute(Method::Structured, &whole).total());
        let some = list(&compute(Method::Structured, &whole.restricted_to(&[1..3, 1..2])).total());
        let largest = all.iter().fold(1e-300_f64, |m, v| m.max(v.abs()));
        assert!(far(&some, &[all[3], all[5]]) < 1e-13 * largest, "seed {seed}");
    }
}

/// It does not matter how much of a network is followed on cones and how much on whole maps.
#[test]
fn kernels_do_not_depend_on_how_much_is_on_cones() {
    let layers = |last: &str| {
        format!(
            r#"[{{"dense":{{"out":24}}}},{{"reshape":{{"channels":6,"height":2,"width":2}}}},
            {{"activation":{{"function":"tanh"}}}},{{"deconv":{{"out":4,"kernel":4,"stride":2,"padding":1}}}},
            {{"activation":{{"function":"relu"}}}},{{"conv":{{"out":3,"kernel":3,"stride":1,"padding":1}}}},
            {{"activation":{{"function":"erf"}}}},{{"deconv":{{"out":2,"kernel":3,"stride":2,"padding":1}}}}{last}]"#
        )
    };
    let placement = &backends()[0];
    let [x1, x2] = [3, 2].map(|n| normal([n, 1, 1, 5], &mut rng(n as u64), placement));
    for last in ["", r#",{"activation":{"function":"tanh"}}"#, r#",{"flatten":{}}"#] {
        let network = network(Shape::vector(5), &layers(last), r#"{"graph":{"beta":0.2}}"#, placement);
        for (entries, x2) in ENTRIES.into_iter().flat_map(|entries| [(entries, None), (entries, Some(&x2))]) {
            let problem = problem(&network, &x1, x2, entries);
            let oracle = compute(Method::JacobianContraction, &problem);
            for convolutions in 0..=4 {
                let kernel = compute(Method::Structured, &problem.clone().with_cones(convolutions));
                let off = difference(&kernel, &oracle);
                assert!(off < 1e-12, "{last}, {entries:?}, {convolutions} on cones: {off:e}");
            }
        }
    }
}
