#!/usr/bin/env python3
"""Outputs of small networks in float64, by explicit loops: the oracle of `crates/net/tests/forward.rs`.

    python3 make_network_cases.py > network_cases.json        (needs numpy)

Written apart from the Rust code and from any framework: convolutions are sums over positions and taps, norms follow
their formulas, nonlinearities are scaled by constants from a quadrature of their own. Weights are in PyTorch's
layouts.
"""
import json
import math

import numpy as np

SELU = (1.6732632423543772, 1.0507009873554805)
erf = np.vectorize(math.erf)


def raw(a, x):
    x = a.get("gain", 1.0) * x
    f = a["function"]
    slope = a.get("slope", 1.0 if f == "elu" else 0.2)
    if f == "relu": return np.where(x > 0, x, 0.0)
    if f == "leaky_relu": return np.where(x > 0, x, slope * x)
    if f == "abs": return abs(x)
    if f == "tanh": return np.tanh(x)
    if f == "erf": return erf(x)
    if f == "sigmoid": return 1 / (1 + np.exp(-x))
    if f == "gelu": return x * 0.5 * (1 + erf(x / math.sqrt(2)))
    if f == "gelu_tanh": return x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    if f == "silu": return x / (1 + np.exp(-x))
    if f == "mish": return x * np.tanh(np.logaddexp(0, x))
    if f == "elu": return np.where(x > 0, x, slope * np.expm1(x))
    if f == "selu": return SELU[1] * np.where(x > 0, x, SELU[0] * np.expm1(x))
    if f == "softplus": return np.logaddexp(0, x)
    if f == "sin": return np.sin(x)
    if f == "identity": return x
    raise ValueError(f)


