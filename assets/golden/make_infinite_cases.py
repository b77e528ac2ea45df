#!/usr/bin/env python3
"""Infinite-width numbers in high precision: the oracle of `crates/theory/tests`.

    python3 make_infinite_cases.py > infinite_cases.json        (needs numpy and mpmath; five minutes)

duals    E[f(u) f(v)], E[(f(u) - f(v))^2]/2 and E[f'(u) f'(v)] of raw functions, by nested Gauss-Legendre in u and then
         v | u, cut at the kinks: other coordinates than the program's.
dense    Sigma and Theta of fully connected nets on the sphere |x|^2 = n, by the recursion at 40 digits.
images   Sigma and Theta between all positions of two inputs of a small generator with a convolution at its end, with every
         tap of every position written out.
fixed    q*, chi_1 and d q'/d q at q* of tanh, the last from the second derivative.
"""
import json
import math

import numpy as np
from mpmath import mp, mpf, quad, sqrt, pi, exp, sin, cos, tanh, acos, asin

mp.dps = 30
ZERO = mpf(0)
density = lambda x: exp(-x * x / 2) / sqrt(2 * pi)

SELU = (1.6732632423543772848, 1.0507009873554804934)
verf = np.vectorize(math.erf)
cdf = lambda x: (1 + verf(x / math.sqrt(2))) / 2
normal = lambda x: np.exp(-x * x / 2) / math.sqrt(2 * math.pi)
sigmoid = lambda x: 1 / (1 + np.exp(-x))
tanh_argument = lambda x: math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)

FUNCTIONS = {
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0),
    "leaky_relu": (lambda x: np.where(x > 0, x, x / 5), lambda x: np.where(x > 0, 1, 0.2)),
    "abs": (np.abs, np.sign),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "erf": (verf, lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x)),
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * sigmoid(-x)),
    "gelu": (lambda x: x * cdf(x), lambda x: cdf(x) + x * normal(x)),
    "gelu_tanh": (lambda x: x * (1 + np.tanh(tanh_argument(x))) / 2,
                  lambda x: (1 + np.tanh(tanh_argument(x))) / 2
                  + x / np.cosh(tanh_argument(x)) ** 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2) / 2),
    "silu": (lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * sigmoid(-x))),
    "mish": (lambda x: x * np.tanh(np.logaddexp(0, x)),
             lambda x: np.tanh(np.logaddexp(0, x)) + x * sigmoid(x) / np.cosh(np.logaddexp(0, x)) ** 2),
    "elu": (lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), lambda x: np.where(x > 0, 1, np.exp(np.minimum(x, 0)))),
    "selu": (lambda x: SELU[1] * np.where(x > 0, x, SELU[0] * np.expm1(np.minimum(x, 0))),
             lambda x: SELU[1] * np.where(x > 0, 1, SELU[0] * np.exp(np.minimum(x, 0)))),
    "softplus": (lambda x: np.logaddexp(0, x), sigmoid),
    "sin": (np.sin, np.cos),
    "identity": (lambda x: x, lambda x: 1.0 + 0 * x),
}
NODES, WEIGHTS = np.polynomial.legendre.leggauss(30)


def pieces(cuts):
    """Nodes and weights under a standard normal, between cuts."""
    nodes = [(a + b) / 2 + (b - a) / 2 * NODES for a, b in zip(cuts, cuts[1:])]
    weights = [(b - a) / 2 * WEIGHTS for a, b in zip(cuts, cuts[1:])]
    z = np.concatenate(nodes)
    return z, np.concatenate(weights) * normal(z)


def expect(gs, q1, q2, k):
    """E g(u, v): u first, then v given u, both in units of their own spread, cut where u = 0 and v = 0."""
    spread = math.sqrt(q2 - k * k / q1)
    grid = np.arange(-10, 10.1, 0.5)
    total = np.zeros(len(gs))
    # Where v's kink lies far out, u's density at a v of any size changes fast: fine pieces in u too.
    for z, w in zip(*pieces(np.arange(-10, 10.01, 0.1))):
        u = math.sqrt(q1) * z
        mean = k / q1 * u
        kink = -mean / spread
        y, weights = pieces(np.sort(np.append(grid, kink)) if abs(kink) < 10 else grid)
        total += w * np.array([(weights * g(u, mean + spread * y)).sum() for g in gs])
    return total


