#!/usr/bin/env python3
"""Kernels of the networks of `network_cases.json` in float64, by differences: the oracle of `crates/ntk/tests`.

    python3 make_kernel_cases.py > kernel_cases.json        (needs numpy; some minutes)

Jacobians of the whole batch by the seven-point central difference of the forward passes of `make_network_cases.py`, each
parameter by itself. Two step lengths must agree to 1e-9 of the largest entry, or the case is refused.
"""
import json

import numpy as np

from make_network_cases import CASES, Net

STENCIL = ((1, 45 / 60), (2, -9 / 60), (3, 1 / 60))


class Perturbed(Net):
    """A network whose parameters are given."""

    def __init__(self, case, tensors):
        super().__init__(case, None)
        self.tensors = tensors

    def parameters(self, weight, bias, norm=False):
        i = self.index
        self.index += 1
        return self.tensors[f"{i}.weight"], self.tensors[f"{i}.bias"]


def jacobian(case, tensors, x, name, h):
    """[N O, parameters of the tensor]"""
    columns = []
    flat = tensors[name].ravel()
    for p in range(flat.size):
        column = 0
        for steps, weight in STENCIL:
            for sign in (1, -1):
                moved = flat.copy()
                moved[p] += sign * steps * h
                y = Perturbed(case, {**tensors, name: moved.reshape(tensors[name].shape)}).run(case["layers"], x)
                column = column + sign * weight * y.ravel() / h
        columns.append(column)
    return np.array(columns).T


def refined(case, tensors, x, name):
    """The Jacobian at the first pair of step lengths that agree: shorter ones where a kink is near."""
    fine = jacobian(case, tensors, x, name, 4e-3)
    for h in (2e-3, 1e-3, 5e-4, 2.5e-4):
        coarse, fine = fine, jacobian(case, tensors, x, name, h)
        if abs(coarse - fine).max() <= 1e-9 * (1 + abs(fine).max()):
            return fine
    raise AssertionError((case["name"], name, abs(coarse - fine).max()))


def main():
    out = []
    for seed, case in enumerate(CASES):
        rng = np.random.default_rng(1000 + seed)
        channels, height, width = case["input"]
        x = rng.standard_normal((3, channels) if height * width == 1 else (3, channels, height, width))
        net = Net(case, rng)
        n = len(net.run(case["layers"], x))
        full, traced = 0, {}
        for name in net.tensors:
            fine = refined(case, net.tensors, x, name)
            full = full + fine @ fine.T
            by_sample = fine.reshape(n, -1)
            traced[name] = (by_sample @ by_sample.T).ravel().tolist()
        out.append({"name": case["name"], "traced": traced, "full": full.ravel().tolist() if len(full) <= 36 else None})
    print(json.dumps(out, separators=(",", ":")))


if __name__ == "__main__":
    main()
