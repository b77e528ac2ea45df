#!/usr/bin/env python3
"""Fixed points, depth scales and critical weights of mean-field theory: the oracle of `crates/theory/tests/depth.rs`.

    python3 make_mean_field_cases.py > mean_field_cases.json        (needs numpy; seconds)

The variance map is V(q) = w E[f(sqrt(q) Z)^2] + b and the correlation map C(c) = (w E[f(u) f(v)] + b) / q*, where u and v have
variance q* and correlation c. Expectations are Gauss-Legendre sums on intervals of length 1/2; in two variables on a tensor grid of
u and of v given u, which are other coordinates than the program's. q* is the limit of iterating V, c* the zero of C(c) - c below 1,
found by bisection. Slopes are expectations of derivatives: V'(q) by f', C'(c) = w E[f'(u) f'(v)].
"""
import json
import math

import numpy as np

erf = np.vectorize(math.erf)
FUNCTIONS = {
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "erf": (erf, lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x)),
}
NODES, WEIGHTS = np.polynomial.legendre.leggauss(10)
EDGES = np.arange(-9, 9.01, 0.5)
Z = np.concatenate([(a + b) / 2 + (b - a) / 2 * NODES for a, b in zip(EDGES, EDGES[1:])])
P = np.tile(WEIGHTS / 4, len(EDGES) - 1) * np.exp(-Z * Z / 2) / math.sqrt(2 * math.pi)


def bisect(g, low, high):
    """Where g changes its sign from that at low."""
    sign = g(low) > 0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if (g(middle) > 0) == sign else (low, middle)
    return (low + high) / 2


def fixed_variance(f, w, b):
    variance = lambda q: w * float(P @ f(math.sqrt(q) * Z) ** 2) + b
    # Above the fixed point the map lies below the diagonal: tanh and erf are bounded and b is positive.
    return bisect(lambda q: variance(q) - q, 1e-12, w + b + 1)


def slope_at_one(d, w, q): return w * float(P @ d(math.sqrt(q) * Z) ** 2)


def point(name, w, b):
    f, d = FUNCTIONS[name]
    q = fixed_variance(f, w, b)
    u = math.sqrt(q) * Z
    chi = slope_at_one(d, w, q)
    # d/dq E f(sqrt(q) Z)^2 = E f f' Z / sqrt(q)
    chi_q = w * float(P @ (f(u) * d(u) * Z)) / math.sqrt(q)

    def both(g, c):
        v = math.sqrt(q) * (c * Z[:, None] + math.sqrt(1 - c * c) * Z[None, :])
        return float((P * g(u)) @ (g(v) @ P))

    c, chi_c = 1.0, chi
    if chi > 1:
        c = bisect(lambda c: (w * both(f, c) + b) / q - c, -0.5, 1 - 1e-6)
        chi_c = w * both(d, c)
    return {"function": name, "weights": w, "biases": b, "q": q, "chi": chi, "c": c, "chi_c": chi_c, "chi_q": chi_q,
            "variance_depth": -1 / math.log(chi_q), "correlation_depth": -1 / math.log(chi_c)}


def critical(name, b):
    f, d = FUNCTIONS[name]
    w = bisect(lambda w: slope_at_one(d, w, fixed_variance(f, w, b)) - 1, 0.1, 10)
    return {"function": name, "biases": b, "weights": w}


def main():
    points = [point(*case) for case in
              [("tanh", 1.0, 0.05), ("tanh", 1.5, 0.05), ("tanh", 2.5, 0.05), ("tanh", 4.0, 0.05), ("erf", 1.0, 0.1), ("erf", 3.0, 0.1)]]
    line = [critical(*case) for case in [("tanh", 0.05), ("tanh", 0.3), ("erf", 0.05), ("erf", 0.3)]]
    print(json.dumps({"points": points, "critical": line}, indent=1))


if __name__ == "__main__":
    main()
