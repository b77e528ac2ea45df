#!/usr/bin/env python3
"""Metrics of small sets by NumPy and SciPy: the oracle of `crates/metrics/tests`.

    python3 make_metric_cases.py > metric_cases.json        (needs numpy and scipy)

Written from the papers: matrix roots by Schur decomposition, nearest neighbours by a k-d tree, windows by two-dimensional
convolution, spectra by FFT. None of these is how the program does it.
"""
import json

import numpy as np
from scipy.linalg import sqrtm
from scipy.signal import convolve2d
from scipy.spatial import cKDTree
from scipy.stats import wasserstein_distance

rng = np.random.default_rng(0)


def frechet(a, b):
    ca, cb = np.cov(a.T), np.cov(b.T)
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(ca + cb - 2 * sqrtm(ca @ cb).real))


def kernel_distance(a, b):
    k = lambda x, y: (x @ y.T / x.shape[1] + 1) ** 3
    m, n = len(a), len(b)
    off = lambda g: g.sum() - np.trace(g)
    return float(off(k(a, a)) / (m * (m - 1)) + off(k(b, b)) / (n * (n - 1)) - 2 * k(a, b).mean())


def precision_recall(data, samples, k=3):
    def share(of, points):
        radius = cKDTree(of).query(of, k + 1)[0][:, -1]
        return float(np.mean([any(np.linalg.norm(p - q) <= r for q, r in zip(of, radius)) for p in points]))
    return share(data, samples), share(samples, data)


def sliced(a, b, directions):
    return float(np.mean([wasserstein_distance(a @ d, b @ d) for d in directions]))


WINDOW = np.exp(-(np.arange(11) - 5.0) ** 2 / (2 * 1.5**2))
WINDOW = np.outer(WINDOW, WINDOW) / WINDOW.sum() ** 2
WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])


def ms_ssim(x):
    """x: [N, rows, columns, channels] in [-1, 1]."""
    x = (x + 1) / 2
    scales = max(m for m in range(1, 6) if x.shape[1] // 2 ** (m - 1) >= 11)
    weights = WEIGHTS[:scales] / WEIGHTS[:scales].sum()
    f = lambda u: convolve2d(u, WINDOW, mode="valid")
    half, values = len(x) // 2, []
    for i in range(half):
        of_channels = []
        for c in range(x.shape[3]):
            a, b, value = x[i, :, :, c], x[i + half, :, :, c], 1.0
            for j in range(scales):
                ma, mb = f(a), f(b)
                va, vb, cov = f(a * a) - ma**2, f(b * b) - mb**2, f(a * b) - ma * mb
                cs = (2 * cov + 0.03**2) / (va + vb + 0.03**2)
                l = (2 * ma * mb + 0.01**2) / (ma**2 + mb**2 + 0.01**2)
                value *= max((l * cs if j == scales - 1 else cs).mean(), 0) ** weights[j]
                n = a.shape[0] // 2
                a, b = (u[: 2 * n, : 2 * n].reshape(n, 2, n, 2).mean((1, 3)) for u in (a, b))
            of_channels.append(value)
        values.append(np.mean(of_channels))
    return float(np.mean(values)), scales


def pixels(x):
    half, n = len(x) // 2, x.shape[1]
    flat = x.reshape(len(x), -1)
    grey = x.mean(3)
    grey = grey - grey.mean((1, 2), keepdims=True)
    power = (np.abs(np.fft.fft2(grey)) ** 2).sum(0)
    at = np.zeros_like(power, bool)
    at[n // 2, :] = at[:, n // 2] = True
    phase = lambda p: float((grey.reshape(len(x), n // p, p, n // p, p).mean((1, 3)) ** 2).mean() / (grey**2).mean())
    variance = x.var(0, ddof=1).mean(2)
    inside = np.zeros_like(variance, bool)
    inside[2:-2, 2:-2] = True
    return dict(
        correlation=float(np.mean([np.corrcoef(flat[i], flat[i + half])[0, 1] for i in range(half)])),
        std=float(x.std(0, ddof=1).mean()), nyquist=float(power[at].sum() / power.sum()),
        phase2=phase(2), phase8=phase(8), border=float(variance[~inside].mean() / variance[inside].mean()))


def images(n, size, channels, shared):
    """Bytes: smooth fields, part of them shared by all, with noise."""
    def field():
        u = rng.normal(size=(size + 6, size + 6, channels))
        for axis in (0, 1):
            u = sum(np.roll(u, s, axis) for s in range(-3, 4)) / np.sqrt(7)
        return u[3:-3, 3:-3]
    common = field()
    x = np.stack([shared * common + (1 - shared) * field() + 0.1 * rng.normal(size=common.shape) for _ in range(n)])
    return np.clip(np.round(127.5 + 60 * x), 0, 255).astype(np.uint8)


def short(x):
    return [float(f"{v:.3f}") for v in np.ravel(x)]


features = []
for m, n, width, shift, mix in ((40, 40, 5, 0.4, 0.8), (37, 52, 7, 0.0, 1.5), (60, 60, 3, 2.0, 1.0)):
    base = rng.normal(size=(width, width)) / np.sqrt(width)
    a = np.round(rng.normal(size=(m, width)) @ base, 3)
    b = np.round(mix * rng.normal(size=(n, width)) @ base + shift * rng.normal(size=width), 3)
    directions = rng.normal(size=(6, width))
    directions = np.round(directions, 3)
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    precision, recall = precision_recall(a, b)
    case = dict(width=width, a=short(a), b=short(b), frechet=frechet(a, b), kernel_distance=kernel_distance(a, b),
                precision=precision, recall=recall)
    if m == n:
        case.update(directions=short(directions), sliced=sliced(a, b, unit))
    features.append(case)

sets = []
for n, size, channels, shared in ((8, 24, 1, 0.5), (4, 45, 3, 0.8), (6, 16, 1, 0.2)):
    x = images(n, size, channels, shared)
    values = x.astype(np.float64) / 127.5 - 1
    value, scales = ms_ssim(values)
    case = dict(size=size, channels=channels, bytes=x.tobytes().hex(), ms_ssim=value, scales=scales)
    if size % 8 == 0:
        case["pixels"] = pixels(values)
    sets.append(case)

print(json.dumps(dict(features=features, images=sets)))
