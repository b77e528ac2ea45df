//! Trains a small GAN on the built-in shapes for a few steps, and draws samples from it as an array.
//!
//! ```text
//! cargo run --release --example train_and_sample
//! ```

use fintan::{Error, Losses, train};

fn main() -> Result<(), Error> {
    let folder = std::env::temp_dir().join(format!("fintan_train_and_sample_{}", std::process::id()));
    fs_err::create_dir_all(&folder)?;
    let config = folder.join("shapes.toml");
    fs_err::write(
        &config,
        "
        image = { size = 16, channels = 1 }
        data.shapes.count = 64
        generator = { latent = 8, dcgan.channels = 8, optimizer.adam.rate = 1e-3 }
        discriminator = { dcgan.channels = 8, optimizer.adam.rate = 1e-3 }
        train = { batch = 16, log_every = 5, grid = [2, 4] }
        ",
    )?;
    let told = |step, losses| {
        if let Losses::Gan { discriminator, generator } = losses {
            println!("step {step:3}  discriminator {discriminator:.3}  generator {generator:.3}");
        }
    };
    let run = train(&config).out(folder.join("run")).steps(20).on_step(told).run()?;
    let images = run.samples(4)?;
    let mean = images.to_f64().iter().sum::<f64>() / images.to_f64().len() as f64;
    println!("samples {:?}, mean value {mean:.3}", images.shape);
    Ok(fs_err::remove_dir_all(&folder)?)
}