def moment(g):
    """E g(Z) by Gauss-Legendre on unit pieces of [-12, 0] and [0, 12]."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    total = 0.0
    for left in range(-12, 12):
        z = left + 0.5 + 0.5 * nodes
        total += float(np.sum(0.5 * weights * g(z) * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)))
    return total


def activate(a, x):
    scaling = a.get("scaling", "raw")
    if scaling == "raw": return raw(a, x)
    centre = {"standardized": 0.0, "normalized": moment(lambda z: raw(a, z)) if scaling == "normalized" else 0.0,
              "partial": a.get("mu", 0.0)}[scaling]
    scale = math.sqrt(moment(lambda z: (raw(a, z) - centre) ** 2))
    return (raw(a, x) - centre) / scale


def pair(v): return v if isinstance(v, list) else [v, v]


class Net:
    def __init__(self, case, rng):
        self.case, self.rng, self.tensors, self.index = case, rng, {}, 0
        self.kind = case["parametrization"] if isinstance(case["parametrization"], str) else next(iter(case["parametrization"]))
        self.beta = None if self.kind == "standard" else case["parametrization"][self.kind]["beta"]

    def parameters(self, weight, bias, norm=False):
        i, r = self.index, self.rng
        self.index += 1
        self.tensors[f"{i}.weight"] = 1 + 0.3 * r.standard_normal(weight) if norm else r.standard_normal(weight)
        self.tensors[f"{i}.bias"] = 0.5 * r.standard_normal(bias)
        return self.tensors[f"{i}.weight"], self.tensors[f"{i}.bias"]

    def scaled(self, y, bias, fan_in, shape):
        if self.kind == "standard": return y + bias.reshape(shape)
        return math.sqrt(1 - self.beta**2) * y / np.sqrt(fan_in) + self.beta * bias.reshape(shape)

    def run(self, layers, x):
        for layer in layers:
            (name, a), = layer.items()
            x = getattr(self, name)(a, x)
        return x

    def dense(self, a, x):
        w, b = self.parameters((a["out"], x.shape[1]), a["out"])
        return self.scaled(x @ w.T, b, x.shape[1], (1, -1))

    def conv(self, a, x):
        (kh, kw), (sh, sw), (ph, pw) = (pair(a.get(k, d)) for k, d in (("kernel", 0), ("stride", 1), ("padding", 0)))
        n, c, h, w = x.shape
        weight, b = self.parameters((a["out"], c, kh, kw), a["out"])
        y = np.zeros((n, a["out"], (h + 2 * ph - kh) // sh + 1, (w + 2 * pw - kw) // sw + 1), np.result_type(x, weight))
        for p in range(y.shape[2]):
            for q in range(y.shape[3]):
                for u in range(kh):
                    for v in range(kw):
                        i, j = p * sh + u - ph, q * sw + v - pw
                        if 0 <= i < h and 0 <= j < w: y[:, :, p, q] += x[:, :, i, j] @ weight[:, :, u, v].T
        return self.scaled(y, b, c * kh * kw, (1, -1, 1, 1))

    def deconv(self, a, x):
        (kh, kw), (sh, sw), (ph, pw), (oh, ow) = (pair(a.get(k, d)) for k, d in (("kernel", 0), ("stride", 1), ("padding", 0), ("output_padding", 0)))
        x = x.reshape(*x.shape[:2], 1, 1) if x.ndim == 2 else x
        n, c, h, w = x.shape
        weight, b = self.parameters((c, a["out"], kh, kw), a["out"])
        y = np.zeros((n, a["out"], (h - 1) * sh - 2 * ph + kh + oh, (w - 1) * sw - 2 * pw + kw + ow), np.result_type(x, weight))
        parents = np.zeros(y.shape[2:])
        for i in range(h):
            for j in range(w):
                for u in range(kh):
                    for v in range(kw):
                        p, q = i * sh + u - ph, j * sw + v - pw
                        if 0 <= p < y.shape[2] and 0 <= q < y.shape[3]:
                            y[:, :, p, q] += x[:, :, i, j] @ weight[:, :, u, v]
                            parents[p, q] += 1
        if self.kind == "graph":
            fan_in = c * np.maximum(parents, 1)
        else:
            most = [max(sum(0 <= p + pad - s * i < k for i in range(size)) for p in range(length))
                    for size, length, k, s, pad in ((h, y.shape[2], kh, sh, ph), (w, y.shape[3], kw, sw, pw))]
            fan_in = c * min(kh / sh, most[0]) * min(kw / sw, most[1])
        return self.scaled(y, b, fan_in, (1, -1, 1, 1))

    def activation(self, a, x): return activate(a, x)
    def reshape(self, a, x): return x.reshape(x.shape[0], a["channels"], a["height"], a["width"])
    def flatten(self, a, x): return x.reshape(x.shape[0], -1)
    def global_average_pool(self, a, x): return x.mean((2, 3))

    def normalized(self, a, x, axes, shape):
        mean = x.mean(axes, keepdims=True)
        x = (x - mean) / np.sqrt(((x - mean) ** 2).mean(axes, keepdims=True) + a.get("eps", 1e-5))
        if not a.get("affine", True): return x
        w, b = self.parameters(shape, shape, norm=True)
        spread = (1, *shape) + (1,) * (x.ndim - 1 - len(shape))
        return x * w.reshape(spread) + b.reshape(spread)

    def batch_norm(self, a, x): return self.normalized(a, x, (0, *range(2, x.ndim)), (x.shape[1],))

    def layer_norm(self, a, x):
        if a.get("over", "chw") == "features": return self.normalized(a, x, (1,), (x.shape[1],))
        return self.normalized(a, x, tuple(range(1, x.ndim)), x.shape[1:])

    def pad(self, a, x):
        before, after = pair(a.get("before", 0)), pair(a.get("after", 0))
        h, w = x.shape[2:]
        y = np.zeros((*x.shape[:2], h + before[0] + after[0], w + before[1] + after[1]), x.dtype)
        def at(i, n):
            if 0 <= i < n: return i
            if a["mode"] == "periodic": return i % n
            if a["mode"] == "symmetric": return -1 - i if i < 0 else 2 * n - 1 - i
        for p in range(y.shape[2]):
            for q in range(y.shape[3]):
                i, j = at(p - before[0], h), at(q - before[1], w)
                if i is not None and j is not None: y[:, :, p, q] = x[:, :, i, j]
        return y

    def upsample(self, a, x):
        return np.kron(x, np.ones((1, 1, *pair(a["factor"]))))

    def residual(self, a, x):
        through = self.run(a["layers"], x)
        return a.get("scale", 1.0) * (through + self.run(a.get("shortcut", []), x))


def act(function, **k): return {"activation": {"function": function, **k}}


FUNCTIONS = ["relu", "leaky_relu", "abs", "tanh", "erf", "sigmoid", "gelu", "silu", "elu", "selu", "softplus", "sin", "identity"]
CASES = [
    {"name": "dense_standard", "parametrization": {"standard": {}}, "input": [5, 1, 1],
     "layers": [{"dense": {"out": 7}}, act("tanh"), {"dense": {"out": 3}}]},
    {"name": "every_function_normalized", "parametrization": {"ntk": {"beta": 0.3}}, "input": [4, 1, 1],
     "layers": [l for f in FUNCTIONS for l in ({"dense": {"out": 5}}, act(f, scaling="normalized", gain=1.25))]},
    {"name": "scalings", "parametrization": {"ntk": {"beta": 0.1}}, "input": [4, 1, 1],
     "layers": [{"dense": {"out": 6}}, act("relu", scaling="standardized"), {"dense": {"out": 6}},
                act("relu", scaling="partial", mu=0.2), {"dense": {"out": 6}}, act("leaky_relu", slope=0.5, scaling="normalized"),
                {"dense": {"out": 6}}, act("elu", slope=0.7), {"dense": {"out": 2}}]},
    {"name": "conv_rectangular", "parametrization": {"ntk": {"beta": 0.2}}, "input": [3, 9, 7],
     "layers": [{"conv": {"out": 5, "kernel": [3, 5], "stride": [2, 1], "padding": [1, 2]}}, act("leaky_relu"),
                {"conv": {"out": 4, "kernel": [2, 3], "stride": [1, 2], "padding": [0, 1]}}, act("tanh"),
                {"global_average_pool": {}}, {"dense": {"out": 3}}]},
    {"name": "conv_that_leaves_pixels_unread", "parametrization": {"standard": {}}, "input": [2, 8, 8],
     "layers": [{"conv": {"out": 3, "kernel": 3, "stride": 3}}, act("relu"), {"conv": {"out": 4, "kernel": 2, "stride": 2, "padding": 1}},
                {"flatten": {}}, {"dense": {"out": 2}}]},
    {"name": "generator_ntk", "parametrization": {"ntk": {"beta": 0.1}}, "input": [6, 1, 1],
     "layers": [{"deconv": {"out": 6, "kernel": 4}}, act("relu", scaling="normalized"),
                {"deconv": {"out": 6, "kernel": 3, "padding": 1}}, act("relu", scaling="normalized"),
                {"deconv": {"out": 2, "kernel": 4, "stride": 2, "padding": 1}}, act("tanh")]},
    {"name": "generator_graph", "parametrization": {"graph": {"beta": 0.25}}, "input": [4, 1, 1],
     "layers": [{"dense": {"out": 12}}, {"reshape": {"channels": 3, "height": 2, "width": 2}}, act("relu", scaling="standardized"),
                {"deconv": {"out": 4, "kernel": 4, "stride": 2, "padding": 1}}, act("erf"),
                {"deconv": {"out": 2, "kernel": 4, "stride": 2, "padding": 1}}]},
    {"name": "deconv_odd", "parametrization": {"graph": {"beta": 0.5}}, "input": [3, 3, 2],
     "layers": [{"deconv": {"out": 3, "kernel": [5, 2], "stride": [2, 3], "padding": [2, 0], "output_padding": [1, 2]}}, act("silu"),
                {"deconv": {"out": 2, "kernel": [2, 3], "stride": [2, 2], "padding": [1, 2], "output_padding": [0, 1]}}]},
    {"name": "deconv_odd_ntk", "parametrization": {"ntk": {"beta": 0.5}}, "input": [3, 3, 2],
     "layers": [{"deconv": {"out": 3, "kernel": [5, 2], "stride": [2, 3], "padding": [2, 0], "output_padding": [1, 2]}}, act("gelu")]},
    {"name": "norms", "parametrization": {"ntk": {"beta": 0.1}}, "input": [6, 1, 1],
     "layers": [{"dense": {"out": 24}}, {"layer_norm": {"eps": 1e-3}}, {"reshape": {"channels": 6, "height": 2, "width": 2}},
                {"batch_norm": {"eps": 1e-4}}, act("relu"), {"layer_norm": {"over": "features", "affine": False}},
                {"deconv": {"out": 3, "kernel": 4, "stride": 2, "padding": 1}}, {"layer_norm": {}}, act("tanh"),
                {"batch_norm": {"affine": False}}, {"flatten": {}}, {"dense": {"out": 2}}]},
    {"name": "frames", "parametrization": {"ntk": {"beta": 0.2}}, "input": [2, 4, 3],
     "layers": [{"pad": {"before": [2, 1], "after": [0, 3], "mode": "periodic"}}, {"conv": {"out": 3, "kernel": 3}}, act("tanh"),
                {"pad": {"before": 1, "after": [2, 0], "mode": "symmetric"}}, {"conv": {"out": 2, "kernel": [2, 3], "stride": 2}}, act("erf"),
                {"pad": {"before": [0, 1], "after": 1, "mode": "zero"}}, {"conv": {"out": 2, "kernel": 2}}]},
    {"name": "generator_resized", "parametrization": {"standard": {}}, "input": [5, 1, 1],
     "layers": [{"deconv": {"out": 4, "kernel": 2}}, act("relu"), {"upsample": {"factor": 2}}, {"conv": {"out": 3, "kernel": 3, "padding": 1}},
                act("tanh"), {"upsample": {"factor": [1, 3]}}, {"conv": {"out": 1, "kernel": 3, "padding": 1}}]},
    {"name": "residual", "parametrization": {"ntk": {"beta": 0.1}}, "input": [3, 4, 4],
     "layers": [{"residual": {"layers": [{"batch_norm": {}}, act("tanh"), {"conv": {"out": 3, "kernel": 3, "padding": 1}}], "scale": 0.7}},
                {"residual": {"layers": [{"conv": {"out": 4, "kernel": 4, "stride": 2, "padding": 1}}, act("sin")],
                              "shortcut": [{"conv": {"out": 4, "kernel": 1, "stride": 2}}]}}, {"flatten": {}}, {"dense": {"out": 2}}]},
    {"name": "mish", "parametrization": {"ntk": {"beta": 0.3}}, "input": [4, 1, 1],
     "layers": [{"dense": {"out": 5}}, act("mish", gain=4.0), {"dense": {"out": 5}}, act("mish", scaling="normalized", gain=1.25),
                {"dense": {"out": 3}}]},
    {"name": "gelu_tanh", "parametrization": {"ntk": {"beta": 0.3}}, "input": [4, 1, 1],
     "layers": [{"dense": {"out": 5}}, act("gelu_tanh", gain=3.0), {"dense": {"out": 5}}, act("gelu_tanh", scaling="normalized"),
                {"dense": {"out": 3}}]},
]


def main():
    out = []
    for seed, case in enumerate(CASES):
        rng = np.random.default_rng(1000 + seed)
        channels, height, width = case["input"]
        x = rng.standard_normal((3, channels) if height * width == 1 else (3, channels, height, width))
        net = Net(case, rng)
        y = net.run(case["layers"], x)
        tensors = {**net.tensors, "x": x, "y": y}
        out.append({**case, "tensors": {k: {"shape": list(v.shape), "data": [float(t) for t in v.ravel()]} for k, v in tensors.items()}})
    print(json.dumps(out, separators=(",", ":")))


if __name__ == "__main__":
    main()
