//! The tangent kernel of a fully connected network: its condition number, and how it divides among the parameters.
//!
//! ```text
//! cargo run --release --example kernel_of_a_network
//! ```

use fintan::{Device, Error, Inputs, Kernel, Network};

fn main() -> Result<(), Error> {
    let file = r#"
        [network]
        input = 16
        parametrization = { ntk = { beta = 0.1 } }
        outputs = 4
        fc = { widths = [128, 128], activation = { function = "relu", scaling = "standardized" } }
    "#;
    let net = Network::parse(file)?.on(Device::auto()?);
    let kernel = Kernel::of(&net).inputs(Inputs::drawn(12)).traced().by_parameter().memory("1GB").compute()?;
    let condition_number = kernel.spectrum()?.condition_number().unwrap_or(f64::INFINITY);
    println!("kernel of shape {:?} on {}, condition number {condition_number:.2}", kernel.shape(), net.device().name);
    for (name, part) in kernel.parts() {
        let diagonal = part.to_f64().iter().step_by(kernel.shape()[0] + 1).sum::<f64>();
        println!("{name:10} {:5.1} % of the trace", 100.0 * diagonal / kernel.trace());
    }
    Ok(())
}
