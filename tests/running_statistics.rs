//! Running statistics of batch norms in weights from elsewhere.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::TensorData;
use fintan_net::weights::{Tensors, write_safetensors};
use fintan_testing::networks::golden_in_evaluation;

use crate::kernels::{array, arrays, said};
use crate::support::{files, folder, run, succeed};

/// What is done to what was sound.
type Change<'a> = &'a dyn Fn(&mut Tensors);

/// A network in evaluation mode and its kernel, from `assets/golden/make_evaluation_cases.py`.
struct Case {
    network: fintan_testing::networks::NetworkCase,
    /// `[N, N]` for each parameter.
    traced: BTreeMap<String, Vec<f64>>,
}

impl Case {
    fn all() -> Vec<Self> {
        #[derive(serde::Deserialize)]
        struct Kernel {
            traced: BTreeMap<String, Vec<f64>>,
        }
        let kernels: Vec<Kernel> =
            serde_json::from_str(include_str!("../assets/golden/evaluation_cases.json")).expect("golden cases");
        let cases = golden_in_evaluation().into_iter().zip(kernels);
        cases.map(|(network, Kernel { traced })| Self { network, traced }).collect()
    }

    fn config(&self, at: &Path) -> String {
        let path = at.join(format!("{}.toml", self.network.name));
        std::fs::write(&path, self.network.config()).expect("written");
        path.display().to_string()
    }

    /// The tensors as PyTorch stores them: a counter of batches lies beside running statistics.
    fn state_dict(&self) -> Tensors {
        let mut tensors = self.network.tensors.clone();
        let norms: Vec<String> =
            tensors.keys().filter_map(|name| Some(name.strip_suffix(".running_mean")?.to_owned())).collect();
        for i in norms {
            tensors.insert(format!("{i}.num_batches_tracked"), TensorData::new(vec![117_i64], Vec::<usize>::new()));
        }
        tensors
    }
}

fn write(path: &Path, tensors: &Tensors) {
    std::fs::write(path, write_safetensors(tensors)).expect("written");
}

/// The kernel of `--bn running` was that of statistics 0 and 1, whatever the file held under PyTorch's names.
#[test]
fn kernels_take_running_statistics_by_pytorchs_names() {
    for case in Case::all() {
        let folder = folder();
        let at = folder.path();
        let config = case.config(at);
        write(&at.join("w.safetensors"), &case.state_dict());
        for (precision, bound) in [(&["--f64"][..], 1e-10), (&[], 1e-5)] {
            for method in ["structured", "ntk_vector_products", "jacobian_contraction"] {
                let args =
                    ["ntk", &config, "--weights", "w.safetensors", "--inputs", "w.safetensors:x", "--bn", "running"];
                let more = ["--method", method, "--device", "flex", "--quiet", "--out", "k.npz"];
                succeed(at, &[&args[..], &more, precision].concat());
                let largest =
                    array(&at.join("k.npz"), "ntk").to_f64().iter().fold(0.0_f64, |most, value| most.max(value.abs()));
                let parts = arrays(&at.join("k.npz"));
                for (name, wanted) in &case.traced {
                    let (_, part) =
                        parts.iter().find(|(found, _)| *found == format!("parts/{name}")).expect("every parameter");
                    for (found, wanted) in part.to_f64().iter().zip(wanted) {
                        let off = (found - wanted).abs() / largest;
                        assert!(off < bound, "{}, {method}, {name}: {found} and {wanted}", case.network.name);
                    }
                }
            }
        }
    }
}

/// Running statistics that are missing, partial, given twice, of another shape or impossible are refused by their names;
/// a kernel over batch statistics needs none.
#[test]
fn running_statistics_are_never_made_up() {
    let case = Case::all().into_iter().find(|case| case.network.name == "generator").expect("a case");
    let folder = folder();
    let at = folder.path();
    let config = case.config(at);
    let weights = at.join("w.safetensors");
    let kernel = |bn: &str, change: &dyn Fn(&mut Tensors)| {
        let mut tensors = case.state_dict();
        change(&mut tensors);
        write(&weights, &tensors);
        let args = ["ntk", &config, "--weights", "w.safetensors", "--inputs", "w.safetensors:x", "--bn", bn];
        run(at, &[&args[..], &["--device", "flex", "--out", "k.npz"]].concat())
    };
    let list = |values: &[f64]| TensorData::new(values.to_vec(), [values.len()]);
    let without = |tensors: &mut Tensors, words: &[&str]| {
        tensors.retain(|name, _| !words.iter().any(|word| name.contains(word)));
    };
    let before = files(at).len();
    let changes: [(&str, Change); 12] = [
        ("tensor `running.0.mean`, running statistics of a batch norm, is missing, and so is `1.running_mean`", &|t| {
            without(t, &["running"]);
        }),
        ("`running.0.variance`", &|t| without(t, &["1.running_var"])),
        ("and so is `3.running_mean`", &|t| without(t, &["3.running"])),
        ("`running.1.mean` and `3.running_mean` are two names", &|t| {
            t.insert("running.1.mean".into(), list(&[0.0, 0.0, 0.0]));
        }),
        ("tensor `1.running_var` must have shape [5], got [4]", &|t| {
            t.insert("1.running_var".into(), list(&[1.0; 4]));
        }),
        ("tensor `1.running_var` holds -0.25; a variance is never negative", &|t| {
            t.insert("1.running_var".into(), list(&[1.0, 1.0, -0.25, 1.0, 1.0]));
        }),
        ("tensor `3.running_mean` holds a value that is not finite", &|t| {
            t.insert("3.running_mean".into(), list(&[0.0, f64::NAN, 0.0]));
        }),
        ("tensor `3.running_var` holds a value that is not finite", &|t| {
            t.insert("3.running_var".into(), list(&[1.0, f64::INFINITY, 1.0]));
        }),
        ("tensor `4.bias` holds 1e300, which is too large for F32", &|t| {
            t.insert("4.bias".into(), list(&[1e300, 0.0]));
        }),
        // Statistics of a norm that the network does not have.
        ("tensor `2.running_var` is no parameter", &|t| drop(t.insert("2.running_var".into(), list(&[1.0; 3])))),
        ("tensor `running.7.mean` is no parameter", &|t| drop(t.insert("running.7.mean".into(), list(&[0.0; 3])))),
        ("tensor `4.num_batches_tracked` is no parameter", &|t| {
            t.insert("4.num_batches_tracked".into(), TensorData::new(vec![1_i64], Vec::<usize>::new()));
        }),
    ];
    for (words, change) in changes {
        let (code, stdout, stderr) = kernel("running", change);
        assert!(code == 2 && stdout.is_empty() && said(&stderr, words), "{words}: {stderr}");
        assert_eq!(files(at).len(), before + 1, "{words}: only the weights");
    }
    let (_, _, stderr) = kernel("running", &|t| without(t, &["running"]));
    assert!(said(&stderr, "`--bn batch` takes those of the batch"), "{stderr}");
    let (code, _, stderr) = kernel("batch", &|t| without(t, &["running"]));
    assert!(code == 0 && said(&stderr, "the network has no such tensors: x, y"), "{stderr}");
    let (code, ..) = kernel("batch", &|t| without(t, &["1.running_var"]));
    assert_eq!(code, 2, "a partial set is refused whoever needs it");
}
