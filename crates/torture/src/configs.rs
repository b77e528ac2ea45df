//! Configurations so small that a command takes some hundredths of a second.

/// File names and their texts.
pub(crate) const ALL: [(&str, &str); 9] = [
    ("gan.toml", GAN),
    ("other.toml", OTHER),
    ("rich.toml", RICH),
    ("task.toml", TASK),
    ("net.toml", NET),
    ("conv.toml", CONV),
    ("moments.toml", MOMENTS),
    ("deep.toml", DEEP),
    ("two.toml", TWO),
];

/// Writes all configurations.
pub(crate) fn write(folder: &std::path::Path) -> Result<(), String> {
    fs_err::create_dir_all(folder).map_err(|e| e.to_string())?;
    for (name, text) in ALL {
        fs_err::write(folder.join(name), text).map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// A GAN.
const GAN: &str = r#"
[image]
size = 8
channels = 1
[data.shapes]
count = 16
[generator]
latent = 4
optimizer.adam.rate = 4e-3
[generator.dcgan]
channels = 4
activation = { function = "relu", scaling = "normalized" }
[discriminator]
optimizer.adam.rate = 2e-4
[discriminator.dcgan]
channels = 4
[train]
steps = 6
batch = 4
grid = [2, 2]
checkpoint_every = 1
log_every = 1
grid_every = 2
keep = 2
"#;

/// A second GAN, which includes the first.
const OTHER: &str = r#"
include = "gan.toml"
[generator]
parametrization = { ntk = { beta = 0.5 } }
"#;

/// A GAN whose checkpoints contain most kinds of state.
const RICH: &str = r#"
[image]
size = 8
channels = 1
flip = true
[data.shapes]
count = 16
[generator]
latent = 4
parametrization = { ntk = { beta = 0.1 } }
optimizer.adam.rate = 4e-3
schedule.warmup = 2
[generator.dcgan]
channels = 4
extra = 1
activation = { function = "relu", scaling = "normalized" }
[discriminator]
optimizer.sgd = { rate = 1e-2, momentum = 0.5 }
spectral_norm = {}
[discriminator.dcgan]
channels = 4
[loss]
function = "hinge"
[train]
steps = 6
batch = 4
ema = 0.9
n_critic = 2
grid = [2, 2]
checkpoint_every = 2
log_every = 1
grid_every = 3
keep = 2
[observe.ntk]
every = 2
samples = 3
keep = true
"#;

/// A network with a task.
const TASK: &str = r#"
[network]
input = 4
parametrization = { ntk = { beta = 0.3 } }
fc = { widths = [6], activation = { function = "tanh", scaling = "standardized" } }
outputs = 1
[data.teacher]
noise = 0.1
[task.supervised]
goal = "regression"
train = 8
test = 6
optimizer.sgd.rate = 0.5
steps = 6
log_every = 1
checkpoint_every = 2
[observe.ntk]
every = 2
samples = 4
keep = true
"#;

/// A network.
const NET: &str = r#"
[network]
input = 4
parametrization = { ntk = { beta = 0.1 } }
outputs = 2
[network.fc]
widths = [8]
activation = { function = "relu", scaling = "standardized" }
"#;

/// A network with a batch norm, a residual block and a convolution.
const CONV: &str = r#"
[network]
input = [1, 8, 8]
[[network.layers]]
conv = { out = 3, kernel = 3, padding = 1 }
[[network.layers]]
batch_norm = {}
[[network.layers]]
activation = { function = "relu" }
[[network.layers]]
conv = { out = 4, kernel = 4, stride = 2, padding = 1 }
[[network.layers]]
flatten = {}
[[network.layers]]
dense = { out = 2 }
"#;

/// A measurement of moments.
const MOMENTS: &str = r"
[network]
input = 8
bn_ff = { depth = 4, width = 8 }
[moments]
inputs.spectrum.exponent = 1.3
batch = 6
realisations = 6
depths = [1, 2, 4]
";

/// A measurement of moments and of kernels.
const DEEP: &str = r#"
seed = 3
[network]
input = [2, 6, 6]
bn_res = { depth = 4, width = 5, kernel = 3, padding = "symmetric", embed_stride = 2 }
[moments]
inputs.spectrum.exponent = 1.0
batch = 4
realisations = 3
every = 2
per_channel = true
"#;

/// A comparison.
const TWO: &str = r#"
[compare]
base = "gan.toml"
seeds = [0]
[[compare.variants]]
name = "plain"
[[compare.variants]]
name = "beta"
set = ["generator.parametrization.ntk.beta=0.5"]
"#;
