//! Tuning: how far a ReLU must be centred for a generator to be chaotic, and at what condition number.
//!
//! ```text
//! cargo run --release --example tune
//! ```

use fintan::{Error, Knob, Limit, Network, Regime, TuneGoal, tune};

fn main() -> Result<(), Error> {
    let file = "
        [network]
        input = 8
        outputs = 1
        parametrization.ntk.beta = 0.1
        fc = { widths = [64, 64, 64, 64, 64, 64], activation = { function = 'relu', scaling = 'standardized' } }
    ";
    let net = Network::parse(file)?;
    let goal = TuneGoal::Regime { regime: Regime::Chaos, margin: 0.1 };
    let tuned = tune(net.architecture(), &goal, Knob::Mu)?;
    for (name, architecture) in [("as it was", net.architecture()), ("tuned", &tuned.network)] {
        let summary = Limit::of(architecture)?.summary(8)?;
        let r = summary.r.unwrap_or(f64::NAN);
        println!("{name:10} r {r:.4}, condition number of 8 orthogonal inputs {:.2}", summary.condition);
    }
    println!("mu = {}", tuned.setting.map_or("as it was".into(), |setting| setting.to_string()));
    Ok(())
}
