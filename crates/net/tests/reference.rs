//! Reference networks, as the JSON files beside the project describe them.

use fintan_config::{Layer, Parametrization, Shape};
use serde_json::{Value, json};

/// A network in our terms.
pub(crate) struct Written {
    pub input: Shape,
    pub layers: Vec<Layer>,
    pub parametrization: Parametrization,
}

/// Reads a description.
pub(crate) fn written(side: &Value) -> Written {
    let layers = side["layers"].as_array().expect("layers").iter().map(layer).collect();
    let parametrization = match side["parametrization"].as_str().expect("a parametrization") {
        "standard" => serde_json::from_value(json!({"standard": {}})),
        name => serde_json::from_value(json!({ name: {"beta": side["beta"]} })),
    };
    let dims: Vec<usize> = serde_json::from_value(side["input_shape"].clone()).expect("a shape");
    let input = if let [c, h, w] = dims[..] { Shape::image(c, h, w) } else { Shape::vector(dims[0]) };
    Written { input, layers, parametrization: parametrization.expect("a parametrization") }
}

fn layer(l: &Value) -> Layer {
    let window = || json!({"out": l["out"], "kernel": l["k"], "stride": l["s"], "padding": l["p"]});
    let written = match l["t"].as_str().expect("a type") {
        "linear" => json!({"dense": {"out": l["out"]}}),
        "conv" => json!({"conv": window()}),
        "conv_transpose" => {
            let mut w = window();
            w["output_padding"] = l["op"].clone();
            json!({"deconv": w})
        }
        "batch_norm" => json!({"batch_norm": {"eps": l["eps"], "affine": l["affine"]}}),
        "layer_norm" => json!({"layer_norm": {"eps": l["eps"], "affine": l["affine"]}}),
        "reshape" => json!({"reshape": {"channels": l["shape"][0], "height": l["shape"][1], "width": l["shape"][2]}}),
        "flatten" => json!({"flatten": {}}),
        "global_avg_pool" => json!({"global_average_pool": {}}),
        "leaky_relu" => json!({"activation": {"function": "leaky_relu", "slope": l["slope"]}}),
        "normalized_relu" => json!({"activation": {"function": "relu", "scaling": "normalized"}}),
        "normalized_erf" => json!({"activation": {"function": "erf", "scaling": "normalized"}}),
        function => json!({"activation": {"function": function}}),
    };
    serde_json::from_value(written).expect("a layer")
}
