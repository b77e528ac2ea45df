//! `fintan cite`

use fintan_config::{Adversarial, Architecture, Function, Layer, Optimizer, Parametrization, Subject};

use crate::args::Cite;
use crate::failure::Failure;
use crate::given::configuration;
use crate::voice::answer;

/// A publication: key, kind, and its fields.
struct Entry(&'static str, &'static str, &'static [(&'static str, &'static str)]);

const NTK: Entry = Entry(
    "jacot2018ntk",
    "inproceedings",
    &[
        ("author", "Jacot, Arthur and Gabriel, Franck and Hongler, Cl{\\'e}ment"),
        ("title", "Neural Tangent Kernel: Convergence and Generalization in Neural Networks"),
        ("booktitle", "Advances in Neural Information Processing Systems"),
        ("year", "2018"),
        ("eprint", "1806.07572"),
    ],
);
const FREEZE: Entry = Entry(
    "jacot2022freeze",
    "inproceedings",
    &[
        ("author", "Jacot, Arthur and Gabriel, Franck and Ged, Fran{\\c c}ois and Hongler, Cl{\\'e}ment"),
        ("title", "Freeze and Chaos: {NTK} views on {DNN} Normalization, Checkerboard and Boundary Artifacts"),
        ("booktitle", "Mathematical and Scientific Machine Learning"),
        ("series", "Proceedings of Machine Learning Research"),
        ("volume", "190"),
        ("pages", "257--270"),
        ("year", "2022"),
        ("eprint", "1907.05715"),
    ],
);
const FAST: Entry = Entry(
    "novak2022fast",
    "inproceedings",
    &[
        ("author", "Novak, Roman and Sohl-Dickstein, Jascha and Schoenholz, Samuel S."),
        ("title", "Fast Finite Width Neural Tangent Kernel"),
        ("booktitle", "International Conference on Machine Learning"),
        ("year", "2022"),
        ("eprint", "2206.08720"),
    ],
);
const SIGNAL: Entry = Entry(
    "schoenholz2017deep",
    "inproceedings",
    &[
        ("author", "Schoenholz, Samuel S. and Gilmer, Justin and Ganguli, Surya and Sohl-Dickstein, Jascha"),
        ("title", "Deep Information Propagation"),
        ("booktitle", "International Conference on Learning Representations"),
        ("year", "2017"),
        ("eprint", "1611.01232"),
    ],
);
const CONVOLUTIONS: Entry = Entry(
    "arora2019exact",
    "inproceedings",
    &[
        (
            "author",
            "Arora, Sanjeev and Du, Simon S. and Hu, Wei and Li, Zhiyuan and Salakhutdinov, Ruslan and Wang, Ruosong",
        ),
        ("title", "On Exact Computation with an Infinitely Wide Neural Net"),
        ("booktitle", "Advances in Neural Information Processing Systems"),
        ("year", "2019"),
        ("eprint", "1904.11955"),
    ],
);
const ARC_COSINE: Entry = Entry(
    "cho2009kernel",
    "inproceedings",
    &[
        ("author", "Cho, Youngmin and Saul, Lawrence K."),
        ("title", "Kernel Methods for Deep Learning"),
        ("booktitle", "Advances in Neural Information Processing Systems"),
        ("year", "2009"),
    ],
);
const WIDE: Entry = Entry(
    "lee2019wide",
    "inproceedings",
    &[
        (
            "author",
            "Lee, Jaehoon and Xiao, Lechao and Schoenholz, Samuel S. and Bahri, Yasaman and Novak, Roman and Sohl-Dickstein, Jascha and Pennington, Jeffrey",
        ),
        ("title", "Wide Neural Networks of Any Depth Evolve as Linear Models Under Gradient Descent"),
        ("booktitle", "Advances in Neural Information Processing Systems"),
        ("year", "2019"),
        ("eprint", "1902.06720"),
    ],
);
const GAN: Entry = Entry(
    "goodfellow2014gan",
    "inproceedings",
    &[
        (
            "author",
            "Goodfellow, Ian J. and Pouget-Abadie, Jean and Mirza, Mehdi and Xu, Bing and Warde-Farley, David and Ozair, Sherjil and Courville, Aaron and Bengio, Yoshua",
        ),
        ("title", "Generative Adversarial Nets"),
        ("booktitle", "Advances in Neural Information Processing Systems"),
        ("year", "2014"),
        ("eprint", "1406.2661"),
    ],
);
const DCGAN: Entry = Entry(
    "radford2016dcgan",
    "inproceedings",
    &[
        ("author", "Radford, Alec and Metz, Luke and Chintala, Soumith"),
        ("title", "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks"),
        ("booktitle", "International Conference on Learning Representations"),
        ("year", "2016"),
        ("eprint", "1511.06434"),
    ],
);
const ADAM: Entry = Entry(
    "kingma2015adam",
    "inproceedings",
    &[
        ("author", "Kingma, Diederik P. and Ba, Jimmy"),
        ("title", "Adam: A Method for Stochastic Optimization"),
        ("booktitle", "International Conference on Learning Representations"),
        ("year", "2015"),
        ("eprint", "1412.6980"),
    ],
);
const BATCH_NORM: Entry = Entry(
    "ioffe2015batchnorm",
    "inproceedings",
    &[
        ("author", "Ioffe, Sergey and Szegedy, Christian"),
        ("title", "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift"),
        ("booktitle", "International Conference on Machine Learning"),
        ("year", "2015"),
        ("eprint", "1502.03167"),
    ],
);
const LAYER_NORM: Entry = Entry(
    "ba2016layernorm",
    "misc",
    &[
        ("author", "Ba, Jimmy Lei and Kiros, Jamie Ryan and Hinton, Geoffrey E."),
        ("title", "Layer Normalization"),
        ("year", "2016"),
        ("eprint", "1607.06450"),
    ],
);
const GELU: Entry = Entry(
    "hendrycks2016gelu",
    "misc",
    &[
        ("author", "Hendrycks, Dan and Gimpel, Kevin"),
        ("title", "Gaussian Error Linear Units ({GELUs})"),
        ("year", "2016"),
        ("eprint", "1606.08415"),
    ],
);
const ELU: Entry = Entry(
    "clevert2016elu",
    "inproceedings",
    &[
        ("author", "Clevert, Djork-Arn{\\'e} and Unterthiner, Thomas and Hochreiter, Sepp"),
        ("title", "Fast and Accurate Deep Network Learning by Exponential Linear Units ({ELUs})"),
        ("booktitle", "International Conference on Learning Representations"),
        ("year", "2016"),
        ("eprint", "1511.07289"),
    ],
);
const SELU: Entry = Entry(
    "klambauer2017selu",
    "inproceedings",
    &[
        ("author", "Klambauer, G{\\\"u}nter and Unterthiner, Thomas and Mayr, Andreas and Hochreiter, Sepp"),
        ("title", "Self-Normalizing Neural Networks"),
        ("booktitle", "Advances in Neural Information Processing Systems"),
        ("year", "2017"),
        ("eprint", "1706.02515"),
    ],
);
const HINGE: Entry = Entry(
    "lim2017geometric",
    "misc",
    &[
        ("author", "Lim, Jae Hyun and Ye, Jong Chul"),
        ("title", "Geometric {GAN}"),
        ("year", "2017"),
        ("eprint", "1705.02894"),
    ],
);
const LSGAN: Entry = Entry(
    "mao2017lsgan",
    "inproceedings",
    &[
        (
            "author",
            "Mao, Xudong and Li, Qing and Xie, Haoran and Lau, Raymond Y. K. and Wang, Zhen and Smolley, Stephen Paul",
        ),
        ("title", "Least Squares Generative Adversarial Networks"),
        ("booktitle", "International Conference on Computer Vision"),
        ("year", "2017"),
        ("eprint", "1611.04076"),
    ],
);
const WGAN: Entry = Entry(
    "arjovsky2017wgan",
    "inproceedings",
    &[
        ("author", "Arjovsky, Martin and Chintala, Soumith and Bottou, L{\\'e}on"),
        ("title", "Wasserstein Generative Adversarial Networks"),
        ("booktitle", "International Conference on Machine Learning"),
        ("year", "2017"),
        ("eprint", "1701.07875"),
    ],
);
const WGAN_GP: Entry = Entry(
    "gulrajani2017wgangp",
    "inproceedings",
    &[
        (
            "author",
            "Gulrajani, Ishaan and Ahmed, Faruk and Arjovsky, Martin and Dumoulin, Vincent and Courville, Aaron",
        ),
        ("title", "Improved Training of {Wasserstein} {GANs}"),
        ("booktitle", "Advances in Neural Information Processing Systems"),
        ("year", "2017"),
        ("eprint", "1704.00028"),
    ],
);
const R1: Entry = Entry(
    "mescheder2018r1",
    "inproceedings",
    &[
        ("author", "Mescheder, Lars and Geiger, Andreas and Nowozin, Sebastian"),
        ("title", "Which Training Methods for {GANs} do actually Converge?"),
        ("booktitle", "International Conference on Machine Learning"),
        ("year", "2018"),
        ("eprint", "1801.04406"),
    ],
);
const SPECTRAL_NORM: Entry = Entry(
    "miyato2018spectral",
    "inproceedings",
    &[
        ("author", "Miyato, Takeru and Kataoka, Toshiki and Koyama, Masanori and Yoshida, Yuichi"),
        ("title", "Spectral Normalization for Generative Adversarial Networks"),
        ("booktitle", "International Conference on Learning Representations"),
        ("year", "2018"),
        ("eprint", "1802.05957"),
    ],
);

const MOMENTS: Entry = Entry(
    "labatie2019moments",
    "inproceedings",
    &[
        ("author", "Labatie, Antoine"),
        ("title", "Characterizing Well-Behaved vs. Pathological Deep Neural Networks"),
        ("booktitle", "International Conference on Machine Learning"),
        ("year", "2019"),
        ("eprint", "1811.03087"),
    ],
);

/// Prints the publications behind a configuration or a run.
pub(super) fn cite(args: &Cite) -> Result<(), Failure> {
    let (mut entries, networks) = match Subject::load(&configuration(&args.path)?, &[])? {
        Subject::Gan(gan) => {
            let mut entries = vec![&NTK, &FREEZE, &FAST, &GAN];
            if gan.settings.generator.dcgan.is_some() || gan.settings.discriminator.dcgan.is_some() {
                entries.push(&DCGAN);
            }
            let optimizers = [&gan.settings.generator.optimizer, &gan.settings.discriminator.optimizer];
            if optimizers.iter().any(|optimizer| matches!(optimizer, Optimizer::Adam(_))) {
                entries.push(&ADAM);
            }
            match gan.settings.loss.function {
                Adversarial::Bce => {}
                Adversarial::Hinge => entries.push(&HINGE),
                Adversarial::Lsgan => entries.push(&LSGAN),
                Adversarial::WganGp(_) => entries.extend([&WGAN, &WGAN_GP]),
                Adversarial::WganClip(_) => entries.push(&WGAN),
            }
            entries.extend(gan.settings.loss.r1.map(|_| &R1));
            entries.extend(gan.settings.discriminator.spectral_norm.map(|_| &SPECTRAL_NORM));
            (entries, vec![gan.generator, gan.discriminator])
        }
        Subject::Network(alone) => {
            let mut entries = vec![&NTK, &FREEZE, &FAST];
            if let Some(experiment) = alone.supervised() {
                entries.push(&WIDE);
                if matches!(experiment.task.optimizer, Optimizer::Adam(_)) {
                    entries.push(&ADAM);
                }
            }
            entries.extend(alone.settings.moments.as_ref().map(|_| &MOMENTS));
            (entries, vec![alone.network])
        }
    };
    for network in &networks {
        of_network(network, &mut entries);
    }
    let mut told: Vec<&str> = Vec::new();
    for Entry(key, kind, fields) in entries {
        if told.contains(key) {
            continue;
        }
        told.push(key);
        answer!("@{kind}{{{key},");
        for (name, value) in *fields {
            answer!("  {name} = {{{value}}},");
            if *name == "eprint" {
                answer!("  archiveprefix = {{arXiv}},");
            }
        }
        answer!("}}");
    }
    Ok(())
}

fn of_network(network: &Architecture, entries: &mut Vec<&'static Entry>) {
    if matches!(network.parametrization, Parametrization::Standard(_)) {
        entries.push(&SIGNAL);
    }
    for node in network.flat() {
        match &node.layer {
            Layer::Conv(_) => entries.push(&CONVOLUTIONS),
            Layer::BatchNorm(_) => entries.push(&BATCH_NORM),
            Layer::LayerNorm(_) => entries.push(&LAYER_NORM),
            Layer::Activation(activation) => match activation.function {
                Function::Relu | Function::LeakyRelu | Function::Abs => entries.push(&ARC_COSINE),
                Function::Gelu => entries.push(&GELU),
                Function::Elu => entries.push(&ELU),
                Function::Selu => entries.push(&SELU),
                _ => {}
            },
            _ => {}
        }
    }
}
