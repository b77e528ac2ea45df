//! Moments of signal and noise through the depth of random networks.

use std::path::{Path, PathBuf};

use fintan_artifact::ArrayFile;
use fintan_config::{DataSource, Held, NetworkExperiment, Npy, Npz, Precision, Reader, Shape, Subject, image_of};
use fintan_data::Images;
use fintan_moments::summary::{Fits, Row, fits, rows};
use fintan_moments::{Plan, Pool, Realisation};

use crate::device::{Device, threads};
use crate::error::Error;
use crate::memory::free_memory;

/// A measurement of the moments of random networks, as the `[moments]` of a configuration describe it.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let config = folder.path().join("moments.toml");
/// fs_err::write(&config, "
///     network = { input = 16, vanilla = { depth = 3, width = 8 } }
///     moments = { batch = 8, inputs.iid = {} }
/// ")?;
/// let measured = fintan::Moments::of(&config)?.realisations(4).measure()?;
/// let row = measured.row(3, "loc3", "log_sensitivity").expect("measured");
/// assert_eq!(row.statistics.n, 4);
/// // A vanilla network amplifies noise more than signal: its normalized sensitivity is above 1.
/// assert!(row.statistics.mean > 0.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Moments<'a> {
    path: PathBuf,
    overrides: Vec<String>,
    device: Device,
    on_realisation: Box<dyn FnMut(usize, usize) + 'a>,
}

/// The realisations of a measurement, and statistics over them; [`Moments::measure`] makes it.
///
/// ```
/// let none = fintan::MeasuredMoments::of(Vec::new(), None);
/// assert!(none.rows().is_empty() && none.fits().is_none());
/// ```
#[derive(Debug, Clone)]
pub struct MeasuredMoments {
    realisations: Vec<Realisation>,
    rows: Vec<Row>,
    fits: Option<Fits>,
}

impl<'a> Moments<'a> {
    /// Of a configuration file.
    ///
    /// # Errors
    /// A configuration that is wrong, or has no `[moments]`.
    pub fn of(path: impl AsRef<Path>) -> Result<Self, Error> {
        let moments = Self {
            path: path.as_ref().into(),
            overrides: Vec::new(),
            device: Device::cpu(),
            on_realisation: Box::new(|_, _| ()),
        };
        moments.experiment()?;
        Ok(moments)
    }

    /// Changes a setting of the configuration: `key=value`, such as `moments.batch=64`.
    #[must_use]
    pub fn set(mut self, key_and_value: &str) -> Self {
        self.overrides.push(key_and_value.into());
        self
    }

    /// Measures this number of random networks.
    #[must_use]
    pub fn realisations(self, count: usize) -> Self {
        self.set(&format!("moments.realisations={count}"))
    }

    /// Measures on this device; by default on the CPU.
    #[must_use]
    pub fn device(mut self, device: Device) -> Self {
        self.device = device;
        self
    }

    /// Calls `on_realisation(done, all)` after each realisation.
    #[must_use]
    pub fn on_realisation(mut self, on_realisation: impl FnMut(usize, usize) + 'a) -> Self {
        self.on_realisation = Box::new(on_realisation);
        self
    }

    fn experiment(&self) -> Result<NetworkExperiment, Error> {
        match Subject::load_within(&self.path, &self.overrides, self.device.bound(Held::Layer))? {
            Subject::Network(network) if network.settings.moments.is_some() => Ok(network),
            Subject::Network(_) | Subject::Gan(_) => Err(Error::NoMoments(self.path.clone())),
        }
    }

