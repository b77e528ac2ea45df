//! Sizes from files are not believed: whatever they are, a network is worked out or refused.

use fintan_config::{
    Architecture, AvgPool, ConfigError, Convolution, DcganDiscriminator, DcganGenerator, Description, Empty, Held,
    Layer, MemoryBound, Pad, PadMode, Pair, Parametrization, Residual, Shape, Subject, Upsample,
};

/// Numbers at which arithmetic of 16, 31, 32 and 63 bits ends, and small ones that let them through.
const SIZES: [usize; 12] =
    [0, 1, 2, 4, 1 << 16, (1 << 24) - 1, (1 << 24) + 1, (1 << 31) - 1, 1 << 32, 1 << 62, (1 << 63) - 1, usize::MAX];

fn layers(a: usize, b: usize, c: usize) -> Vec<Layer> {
    let convolution = |kernel: Pair, stride: Pair, padding: Pair, output_padding: Pair| Convolution {
        out: 2,
        kernel,
        stride,
        padding,
        output_padding,
        init: None,
    };
    let (one, none) = (Pair::from(1), Pair::from(0));
    let all = [
        convolution(a.into(), b.into(), c.into(), none),
        convolution(one, a.into(), none, b.into()),
        convolution(Pair([a, 1]), Pair([1, b]), Pair([0, c]), none),
        Convolution { out: a, ..convolution(b.into(), one, none, none) },
    ];
    let mut layers: Vec<Layer> = all.iter().flat_map(|&c| [Layer::Conv(c), Layer::Deconv(c)]).collect();
    layers.extend([
        Layer::Dense(a.into()),
        Layer::Upsample(Upsample { factor: Pair([a, b]) }),
        Layer::AvgPool(AvgPool {
            window: Pair([a, b]),
            stride: Some(Pair([b, a])),
            padding: Pair([a / 2, b / 2]),
            count_padding: false,
        }),
        Layer::Reshape(Shape::image(a, b, c)),
        Layer::Pad(Pad { before: a.into(), after: b.into(), mode: PadMode::Zero }),
    ]);
    layers
}

#[test]
fn settings_of_any_size_are_counted_or_refused() {
    let mut sound = 0;
    for input in [Shape::image(2, 4, 4), Shape::vector(8)] {
        for a in SIZES {
            for b in SIZES {
                for c in SIZES {
                    for layer in layers(a, b, c) {
                        let inside = Residual { layers: vec![layer.clone()], shortcut: vec![], scale: 1.0 };
                        for layer in [layer, Layer::Residual(inside)] {
                            let list = [layer, Layer::Flatten(Empty {}), Layer::Dense(3.into())];
                            let Ok(network) = Architecture::new(input, &list, Parametrization::default()) else {
                                continue;
                            };
                            sound += 1;
                            assert!(network.parameter_count() > 0);
                            assert!(network.flat().iter().all(|node| !node.output.is_empty()));
                        }
                    }
                }
            }
        }
    }
    assert!(sound > 1000, "{sound} networks were worked out");
}

#[test]
fn inputs_of_any_size_are_counted_or_refused() {
    for channels in SIZES {
        for height in SIZES {
            for width in SIZES {
                let input = Shape { channels, height, width };
                let layers = [Layer::Flatten(Empty {}), Layer::Dense(1.into())];
                let _ = Architecture::new(input, &layers, Parametrization::default());
                let text = format!(
                    r#"{{ "format": "fintan.architecture", "version": 1, "parametrization": {{ "ntk": {{ "beta": 0.1 }} }},
                    "input": {{ "channels": {channels}, "height": {height}, "width": {width} }},
                    "layers": [{{ "layer": {{ "flatten": {{}} }} }}, {{ "layer": {{ "dense": {{ "out": 1 }} }} }}] }}"#
                );
                let description: Description = serde_json::from_str(&text).expect("JSON");
                let _ = description.architecture();
            }
        }
    }
}

