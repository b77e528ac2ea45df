//! The data sets from which the batches of random networks are drawn.

use std::path::Path;

use fintan_artifact::ArrayFile;
use fintan_config::{Content, DataSource, MomentsSettings, NetworkExperiment, Npy, Npz, Reader, Shape, image_of};
use fintan_data::{Images, fingerprint_of_values};
use fintan_moments::Pool;

use super::MomentsError;
use crate::error::Error;
use crate::memory::free_memory;

/// Whether the inputs are a data set in memory, from files or drawings.
pub(super) fn needs_pool(settings: &MomentsSettings) -> bool {
    settings.inputs.content() == Content::Images
}

/// The number of inputs and a fingerprint of their values. It does not depend on the place of the files.
pub(super) fn fingerprint(pool: &Pool) -> String {
    format!("{} inputs, {:016x}\n", pool.count(), fingerprint_of_values(&pool.values))
}

/// Reads the data set from which batches are drawn, if the inputs are one.
///
/// # Errors
/// Fails if files cannot be read or do not fit the network.
pub(super) fn read_pool(experiment: &NetworkExperiment) -> Result<Option<Pool>, Error> {
    let Some(settings) = &experiment.settings.moments else { return Ok(None) };
    let shape = experiment.network.input;
    let inputs = &settings.inputs;
    let (path, name) = match inputs {
        DataSource::Npy(Npy { path, .. }) => (path, None),
        DataSource::Npz(Npz { path, name, .. }) => (path, name.as_deref()),
        DataSource::Shapes(_)
        | DataSource::Idx(_)
        | DataSource::Cifar(_)
        | DataSource::Folder(_)
        | DataSource::Tar(_)
        | DataSource::Zip(_) => return images(inputs, shape).map(Some),
        DataSource::Iid(_) | DataSource::Spectrum(_) => return Ok(None),
        DataSource::Teacher(_) => return Err(Error::Source(Reader::Moments.refusal(inputs.kind()))),
    };
    array(path, name, shape).map(Some)
}

/// Reads inputs from an array file, which has an array of this name or a single array.
fn array(file: &Path, name: Option<&str>, shape: Shape) -> Result<Pool, Error> {
    let wrong = |message: String| Error::from(MomentsError::Inputs { path: file.into(), message });
    let mut arrays = ArrayFile::open(file)?;
    let name = match (name, arrays.names()) {
        (Some(name), _) => name.to_owned(),
        (None, [only]) => only.clone(),
        (None, names) => {
            let count = names.len();
            return Err(wrong(format!("must hold one array, it holds {count}; `moments.inputs.npz.name` chooses one")));
        }
    };
    let array = arrays.read(&name)?;
    let image = [shape.channels, shape.height, shape.width];
    let fits = array.shape.get(1..).is_some_and(|axes| axes == [shape.len()] || axes == image);
    if !fits {
        return Err(wrong(format!(
            "has shape {:?}; the network needs [samples, {}] or [samples, {}, {}, {}]",
            array.shape,
            shape.len(),
            image[0],
            image[1],
            image[2]
        )));
    }
    let values = array.to_f64();
    if let Some(at) = values.iter().position(|v| !(*v as f32).is_finite()) {
        return Err(wrong(format!("holds {:e}, which single precision cannot", values[at])));
    }
    let values = values.into_iter().map(|v| v as f32).collect();
    Ok(Pool { values, shape })
}

/// Reads inputs from a source of images.
fn images(source: &DataSource, shape: Shape) -> Result<Pool, Error> {
    let wanted = image_of(shape).expect("checked to be square images");
    let images = Images::load(source, &wanted, free_memory())?;
    // The values of an image are in channel, row, column order.
    let positions = images.size * images.size;
    let value =
        |image: &[u8], at: usize| f32::from(image[at % positions * images.channels + at / positions]) / 127.5 - 1.0;
    let values = (0..images.len()).flat_map(|i| (0..shape.len()).map(move |at| (i, at)));
    let values = values.map(|(i, at)| value(images.bytes(i), at)).collect();
    Ok(Pool { values, shape })
}
