//! Computes the metrics of samples and of held-out data as records.

use fintan_artifact::{ClassRecord, Metric, MetricBasis, MetricRecord, RefusedMetric};
use fintan_metrics::{
    Directions, MetricError, PATCH, Rows, Samples, Scale, frechet_distance, kernel_distance, modes, ms_ssim, patches,
    precision_recall, sliced_wasserstein,
};

use super::Listener;
use super::features::{Extractor, Seen};

/// Number of random directions of sliced distances.
const DIRECTIONS: usize = 256;

/// Number of patches from each set.
const PATCHES: usize = 16_384;

/// Seed for directions and for the places of patches. All runs use it, so that they can be compared.
const SEED: u64 = 0;

/// The three sets of images, of equal size.
pub(super) struct Sets {
    /// The reference half of the data.
    pub(super) reference: Samples,
    /// The held-out half of the data.
    pub(super) held_out: Samples,
    /// Samples of the generator.
    pub(super) samples: Samples,
}

/// The records so far.
pub(super) struct Measured<'a> {
    pub(super) listener: Listener<'a>,
    pub(super) wanted: Vec<Metric>,
    pub(super) records: Vec<MetricRecord>,
    pub(super) classes: Vec<ClassRecord>,
    pub(super) refused: Vec<RefusedMetric>,
}

/// The fields of a record beside its two numbers.
struct Said<'a> {
    count: usize,
    of: &'a str,
    source: &'a str,
}