#[test]
fn presets_of_any_size_are_worked_out_or_refused() {
    let read = |text: String| -> Result<(), String> {
        let image = Shape::image(1, 32, 32);
        let generator: DcganGenerator = toml::from_str(&text).map_err(|e| e.to_string())?;
        let _ = generator
            .layers(image)
            .map(|layers| Architecture::new(Shape::vector(4), &layers, Parametrization::default()));
        let text = text.replace("start", "end").replace("upsampling = \"resize\"", "");
        let discriminator: DcganDiscriminator = toml::from_str(&text).map_err(|e| e.to_string())?;
        let _ = discriminator.layers(image).map(|layers| Architecture::new(image, &layers, Parametrization::default()));
        Ok(())
    };
    for a in SIZES {
        for b in SIZES {
            for c in SIZES {
                for kind in ["", "upsampling = \"resize\""] {
                    for text in [
                        format!("channels = {a}\nkernel = {b}\nstride = {c}\n{kind}"),
                        format!("start = {a}\nstride = {b}\nkernel = {c}\n{kind}"),
                        format!("extra = {a}\nextra_kernel = {b}\nchannels = {c}\n{kind}"),
                    ] {
                        // TOML has no number above 2^63 - 1.
                        let _ = read(text);
                    }
                }
            }
        }
    }
}

/// Networks by the memory that they take at least, known by hand.
#[test]
fn what_needs_more_memory_than_is_free_is_refused_at_its_key_and_nothing_else() {
    // What is refused: the message, and the text that it points at.
    let load = |text: &str, held: Held, free: f64| {
        Subject::parse_within("test", text, &[], MemoryBound { held, free: Some(free) }).map_err(|e| {
            let ConfigError::Text { message, span: Some(span), .. } = e else { panic!("{e:?}") };
            (message, text[span.offset()..span.offset() + span.len()].to_owned())
        })
    };
    // 1000 x 3000 weights and 3000 biases; 3000 x 10 and 10.
    let network = "[network]\ninput = 1000\noutputs = 10\nfc = { widths = [3000] }\n";
    let (largest, all) = (3_003_000.0, 3_033_010.0);
    for (held, bytes) in [(Held::Layer, 4.0 * largest), (Held::Parameters, 4.0 * all + 8.0 * largest)] {
        assert!(load(network, held, bytes).is_ok());
        let refused = load(network, held, bytes - 1.0).expect_err("too large");
        assert!(refused.0.contains("of memory, but"), "{refused:?}");
        assert_eq!(refused.1, "[3000]");
    }
    let task = format!(
        "{network}[data.teacher]\n[task.supervised]\ngoal = \"regression\"\ntrain = 64\noptimizer.adam.rate = 1e-3\n"
    );
    // Parameters, gradients, two moments; a batch of inputs, pre-activations and activations.
    let step = 4.0 * 4.0 * all + 64.0 * 4.0 * (1000.0 + 3000.0 + 3000.0);
    assert!(load(&task, Held::Training, step).is_ok());
    assert!(load(&task, Held::Training, step - 1.0).expect_err("too large").0.contains("64 samples needs at least"));
    assert!(load(&task, Held::Training, f64::MAX).is_ok());
}

#[test]
fn a_nonlinearity_can_be_named_alone() {
    let network = |activation: &str| {
        let text = format!("[network]\ninput = 3\noutputs = 1\nfc = {{ widths = [4], activation = {activation} }}\n");
        Subject::parse("test", &text, &[]).map_err(|e| format!("{:?}", miette::Report::from(e)))
    };
    assert_eq!(network("\"tanh\"").expect("reads"), network("{ function = \"tanh\" }").expect("reads"));
    let typo = network("\"rellu\"").expect_err("a typo");
    assert!(typo.contains("did you mean `relu`?"), "{typo}");
    let wrong = network("3").expect_err("no nonlinearity");
    assert!(wrong.contains("the name of a function"), "{wrong}");
    // A resolved configuration writes the table, and reads back.
    let named = network("\"gelu\"").expect("reads");
    assert_eq!(Subject::parse("again", &named.to_toml(), &[]).expect("reads back"), named);
}