def duals():
    found = []
    for name, (f, d) in FUNCTIONS.items():
        for q1, q2, k in [(0.7, 1.9, 0.6), (1.0, 1.0, -0.8), (1.3, 1.3, 1.27)]:
            one = lambda g: lambda u: g(np.array([u]))
            gs = [lambda u, v: one(f)(u) * f(v), lambda u, v: (one(f)(u) - f(v)) ** 2 / 2, lambda u, v: one(d)(u) * d(v)]
            value, gap, slope = expect(gs, q1, q2, k)
            found.append({"function": name, "q1": q1, "q2": q2, "covariance": k, "value": value, "gap": gap, "slope": slope})
    return found


def dual(name, q1, q2, k):
    """Closed forms of raw functions."""
    if name == "relu":
        theta = acos(min(mpf(1), max(mpf(-1), k / sqrt(q1 * q2))))
        return sqrt(q1 * q2) / (2 * pi) * (sin(theta) + (pi - theta) * cos(theta)), (pi - theta) / (2 * pi)
    if name == "erf":
        root = (1 + 2 * q1) * (1 + 2 * q2)
        return 2 / pi * asin(2 * k / sqrt(root)), 4 / pi / sqrt(root - 4 * k * k)
    if name == "sin":
        damp = exp(-(q1 + q2) / 2)
        return damp * (exp(k) - exp(-k)) / 2, damp * (exp(k) + exp(-k)) / 2
    raise KeyError(name)


def scaling(name, kind):
    """Centre and scale under a standard normal."""
    mean = 1 / sqrt(2 * pi) if name == "relu" else ZERO
    second = dual(name, mpf(1), mpf(1), mpf(1))[0]
    return {"raw": (ZERO, mpf(1)), "standardized": (ZERO, sqrt(second)), "normalized": (mean, sqrt(second - mean**2))}[kind]


def activated(name, kind, q1, q2, k):
    m, s = scaling(name, kind)
    mean = lambda q: sqrt(q / (2 * pi)) if name == "relu" else ZERO
    value, slope = dual(name, q1, q2, k)
    return (value - m * (mean(q1) + mean(q2)) + m * m) / s**2, slope / s**2


def dense():
    mp.dps = 40
    found = []
    for name, kind in [("relu", "standardized"), ("relu", "normalized"), ("relu", "raw"), ("erf", "standardized"), ("sin", "raw")]:
        for beta in ["0", "0.1", "0.5"]:
            for c in ["-0.5", "0", "0.5", "0.999999"]:
                b2 = mpf(beta) ** 2
                own, cross = b2 + (1 - b2), b2 + (1 - b2) * mpf(c)
                theta_own, theta = own, cross
                for depth in range(2, 41):
                    (s, d), (s_own, d_own) = activated(name, kind, own, own, cross), activated(name, kind, own, own, own)
                    cross, own = b2 + (1 - b2) * s, b2 + (1 - b2) * s_own
                    theta, theta_own = (1 - b2) * d * theta + cross, (1 - b2) * d_own * theta_own + own
                    if depth in (2, 4, 40):
                        found.append({"function": name, "scaling": kind, "beta": float(beta), "c": float(c), "layers": depth,
                                      "covariance": float(cross), "ntk": float(theta), "own_ntk": float(theta_own),
                                      "own_minus_covariance": float(own - cross)})
    return found