impl Measured<'_> {
    fn wants(&self, metric: Metric) -> bool {
        self.wanted.contains(&metric)
    }

    /// Whether a requested metric has this basis.
    pub(super) fn wants_any(&self, basis: MetricBasis) -> bool {
        self.wanted.iter().any(|metric| metric.basis() == basis)
    }

    fn push(&mut self, metric: Metric, [data, samples]: [f64; 2], said: &Said) {
        let ratio = (metric.is_compared_by_ratio() && data.abs() > 1e-12).then(|| samples / data);
        self.records.push(MetricRecord {
            metric: metric.name().into(),
            data,
            samples,
            ratio,
            count: said.count,
            of: said.of.into(),
            source: said.source.into(),
        });
    }

    pub(super) fn refuse(&mut self, metric: Metric, reason: &dyn std::fmt::Display) {
        self.refused.push(RefusedMetric { metric: metric.name().into(), reason: reason.to_string() });
    }

    /// Stores two numbers as a record, or the reason why they are missing.
    fn take(&mut self, metric: Metric, found: Result<[f64; 2], MetricError>, said: &Said) {
        match found {
            Ok(pair) => self.push(metric, pair, said),
            Err(e) => self.refuse(metric, &e),
        }
    }

    /// Metrics of pixels.
    pub(super) fn pixels(&mut self, sets: &Sets) {
        use Metric::{Border, Correlation, MsSsim, Nyquist, PatchSwd, Phase2, Phase8, Std, Swd};
        let Sets { reference, held_out, samples } = sets;
        let (n, listener) = (samples.len(), self.listener);
        let (data, drawn) = (held_out.measure(), samples.measure());
        let pairs = Said { count: n / 2, of: "pairs", source: "pixels" };
        let images = Said { count: n, of: "images", source: "pixels" };
        if self.wants(Correlation) {
            self.push(Metric::Correlation, [data.correlation, drawn.correlation], &pairs);
        }
        if self.wants(MsSsim) {
            let tick = listener.work("MS-SSIM", n / 2 * 2);
            match [held_out, samples].map(|set| ms_ssim(set, &tick)) {
                [Ok(a), Ok(b)] => {
                    let source = format!("pixels, {} scale{}", a.scales, if a.scales == 1 { "" } else { "s" });
                    self.push(Metric::MsSsim, [a.value, b.value], &Said { source: &source, ..pairs });
                }
                [Err(e), _] | [_, Err(e)] => self.refuse(Metric::MsSsim, &e),
            }
        }
        if self.wants(Std) {
            self.push(Metric::Std, [data.std, drawn.std], &images);
        }
        let source = format!("pixels, {DIRECTIONS} directions");
        if self.wants(Swd) {
            let width = reference.size * reference.size * reference.channels;
            let found = sliced(reference, [held_out, samples].map(|set| set.values.as_slice()), width, listener);
            self.take(Metric::Swd, found, &Said { count: n, of: "images", source: &source });
        }
        if self.wants(PatchSwd) {
            let width = PATCH * PATCH * reference.channels;
            let cut = |set: &Samples| patches(set, PATCHES, SEED);
            let found = cut(reference).and_then(|reference_patches| {
                let (a, b) = (cut(held_out)?, cut(samples)?);
                let of = Samples { values: reference_patches, ..*reference };
                sliced(&of, [&a, &b], width, listener)
            });
            let source = format!("{PATCH}x{PATCH} patches, {DIRECTIONS} directions");
            self.take(Metric::PatchSwd, found, &Said { count: PATCHES, of: "patches", source: &source });
        }
        for (metric, pair, period) in [
            (Nyquist, [data.nyquist, drawn.nyquist], 2),
            (Phase2, [data.phase2, drawn.phase2], 2),
            (Phase8, [data.phase8, drawn.phase8], 8),
        ] {
            if self.wants(metric) && !samples.size.is_multiple_of(period) {
                let size = samples.size;
                self.refuse(metric, &format!("images of {size}x{size} hold no whole number of periods of {period}"));
            } else if self.wants(metric) {
                self.push(metric, pair, &images);
            }
        }
        if self.wants(Border) && samples.size < 5 {
            self.refuse(Metric::Border, &format!("images of {0}x{0} are all border", samples.size));
        } else if self.wants(Border) {
            self.push(Metric::Border, [data.border, drawn.border], &images);
        }
    }

    /// Metrics of features.
    pub(super) fn features(&mut self, extractor: &Extractor, data: &[Seen; 2], samples: &Seen) {
        let [(reference, _), (held_out, _)] = data;
        let scale = Scale::of(reference);
        let [reference, held_out, samples] = [reference, held_out, &samples.0].map(|set| scale.apply(set));
        let (n, listener) = (samples.len(), self.listener);
        let source = extractor.name(reference.width);
        let said = Said { count: n, of: "images", source: &source };
        if self.wants(Metric::Fid) {
            let both = |()| Ok([frechet_distance(&reference, &held_out)?, frechet_distance(&reference, &samples)?]);
            self.take(Metric::Fid, both(()), &said);
        }
        if self.wants(Metric::Kid) {
            let tick = listener.work("KID", 6 * n);
            let of = |set| kernel_distance(&reference, set, &tick);
            let found = of(&held_out).and_then(|a| Ok([a, of(&samples)?]));
            self.take(Metric::Kid, found, &said);
        }
        if self.wants(Metric::Precision) || self.wants(Metric::Recall) {
            let tick = listener.work("precision, recall", 8 * n);
            let of = |set| precision_recall(&reference, set, &tick);
            match of(&held_out).and_then(|a| Ok([a, of(&samples)?])) {
                Ok([a, b]) => {
                    self.push(Metric::Precision, [a.precision, b.precision], &said);
                    self.push(Metric::Recall, [a.recall, b.recall], &said);
                }
                Err(e) => {
                    self.refuse(Metric::Precision, &e);
                    self.refuse(Metric::Recall, &e);
                }
            }
        }
    }

    /// Metrics of classes; `names` are the names of the classes.
    pub(super) fn modes(&mut self, source: &str, shares: &[f64], names: &[String], [data, samples]: [&[usize]; 2]) {
        let [a, b] = [data, samples].map(|classes| modes(classes, shares));
        let said = Said { count: samples.len(), of: "images", source };
        self.push(Metric::Classes, [a.hit as f64, b.hit as f64], &said);
        self.push(Metric::ClassDivergence, [a.divergence, b.divergence], &said);
        let each = names.iter().zip(shares).zip(b.counts);
        self.classes =
            each.map(|((class, &data), samples)| ClassRecord { class: class.clone(), data, samples }).collect();
    }
}

fn sliced(reference: &Samples, others: [&[f32]; 2], width: usize, listener: Listener) -> Result<[f64; 2], MetricError> {
    let tick = listener.work("sliced", DIRECTIONS);
    let directions = Directions::draw(SEED, DIRECTIONS, width);
    let rows = |values| Rows { values, width };
    let found = sliced_wasserstein(rows(&reference.values), &others.map(rows), &directions, &tick)?;
    Ok([found[0], found[1]])
}
