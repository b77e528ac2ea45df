#!/usr/bin/env python3
"""Infinite-width numbers in high precision: the oracle of `crates/theory/tests`.

    python3 make_infinite_cases.py > infinite_cases.json        (needs mpmath; half an hour)

duals    E[f(u) f(v)], E[(f(u) - f(v))^2]/2 and E[f'(u) f'(v)] of raw functions, by nested quadrature in u and then v | u,
         cut at the kinks: other coordinates than the program's.
dense    Sigma and Theta of fully connected nets on the sphere |x|^2 = n, by the recursion at 40 digits.
images   Sigma and Theta between all positions of two inputs of a small generator with a convolution at its end, with every
         tap of every position written out.
fixed    q*, chi_1 and d q'/d q at q* of tanh, the last from the second derivative.
"""
import json
from mpmath import mp, mpf, quad, sqrt, pi, erf, exp, sin, cos, tanh, acos, asin, log

mp.dps = 30
ZERO = mpf(0)
SELU = (mpf("1.6732632423543772848170429916717"), mpf("1.0507009873554804934193349852946"))
cdf = lambda x: (1 + erf(x / sqrt(2))) / 2
density = lambda x: exp(-x * x / 2) / sqrt(2 * pi)
sigmoid = lambda x: 1 / (1 + exp(-x))

FUNCTIONS = {
    "relu": (lambda x: max(x, ZERO), lambda x: mpf(x > 0), True),
    "leaky_relu": (lambda x: x if x > 0 else x / 5, lambda x: mpf(1) if x > 0 else mpf(1) / 5, True),
    "abs": (abs, lambda x: mpf(1) if x > 0 else mpf(-1), True),
    "tanh": (tanh, lambda x: 1 - tanh(x) ** 2, False),
    "erf": (erf, lambda x: 2 / sqrt(pi) * exp(-x * x), False),
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * sigmoid(-x), False),
    "gelu": (lambda x: x * cdf(x), lambda x: cdf(x) + x * density(x), False),
    "silu": (lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * sigmoid(-x)), False),
    "elu": (lambda x: x if x > 0 else exp(x) - 1, lambda x: mpf(1) if x > 0 else exp(x), True),
    "selu": (lambda x: SELU[1] * (x if x > 0 else SELU[0] * (exp(x) - 1)),
             lambda x: SELU[1] * (mpf(1) if x > 0 else SELU[0] * exp(x)), True),
    "softplus": (lambda x: log(1 + exp(x)), sigmoid, False),
    "sin": (sin, cos, False),
    "identity": (lambda x: x, lambda x: mpf(1), False),
}


def expect(g, q1, q2, k, kinked):
    """E g(u, v): u first, then v given u, both in units of their own spread."""
    spread = sqrt(q2 - k * k / q1)

    def inner(z):
        u = sqrt(q1) * z
        cuts = [-10, -5, 0, 5, 10]
        if kinked: cuts = sorted(set(cuts) | ({-k / q1 * u / spread} if abs(k / q1 * u / spread) < 10 else set()))
        return density(z) * quad(lambda y: density(y) * g(u, k / q1 * u + spread * y), cuts)

    return quad(inner, [-10, -5, -2, 0, 2, 5, 10])


def duals():
    mp.dps = 17
    found = []
    for name, (f, d, kinked) in FUNCTIONS.items():
        for q1, q2, k in [("0.7", "1.9", "0.6"), ("1", "1", "-0.8"), ("1.3", "1.3", "1.27")]:
            q1, q2, k = mpf(q1), mpf(q2), mpf(k)
            found.append({
                "function": name, "q1": float(q1), "q2": float(q2), "covariance": float(k),
                "value": float(expect(lambda u, v: f(u) * f(v), q1, q2, k, kinked)),
                "gap": float(expect(lambda u, v: (f(u) - f(v)) ** 2 / 2, q1, q2, k, kinked)),
                "slope": float(expect(lambda u, v: d(u) * d(v), q1, q2, k, kinked)),
            })
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