    /// Draws the networks and measures them.
    ///
    /// # Errors
    /// A configuration with `moments.ntk`, which the program measures; inputs that cannot be read or drawn; too little memory.
    pub fn measure(mut self) -> Result<MeasuredMoments, Error> {
        let experiment = self.experiment()?;
        let plan = Plan::new(&experiment).ok_or_else(|| Error::NoMoments(self.path.clone()))?;
        if plan.settings().ntk.is_some() {
            return Err(Error::MomentsNtk);
        }
        let device = match plan.settings().dtype {
            Precision::F32 => self.device,
            Precision::F64 => self.device.double_precision()?,
        };
        let pool = moments_pool(&experiment)?;
        if let Some(pool) = &pool {
            pool.check(plan.settings().batch)?;
        }
        let at_a_time = realisations_at_a_time(&plan, &device)?;
        let numbers: Vec<u64> = (0..plan.settings().realisations as u64).collect();
        let mut realisations = Vec::new();
        for some in numbers.chunks(at_a_time) {
            for realisation in plan.realise_side_by_side(some, pool.as_ref(), &device.placement)? {
                realisations.push(realisation);
                (self.on_realisation)(realisations.len(), numbers.len());
            }
        }
        Ok(MeasuredMoments::of(realisations, Some(&experiment)))
    }
}

impl MeasuredMoments {
    /// Statistics over realisations; fits need the deep preset of the configuration.
    #[must_use]
    pub fn of(realisations: Vec<Realisation>, experiment: Option<&NetworkExperiment>) -> Self {
        let preset = experiment.and_then(|experiment| experiment.settings.network.deep_preset());
        let rows = rows(&realisations, preset.map(|(unit, _)| unit));
        let fits = preset.map(|(unit, deep)| fits(&realisations, unit, deep.res_depth(unit)));
        Self { realisations, rows, fits }
    }

    /// The realisations, in order.
    #[must_use]
    pub fn realisations(&self) -> &[Realisation] {
        &self.realisations
    }

    /// Every quantity at every point, with its statistics over realisations.
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The statistics of one quantity, such as `log_sensitivity`, at a depth and a point, such as `loc3`.
    #[must_use]
    pub fn row(&self, depth: usize, loc: &str, quantity: &str) -> Option<&Row> {
        self.rows.iter().find(|row| (row.depth, row.loc.as_str(), row.quantity) == (depth, loc, quantity))
    }

    /// Laws fitted to depth, of the presets `vanilla`, `bn_ff` and `bn_res`.
    #[must_use]
    pub fn fits(&self) -> Option<&Fits> {
        self.fits.as_ref()
    }
}

/// The data set that batches are chosen from, where there is one.
///
/// # Errors
/// Files that cannot be read or do not fit the network.
pub fn moments_pool(experiment: &NetworkExperiment) -> Result<Option<Pool>, Error> {
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

/// Inputs of an array file, by the name of the array or the only one.
fn array(file: &Path, name: Option<&str>, shape: Shape) -> Result<Pool, Error> {
    let wrong = |message: String| Error::MomentsInputs { path: file.into(), message };
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

/// Inputs of a source of images.
fn images(source: &DataSource, shape: Shape) -> Result<Pool, Error> {
    let wanted = image_of(shape).expect("checked to be square images");
    let images = Images::load(source, &wanted, free_memory())?;
    // Channels, rows, columns: the order in which an image is a vector.
    let positions = images.size * images.size;
    let value =
        |image: &[u8], at: usize| f32::from(image[at % positions * images.channels + at / positions]) / 127.5 - 1.0;
    let values = (0..images.len()).flat_map(|i| (0..shape.len()).map(move |at| (i, at)));
    let values = values.map(|(i, at)| value(images.bytes(i), at)).collect();
    Ok(Pool { values, shape })
}

/// Realisations side by side: one a thread as far as memory reaches, and one after another on a GPU.
///
/// # Errors
/// [`Error::RealisationMemory`] if not even one fits.
pub fn realisations_at_a_time(plan: &Plan, device: &Device) -> Result<usize, Error> {
    if device.is_gpu() {
        return Ok(1);
    }
    let Some(free) = free_memory() else { return Ok(threads()) };
    let most = (free / plan.bytes()) as usize;
    if most == 0 {
        return Err(Error::RealisationMemory { needed: plan.bytes() / 1e9, free: free / 1e9 });
    }
    Ok(most.min(threads()))
}
