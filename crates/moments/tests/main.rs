//! Moments of signal and noise, against oracles.
