#!/usr/bin/env python3
"""What other programs take for what fintan does; benches/all starts it.

    peers.py product torch|jax ROWS THREADS
    peers.py kernel torch|neural-tangents THREADS --case CASE.json --weights CASE.safetensors
             [--repeats 9] [--seconds 20] [--out KERNEL]

`product` prints the rate of a product of square f32 matrices. `kernel` computes the empirical tangent kernel of a case of
benches/ntk.rs, in f32, from the weights and inputs in its file, and prints the same JSON object. `--out` writes the kernel as a
matrix of little-endian float64. PyTorch's program is written here: a forward pass, cotangents of all outputs pulled back layer
by layer, and plain products for the part of each layer. neural-tangents computes with structured derivatives.
"""
import json
import math
import struct
import sys
import time

import numpy as np


def main():
    mode, engine, *rest = sys.argv[1:]
    if mode == "product":
        return product(engine, *map(int, rest))
    threads, options = int(rest[0]), dict(zip(rest[1::2], rest[2::2]))
    with open(options["--case"]) as f:
        case = json.load(f)
    tensors = read_safetensors(options["--weights"])
    with_weights = [layer for layer in case["net"] if layer["t"] in ("linear", "conv", "conv_transpose")]
    for i, layer in enumerate(with_weights):
        layer["w"], layer["b"] = tensors[f"{i}.weight"], tensors[f"{i}.bias"]
        # y = scale * (W x) + beta * b, the scale from the fan-in: weights that reach one output.
        layer["scale"] = math.sqrt((1 - case["beta"] ** 2) / fan_in(layer))
    x = tensors["x"].reshape(-1, *case["input"])
    run, to_numpy = {"torch": torch_kernel, "neural-tangents": nt_kernel}[engine](case, x, threads)
    result, kernel = timed(run, int(options.get("--repeats", 9)), float(options.get("--seconds", 20)))
    result["peak_bytes"] = peak_bytes()
    kernel = np.asarray(to_numpy(kernel), dtype="<f8")
    if kernel.ndim == 4:  # [n, m, a, b] to rows (n, a) and columns (m, b)
        kernel = kernel.transpose(0, 2, 1, 3).reshape(kernel.shape[0] * kernel.shape[2], -1)
    if "--out" in options:
        kernel.tofile(options["--out"])
    print(json.dumps(result))


def timed(run, repeats, seconds):
    """The first call, and at least one and at most `repeats` warm calls, none of which starts after so many seconds."""
    start = time.perf_counter()
    value = run()
    first = time.perf_counter() - start
    wall, cpu, warm = [], [], time.perf_counter()
    while len(wall) < repeats and (not wall or time.perf_counter() - warm < seconds):
        del value
        start, before = time.perf_counter(), time.process_time()
        value = run()
        cpu.append(time.process_time() - before)
        wall.append(time.perf_counter() - start)
    return {"compile_s": first, "times_s": wall, "cpu_s": cpu}, value


def peak_bytes():
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM:"))


