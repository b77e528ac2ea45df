#!/usr/bin/env python3
"""Networks with batch norms in evaluation mode, their outputs and kernels in float64: the oracle of `tests/running_statistics.rs`.

    python3 make_evaluation_cases.py > evaluation_cases.json        (needs numpy)

Batch norms take running means and variances that are far from 0 and 1. The tensors have PyTorch's names
(`{i}.running_mean`, `{i}.running_var`), but for norms without scale and shift, which have no i. Kernels are by complex
steps, as in `make_kernel_cases.py`; forward passes are those of `make_network_cases.py`.
"""
import json

import numpy as np

import make_kernel_cases  # continues functions to complex numbers
import make_network_cases as cases
from make_network_cases import act


class Evaluated(cases.Net):
    """A network whose batch norms take running statistics."""

    def __init__(self, case, rng, tensors=None):
        super().__init__(case, rng)
        self.norms, self.given = 0, tensors

    def parameters(self, weight, bias, norm=False):
        i = self.index
        if self.given is None: return super().parameters(weight, bias, norm)
        self.index += 1
        return self.given[f"{i}.weight"], self.given[f"{i}.bias"]

    def batch_norm(self, a, x):
        affine, c = a.get("affine", True), x.shape[1]
        names = [f"{self.index}.running_mean", f"{self.index}.running_var"] if affine else \
            [f"running.{self.norms}.mean", f"running.{self.norms}.variance"]
        self.norms += 1
        if self.given is None:
            self.tensors[names[0]] = 0.7 * self.rng.standard_normal(c)
            self.tensors[names[1]] = 0.2 + 3 * self.rng.random(c)
        mean, variance = [(self.given or self.tensors)[name] for name in names]
        shape = (1, c) + (1,) * (x.ndim - 2)
        x = (x - mean.reshape(shape)) / np.sqrt(variance.reshape(shape) + a.get("eps", 1e-5))
        if not affine: return x
        w, b = self.parameters((c,), (c,), norm=True)
        return x * w.reshape(shape) + b.reshape(shape)


CASES = [
    {"name": "small_cnn", "parametrization": {"standard": {}}, "input": [2, 6, 5],
     "layers": [{"conv": {"out": 4, "kernel": 3, "padding": 1}}, {"batch_norm": {}}, act("relu"),
                {"conv": {"out": 3, "kernel": 3, "stride": 2, "padding": 1}}, {"batch_norm": {"affine": False, "eps": 1e-3}},
                act("tanh"), {"flatten": {}}, {"dense": {"out": 2}}]},
    {"name": "generator", "parametrization": {"ntk": {"beta": 0.2}}, "input": [4, 1, 1],
     "layers": [{"deconv": {"out": 5, "kernel": 2}}, {"batch_norm": {}}, act("relu"),
                {"deconv": {"out": 3, "kernel": 4, "stride": 2, "padding": 1}}, {"batch_norm": {}}, act("relu"),
                {"deconv": {"out": 2, "kernel": 4, "stride": 2, "padding": 1}}, act("tanh")]},
    {"name": "residual", "parametrization": {"graph": {"beta": 0.3}}, "input": [2, 4, 4],
     "layers": [{"conv": {"out": 3, "kernel": 3, "padding": 1}},
                {"residual": {"layers": [{"batch_norm": {}}, act("erf"), {"conv": {"out": 3, "kernel": 3, "padding": 1}}],
                              "shortcut": [{"conv": {"out": 3, "kernel": 1}}, {"batch_norm": {}}], "scale": 0.6}},
                {"global_average_pool": {}}, {"dense": {"out": 3}}]},
]


def main():
    out = []
    for seed, case in enumerate(CASES):
        rng = np.random.default_rng(2000 + seed)
        channels, height, width = case["input"]
        x = rng.standard_normal((3, channels) if height * width == 1 else (3, channels, height, width))
        net = Evaluated(case, rng)
        y = net.run(case["layers"], x)
        parameters = [name for name in net.tensors if name.endswith((".weight", ".bias"))]
        traced = {}
        for name in parameters:
            columns = []
            for p in range(net.tensors[name].size):
                moved = net.tensors[name].astype(complex)
                moved.ravel()[p] += 1j * make_kernel_cases.H
                z = Evaluated(case, None, {**net.tensors, name: moved}).run(case["layers"], x)
                columns.append(z.imag.reshape(len(x), -1) / make_kernel_cases.H)
            j = np.array(columns).transpose(1, 2, 0).reshape(len(x), -1)
            traced[name] = (j @ j.T).ravel().tolist()
        tensors = {**net.tensors, "x": x, "y": y}
        tensors = {k: {"shape": list(v.shape), "data": [float(t) for t in v.ravel()]} for k, v in tensors.items()}
        out.append({**case, "tensors": tensors, "traced": traced})
    print(json.dumps(out, separators=(",", ":")))


if __name__ == "__main__":
    main()
