//! GAN training, layer-dependent learning rates, checkpoints, sample measures