def read_safetensors(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            first, last = entry["data_offsets"]
            dtype = {"F32": "<f4", "F64": "<f8"}[entry["dtype"]]
            tensors[name] = np.frombuffer(data[first:last], dtype).astype("f4").reshape(entry["shape"])
    return tensors


def fan_in(layer):
    if layer["t"] == "linear":
        return layer["in"]
    window = layer["in"] * layer["k"] ** 2
    return window if layer["t"] == "conv" else window / layer["s"] ** 2


def product(engine, rows, threads):
    if engine == "torch":
        import torch
        torch.set_num_threads(threads)
        a = torch.randn(rows, rows)
        run = lambda: a @ a
    else:
        import jax
        a = jax.random.normal(jax.random.PRNGKey(0), (rows, rows))
        multiply = jax.jit(lambda a: a @ a)
        run = lambda: multiply(a).block_until_ready()
    best = math.inf
    for _ in range(8):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    print(json.dumps({"per_second": 2 * rows**3 / best}))


# PyTorch


def torch_kernel(case, x, threads):
    import torch
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    x = torch.from_numpy(x)
    for layer in case["net"]:
        if "w" in layer:
            # Scaled once, before the clock runs, as a trained program would keep them.
            layer["sw"] = torch.from_numpy(layer["w"] * np.float32(layer["scale"]))
            layer["sb"] = torch.from_numpy(layer["b"] * np.float32(case["beta"]))
    return (lambda: Layerwise(case, x).kernel()), lambda kernel: kernel.numpy()


class Layerwise:
    """The kernel as a sum over layers. D[n, o] is the cotangent of output o of sample n at the output of a layer.

    A dense layer adds (scale² <x_n, x_m> + beta²) <D[n, a], D[m, b]>. A convolution multiplies rows of patches: its weights'
    cotangent is J = P^T D, a sum over positions. Its part is <J, J> (order "weights"), or D^T (P P^T) D with products of
    patches between positions ("pushed"), whichever takes fewer multiply-adds.
    """

    def __init__(self, case, x):
        self.net, self.beta2, self.traced = case["net"], case["beta"] ** 2, case["kernel"] == "traced"
        self.x, self.n = x, len(x)

    def kernel(self):
        import torch
        inputs, x = [], self.x
        for layer in self.net:
            inputs.append(x)
            x = self.forward(layer, x)
        outputs = x.shape[1]
        k = torch.zeros(self.n, self.n) if self.traced else torch.zeros(self.n * outputs, self.n * outputs)
        eye = torch.eye(outputs)
        # A trace is a sum over outputs, so a few at a time are enough, in memory that caches and allocators like.
        few = max(1, 2**26 // (self.n * self.largest(inputs))) if self.traced else outputs
        for start in range(0, outputs, few):
            # The same for all samples, until a nonlinearity makes them differ.
            d = eye[start : start + few].unsqueeze(0)
            self.add_layers(k, d, inputs)
        return k

    def largest(self, inputs):
        """Values of the largest map or weights' cotangent of one sample and output."""
        sizes = [math.prod(x.shape[1:]) for x in inputs]
        for layer, x in zip(self.net, inputs):
            if layer["t"] == "conv_transpose":
                sizes.append(layer["out"] * layer["k"] ** 2 * max(layer["in"], x.shape[2] * x.shape[3]))
            elif layer["t"] == "conv":
                sizes.append(layer["out"] * layer["k"] ** 2 * layer["in"])
        return max(sizes)

    def forward(self, layer, x):
        import torch
        import torch.nn.functional as F
        kind = layer["t"]
        if kind == "linear":
            return torch.addmm(layer["sb"], x, layer["sw"].T)
        if kind == "conv":
            return F.conv2d(x, layer["sw"], layer["sb"], layer["s"], layer["p"])
        if kind == "conv_transpose":
            return F.conv_transpose2d(x, layer["sw"], layer["sb"], layer["s"], layer["p"])
        if kind == "relu":
            return torch.relu(x)
        return x.flatten(1) if kind == "flatten" else x.reshape(self.n, *layer["shape"])

    def add_layers(self, k, d, inputs):
        import torch.nn.functional as F
        o = d.shape[1]
        for i in reversed(range(len(self.net))):
            layer, x, kind = self.net[i], inputs[i], self.net[i]["t"]
            if kind == "linear":
                gram = (x @ x.T).mul_(layer["scale"] ** 2).add_(self.beta2)
                self.add_dense(k, gram, d.expand(self.n, -1, -1))
                if i:
                    d = (d.reshape(-1, d.shape[2]) @ layer["sw"]).reshape(d.shape[0], o, -1)
            elif kind in ("conv", "conv_transpose"):
                d = d.expand(self.n, *d.shape[1:])
                flat = d.reshape(self.n * o, *d.shape[2:])
                window = (layer["k"], 1, layer["p"], layer["s"])
                if kind == "conv":
                    # A site is an output position: rows of patches of inputs, columns of cotangents.
                    patches, columns = F.unfold(x, *window), flat.flatten(2)
                    below = lambda: F.conv_transpose2d(flat, layer["sw"], None, layer["s"], layer["p"])
                else:
                    # A site is an input position: its values, and the patches of cotangents that it reaches.
                    patches, columns = x.flatten(2), F.unfold(flat, *window)
                    below = lambda: F.conv2d(flat, layer["sw"], None, layer["s"], layer["p"])
                self.add_convolution(k, layer, patches, columns.reshape(self.n, o, *columns.shape[1:]))
                biases = d.flatten(3).sum(3)
                self.add_rows(k, biases, self.beta2)
                if i:
                    lower = below()
                    d = lower.reshape(self.n, o, *lower.shape[1:])
            elif kind == "relu":
                d = d * (x > 0).to(d.dtype).unsqueeze(1)
            else:
                d = d.reshape(d.shape[0], o, *x.shape[1:])

    def add_dense(self, k, gram, d):
        if self.traced:
            rows = d.reshape(self.n, -1)
            k.addcmul_(gram, rows @ rows.T)
        else:
            rows = d.reshape(self.n * d.shape[1], -1)
            o = d.shape[1]
            k.view(self.n, o, self.n, o).addcmul_(gram[:, None, :, None], (rows @ rows.T).view(self.n, o, self.n, o))

    def add_rows(self, k, values, factor):
        """Adds factor * <v[n, a], v[m, b]>."""
        rows = values.reshape(self.n, -1) if self.traced else values.reshape(self.n * values.shape[1], -1)
        k.addmm_(rows, rows.T, alpha=factor)

    def add_convolution(self, k, layer, patches, d):
        """patches [n, K, sites], d [n, o, C, sites]."""
        import torch
        n, o, c, s = d.shape
        inner, pairs, square = patches.shape[1], n * n, layer["scale"] ** 2
        of_pair = o if self.traced else o * o
        weights = n * o * s * inner * c + pairs * of_pair * inner * c
        pushed = pairs * (s * s * inner + o * c * s * s + of_pair * c * s)
        if weights <= pushed:
            cotangents = torch.bmm(d.reshape(n, o * c, s), patches.transpose(1, 2))
            self.add_rows(k, cotangents.view(n, o, c * inner), square)
            return
        for i in range(n):
            for j in range(i + 1):
                between = patches[i].T @ patches[j]
                moved, other = (d[i].reshape(-1, s) @ between).reshape(o, -1), d[j].reshape(o, -1)
                if self.traced:
                    part = torch.dot(moved.reshape(-1), other.reshape(-1)) * square
                    k[i, j] += part
                    if i != j:
                        k[j, i] += part
                else:
                    part = (moved @ other.T) * square
                    k[i * o : (i + 1) * o, j * o : (j + 1) * o] += part
                    if i != j:
                        k[j * o : (j + 1) * o, i * o : (i + 1) * o] += part.T


# neural-tangents


def nt_kernel(case, x, threads):
    import os
    import warnings
    warnings.filterwarnings("ignore")
    # XLA takes as many threads as there are processors that the process may use.
    assert len(os.sched_getaffinity(0)) >= threads
    import jax
    import jax.numpy as jnp
    import neural_tangents as nt

    # In the form that structured derivatives like: no transposed, flipped or scaled weights inside the function.
    parameters = []
    for layer in case["net"]:
        if "w" in layer:
            w = layer["w"]
            if layer["t"] == "conv_transpose":
                w = np.ascontiguousarray(w.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1])
            b = layer["b"] if layer["t"] == "linear" else layer["b"][:, None, None]
            parameters.append((jnp.asarray(w), jnp.asarray(b)))
    beta = case["beta"]

    def network(parameters, x):
        weights = iter(parameters)
        for layer in case["net"]:
            kind = layer["t"]
            if kind in ("linear", "conv", "conv_transpose"):
                w, b = next(weights)
                if kind == "linear":
                    y = jax.lax.dot_general(x, w, (((1,), (1,)), ((), ())))
                else:
                    grown = kind == "conv_transpose"
                    border = layer["k"] - 1 - layer["p"] if grown else layer["p"]
                    y = jax.lax.conv_general_dilated(
                        x, w, (1, 1) if grown else (layer["s"],) * 2, [(border, border)] * 2,
                        lhs_dilation=(layer["s"],) * 2 if grown else None, dimension_numbers=("NCHW", "OIHW", "NCHW"),
                    )
                x = y * layer["scale"] + b * beta
            elif kind == "relu":
                x = jnp.maximum(x, 0)
            else:
                x = x.reshape(len(x), -1) if kind == "flatten" else x.reshape(len(x), *layer["shape"])
        return x

    traced = case["kernel"] == "traced"
    x = jnp.asarray(x)
    outputs = jax.eval_shape(network, parameters, x).shape[1]
    kernel = jax.jit(nt.empirical_ntk_fn(
        network, trace_axes=(-1,) if traced else (), vmap_axes=0,
        implementation=nt.NtkImplementation.STRUCTURED_DERIVATIVES,
    ))
    # Its trace is a mean over outputs.
    factor = outputs if traced else 1
    return (lambda: kernel(x, None, parameters).block_until_ready()), lambda value: np.asarray(value) * factor


main()
