//! The three methods against one another, over networks nobody chose.

use fintan_net::Mode;
use fintan_ntk::{Entries, Kernel, Method, Plan, Problem};

use crate::support::{ENTRIES, METHODS, backends, compute, difference, list, problem, random_network};

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
        let problem = Problem::new(network, x1, None, Mode::Eval, Entries::Full, Vec::new()).expect("a sound problem");
        assert!(!problem.is_coupled());
        let off = difference(&compute(METHODS[0], &problem), &compute(METHODS[2], &problem));
        assert!(off < 1e-10, "seed {seed}: {off:e}");
    }
}

/// A selection of outputs gives the entries of the whole kernel, in the order asked for.
#[test]
fn selected_outputs_are_entries_of_the_whole() {
    for seed in 0..20 {
        let placement = &backends()[0];
        let (network, [x1, x2]) = random_network(seed, placement);
        let count = network.architecture().output().len();
        if count < 3 {
            continue;
        }
        let chosen = vec![count - 1, 0, count / 2];
        for method in METHODS {
            let make = |outputs: Vec<usize>| {
                Problem::new(network.clone(), x1.clone(), Some(x2.clone()), Mode::Train, Entries::Full, outputs)
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
}

/// Tiles put together are the kernel, whatever their number.
#[test]
fn kernels_do_not_depend_on_tiles() {
    for seed in 0..20 {
        let placement = &backends()[0];
        let (network, [x1, _]) = random_network(seed, placement);
        let count = network.architecture().output().len();
        for entries in ENTRIES {
            let problem = problem(&network, &x1, None, entries);
            let whole = compute(Method::Structured, &problem);
            let plan =
                Plan::new(&problem, Some(Method::Structured), f64::INFINITY, Some(count.min(2))).expect("no bound");
            let pieces = Kernel::compute(&problem, &plan);
            let off = difference(&pieces, &whole);
            assert!(off < 1e-13, "seed {seed}, {entries:?}: {off:e}");
        }
    }
}