def taps(layer, p, size_in, size_out):
    """(tap, parent) of a position, one axis."""
    k, s, pad = layer["kernel"], layer["stride"], layer["padding"]
    if layer["kind"] == "deconv": return [(t, (p + pad - t) // s) for t in range(k) if (p + pad - t) % s == 0 and 0 <= (p + pad - t) // s < size_in]
    return [(t, s * p + t - pad) for t in range(k) if 0 <= s * p + t - pad < size_in]


def images():
    mp.dps = 30
    layers = [dict(kind="deconv", kernel=3, stride=1, padding=0), dict(kind="deconv", kernel=4, stride=2, padding=1),
              dict(kind="deconv", kernel=5, stride=3, padding=1), dict(kind="conv", kernel=3, stride=2, padding=1)]
    sizes = [1, 3, 6, 18, 9]
    found = []
    for name, kind in [("relu", "raw"), ("erf", "normalized")]:
        for graph in (False, True):
            b2 = mpf("0.09")
            state = {}                                  # pair of inputs -> position pairs -> (Sigma or A, Theta or T)
            inputs = {"xx": mpf("1.2"), "xy": mpf("0.5"), "yy": mpf("0.8")}
            for pair, a in inputs.items(): state[pair] = {((0, 0), (0, 0)): (a, ZERO)}
            for l, layer in enumerate(layers):
                size_in, size_out = sizes[l], sizes[l + 1]
                if layer["kind"] == "conv": mean_count = mpf(layer["kernel"] ** 2)
                else:
                    most = max(len(taps(layer, p, size_in, size_out)) for p in range(size_out))
                    mean_count = min(mpf(layer["kernel"]) / layer["stride"], most) ** 2
                positions = [(i, j) for i in range(size_out) for j in range(size_out)]
                reach = {(i, j): {(t, r): (q, w) for t, q in taps(layer, i, size_in, size_out) for r, w in taps(layer, j, size_in, size_out)}
                         for i, j in positions}
                count = {p: mpf(len(reach[p])) if graph and layer["kind"] == "deconv" else mean_count for p in positions}
                for pair, before in state.items():
                    after = {}
                    for p in positions:
                        for q in positions:
                            shared = [before[reach[p][t], reach[q][t]] for t in reach[p] if t in reach[q]]
                            w = (1 - b2) / sqrt(count[p] * count[q])
                            a, t = sum((v[0] for v in shared), ZERO), sum((v[1] for v in shared), ZERO)
                            after[p, q] = (b2 + w * a, b2 + w * (a + t))
                    state[pair] = after
                if l + 1 < len(layers):
                    diagonal = {side: {p: state[side * 2][p, p][0] for p in positions} for side in "xy"}
                    for pair in state:
                        for p in positions:
                            for q in positions:
                                sigma, theta = state[pair][p, q]
                                value, slope = activated(name, kind, diagonal[pair[0]][p], diagonal[pair[1]][q], sigma)
                                state[pair][p, q] = (value, slope * theta)
            order = [(i, j) for i in range(sizes[-1]) for j in range(sizes[-1])]
            rows = [order[0], order[4], order[40], order[80]]
            found.append({"function": name, "scaling": kind, "graph": graph, "beta": 0.3,
                          "x": [1.2**0.5], "covariances": {k: float(v) for k, v in inputs.items()},
                          "covariance": {pair: [float(state[pair][p, q][0]) for p in rows for q in order] for pair in ("xx", "xy")},
                          "ntk": {pair: [float(state[pair][p, q][1]) for p in rows for q in order] for pair in ("xx", "xy")}})
    return found


def fixed():
    mp.dps = 25
    mean = lambda g: quad(lambda z: density(z) * g(z), [-12, -6, -3, -1, 0, 1, 3, 6, 12])
    d = lambda x: 1 - tanh(x) ** 2
    found = []
    for w, b in [("1", "0.05"), ("2.5", "0.05"), ("4", "0.05"), ("1.3", "0")]:
        w, b = mpf(w), mpf(b)
        q = mp.findroot(lambda q: w * mean(lambda z: tanh(sqrt(q) * z) ** 2) + b - q, (mpf("0.1"), mpf(3)), solver="anderson")
        slope = mean(lambda z: d(sqrt(q) * z) ** 2)
        bend = mean(lambda z: -2 * tanh(sqrt(q) * z) ** 2 * d(sqrt(q) * z))
        found.append({"weights": float(w), "biases": float(b), "q": float(q), "chi": float(w * slope), "chi_q": float(w * (slope + bend))})
    return found


if __name__ == "__main__":
    print(json.dumps({"duals": duals(), "dense": dense(), "images": images(), "fixed": fixed()}))
