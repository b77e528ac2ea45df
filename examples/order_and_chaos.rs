//! Order and chaos in theory: what normalizing a ReLU does to r and to the kernel of deep networks at infinite width.
//!
//! ```text
//! cargo run --release --example order_and_chaos
//! ```

use fintan::{Error, Limit, Network};

fn main() -> Result<(), Error> {
    println!("scaling       depth       r  regime  scaled kernel of orthogonal inputs");
    for scaling in ["standardized", "normalized"] {
        for depth in [2, 8, 32] {
            let file = format!(
                "[network]\ninput = 2\noutputs = 1\nparametrization.ntk.beta = 0.1\n\
                 fc = {{ widths = {:?}, activation = {{ function = 'relu', scaling = '{scaling}' }} }}",
                vec![64; depth]
            );
            let limit = Limit::of(Network::parse(&file)?.architecture())?;
            let kernel = limit.kernel(&vec![vec![1.0, 1.0], vec![1.0, -1.0]].into())?;
            let (r, regime) = (limit.r().unwrap_or(f64::NAN), limit.regime().map_or("-", fintan::Regime::word));
            println!("{scaling:12} {depth:6} {r:7.4}  {regime:6}  {:.4}", kernel.scaled()[1]);
        }
    }
    Ok(())
}
