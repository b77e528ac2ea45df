#!/usr/bin/env python3
"""Kernels of the networks of `network_cases.json` in float64, by complex steps: the oracle of `crates/ntk/tests`.

    python3 make_kernel_cases.py > kernel_cases.json        (needs numpy)

Jacobians of the whole batch: a parameter is moved by i h with h = 1e-30 in the forward passes of `make_network_cases.py`,
and the derivative of every output is its imaginary part over h, to the last digit (Squire and Trapp, 1998). Functions that
NumPy does not continue to complex numbers are continued here, to first order.
"""
import json
import math

import numpy as np

import make_network_cases as cases

H = 1e-30
real_raw, real_erf = cases.raw, cases.erf


def erf(x):
    if not np.iscomplexobj(x): return real_erf(x)
    return real_erf(x.real) + 1j * x.imag * 2 / math.sqrt(math.pi) * np.exp(-x.real**2)


def softplus(x): return np.logaddexp(0, x.real) + 1j * x.imag / (1 + np.exp(-x.real))


def raw(a, x):
    if np.iscomplexobj(x):
        gain = a.get("gain", 1.0)
        if a["function"] == "abs": return gain * x * np.sign(x.real)
        if a["function"] == "softplus": return softplus(gain * x)
        if a["function"] == "mish": return gain * x * np.tanh(softplus(gain * x))
    return real_raw(a, x)


cases.erf, cases.raw = erf, raw


class Given(cases.Net):
    """A network whose parameters are given."""

    def __init__(self, case, tensors):
        super().__init__(case, None)
        self.tensors = tensors

    def parameters(self, weight, bias, norm=False):
        i = self.index
        self.index += 1
        return self.tensors[f"{i}.weight"], self.tensors[f"{i}.bias"]


def jacobian(case, tensors, x, name):
    """[N O, parameters of the tensor]"""
    columns = []
    for p in range(tensors[name].size):
        moved = tensors[name].astype(complex)
        moved.ravel()[p] += 1j * H
        y = Given(case, {**tensors, name: moved}).run(case["layers"], x)
        columns.append(y.imag.ravel() / H)
    return np.array(columns).T


def main():
    out = []
    for seed, case in enumerate(cases.CASES):
        rng = np.random.default_rng(1000 + seed)
        channels, height, width = case["input"]
        x = rng.standard_normal((3, channels) if height * width == 1 else (3, channels, height, width))
        net = cases.Net(case, rng)
        n = len(net.run(case["layers"], x))
        full, traced = 0, {}
        for name in net.tensors:
            j = jacobian(case, net.tensors, x, name)
            full = full + j @ j.T
            by_sample = j.reshape(n, -1)
            traced[name] = (by_sample @ by_sample.T).ravel().tolist()
        out.append({"name": case["name"], "traced": traced, "full": full.ravel().tolist() if len(full) <= 36 else None})
    print(json.dumps(out, separators=(",", ":")))


if __name__ == "__main__":
    main()
