#!/usr/bin/env python3
"""The generator in this folder, for PyTorch and for NumPy. Written by `fintan export`.

    from generator import Generator
    g = Generator()                        # torch.nn.Module, in eval mode; needs torch
    images = g(torch.randn(16, g.latent))  # [16, channels, rows, columns] in [-1, 1]

    from generator import generate
    images = generate(latents)             # the same by NumPy alone

    python3 generator.py                   # compares both with samples.npz

generator.safetensors holds the parameters in PyTorch's layouts (`{i}.weight`, `{i}.bias`; of the k-th batch norm,
`running.{k}.mean` and `running.{k}.variance`), generator.json the layers with every constant. With W and b the parameters,
a linear layer computes weight_scale (W * x) + bias_scale b, a nonlinearity (f(gain x) - centre) / scale.
"""
import json
import math
import os
import sys

import numpy as np

try:
    import torch
except ImportError:
    torch = None

HERE = os.path.dirname(os.path.abspath(__file__))


def load_tensors(path):
    """Tensors of a safetensors file: a header length in 8 bytes, a JSON header, values."""
    with open(path, "rb") as file:
        raw = file.read()
    start = 8 + int.from_bytes(raw[:8], "little")
    tensors = {}
    for name, entry in json.loads(raw[8:start]).items():
        if name == "__metadata__":
            continue
        low, high = entry["data_offsets"]
        kind = {"F32": "<f4", "F64": "<f8"}[entry["dtype"]]
        tensors[name] = np.frombuffer(raw[start + low : start + high], kind).reshape(entry["shape"])
    return tensors


def load(folder=HERE):
    """Description and tensors."""
    with open(os.path.join(folder, "generator.json"), encoding="utf-8") as file:
        description = json.load(file)
    if description["format"] != "fintan.architecture" or description["version"] != 1:
        raise ValueError("generator.json is of another format or version")
    return description, load_tensors(os.path.join(folder, "generator.safetensors"))


def kind_of(entry):
    ((kind, settings),) = entry["layer"].items()
    return kind, settings


def shape_of(shape):
    return shape["channels"], shape["height"], shape["width"]


def sources(before, after, n, mode):
    """Of each padded row or column, the one of n that stands there; none for zeros."""
    at = np.arange(-before, n + after)
    if mode == "zero":
        return None
    return at % n if mode == "periodic" else np.minimum(at % (2 * n), 2 * n - 1 - at % (2 * n))


# ---------------------------------------------------------------- NumPy, in float64


def erf(x):
    return np.vectorize(math.erf, otypes=[float])(x)


def function(name, x, slope):
    """The raw nonlinearity; slope is the one below zero, where it has one."""
    sigmoid = lambda v: 0.5 * (1 + np.tanh(0.5 * v))
    below = lambda v: np.expm1(np.minimum(v, 0))
    return {
        "relu": lambda: np.maximum(x, 0),
        "leaky_relu": lambda: np.where(x > 0, x, slope * x),
        "abs": lambda: np.abs(x),
        "tanh": lambda: np.tanh(x),
        "erf": lambda: erf(x),
        "sigmoid": lambda: sigmoid(x),
        "gelu": lambda: x * 0.5 * (1 + erf(x / math.sqrt(2))),
        "silu": lambda: x * sigmoid(x),
        "elu": lambda: np.maximum(x, 0) + slope * below(x),
        "selu": lambda: 1.0507009873554805 * (np.maximum(x, 0) + slope * below(x)),
        "softplus": lambda: np.logaddexp(0, x),
        "sin": lambda: np.sin(x),
        "identity": lambda: x,
    }[name]()


def convolve(x, weight, c, out):
    """Cross-correlation, tap by tap. weight: [out, in, rows, columns]."""
    (kh, kw), (sh, sw), (ph, pw) = c["kernel"], c["stride"], c["padding"]
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    _, height, width = out
    y = 0
    for i in range(kh):
        for j in range(kw):
            part = x[:, :, i : i + sh * (height - 1) + 1 : sh, j : j + sw * (width - 1) + 1 : sw]
            y = y + np.einsum("nchw,oc->nohw", part, weight[:, :, i, j])
    return y


def convolve_transposed(x, weight, c, out):
    """Its adjoint: every pixel lays a kernel down. weight: [in, out, rows, columns]."""
    (kh, kw), (sh, sw), (ph, pw) = c["kernel"], c["stride"], c["padding"]
    n, _, height, width = x.shape
    channels, rows, columns = out
    y = np.zeros((n, channels, rows + 2 * ph, columns + 2 * pw))
    for i in range(kh):
        for j in range(kw):
            y[:, :, i : i + sh * (height - 1) + 1 : sh, j : j + sw * (width - 1) + 1 : sw] += np.einsum(
                "nchw,co->nohw", x, weight[:, :, i, j]
            )
    return y[:, :, ph : ph + rows, pw : pw + columns]


def apply(entries, tensors, x):
    """Layers on x [batch, channels, rows, columns]; vectors have one row and column."""
    for entry in entries:
        kind, settings = kind_of(entry)
        out = shape_of(entry["output"])
        p = entry.get("parameters")
        weight, bias = (tensors[f"{p}.{name}"].astype(np.float64) for name in ("weight", "bias")) if p is not None else (1, 0)
        if kind in ("dense", "conv", "deconv"):
            if kind == "dense":
                y = np.einsum("nchw,oc->nohw", x, weight)
            else:
                y = (convolve if kind == "conv" else convolve_transposed)(x, weight, settings, out)
            scale = np.asarray(entry.get("weight_scale_map", entry.get("weight_scale")))
            x = scale * y + entry["bias_scale"] * bias[:, None, None]
        elif kind == "activation":
            x = function(settings["function"], settings["gain"] * x, entry.get("negative_slope"))
            x = (x - entry["centre"]) / entry["scale"]
        elif kind == "batch_norm":
            k = entry["running"]
            mean, variance = (tensors[f"running.{k}.{name}"][:, None, None] for name in ("mean", "variance"))
            x = (x - mean) / np.sqrt(variance + settings["eps"])
            if p is not None:
                x = weight[:, None, None] * x + bias[:, None, None]
        elif kind == "layer_norm":
            axes = (1, 2, 3) if settings["over"] == "chw" else (1,)
            x = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + settings["eps"])
            if p is not None:
                # One value for each that is normalized: channels, or channels and positions.
                spread = lambda v: v.reshape(v.shape if v.ndim == 3 else (-1, 1, 1))
                x = spread(weight) * x + spread(bias)
        elif kind == "pad":
            before, after, mode = settings["before"], settings["after"], settings["mode"]
            if mode == "zero":
                x = np.pad(x, ((0, 0), (0, 0), *zip(before, after)))
            else:
                for axis in (0, 1):
                    x = x.take(sources(before[axis], after[axis], x.shape[2 + axis], mode), 2 + axis)
        elif kind in ("reshape", "flatten"):
            x = x.reshape(len(x), *out)
        elif kind == "global_average_pool":
            x = x.mean((2, 3), keepdims=True)
        elif kind == "residual":
            x = settings["scale"] * (
                apply(entry.get("branch", []), tensors, x) + apply(entry.get("shortcut", []), tensors, x)
            )
        else:
            raise ValueError(f"a layer of kind {kind}")
    return x


def generate(latents, folder=HERE):
    """Images [batch, channels, rows, columns] of latents [batch, latent], in float64."""
    description, tensors = load(folder)
    x = np.asarray(latents, np.float64)
    return apply(description["layers"], tensors, x.reshape(len(x), *shape_of(description["input"])))


# ---------------------------------------------------------------- PyTorch

if torch is not None:
    from torch import nn
    from torch.nn import functional as F

    class Linear(nn.Module):
        """weight_scale (W * x) + bias_scale b."""

        def __init__(self, entry, tensors):
            super().__init__()
            self.kind, self.settings = kind_of(entry)
            p = entry["parameters"]
            self.weight = nn.Parameter(torch.tensor(tensors[f"{p}.weight"]))
            self.bias = nn.Parameter(torch.tensor(tensors[f"{p}.bias"]))
            scale = entry.get("weight_scale_map", entry.get("weight_scale"))
            self.register_buffer("weight_scale", torch.tensor(scale, dtype=self.weight.dtype))
            self.bias_scale = entry["bias_scale"]

        def forward(self, x):
            c = self.settings
            if self.kind == "dense":
                y = F.linear(x.flatten(1), self.weight)[:, :, None, None]
            elif self.kind == "conv":
                y = F.conv2d(x, self.weight, stride=c["stride"], padding=c["padding"])
            else:
                y = F.conv_transpose2d(
                    x, self.weight, stride=c["stride"], padding=c["padding"], output_padding=c["output_padding"]
                )
            return self.weight_scale * y + self.bias_scale * self.bias[:, None, None]

    class Pointwise(nn.Module):
        """(f(gain x) - centre) / scale."""

        def __init__(self, entry):
            super().__init__()
            _, self.settings = kind_of(entry)
            self.centre, self.scale, self.slope = entry["centre"], entry["scale"], entry.get("negative_slope")

        def forward(self, x):
            x = self.settings["gain"] * x
            y = {
                "relu": F.relu,
                "leaky_relu": lambda v: F.leaky_relu(v, self.slope),
                "abs": torch.abs,
                "tanh": torch.tanh,
                "erf": torch.erf,
                "sigmoid": torch.sigmoid,
                "gelu": F.gelu,
                "silu": F.silu,
                "elu": lambda v: F.elu(v, self.slope),
                "selu": F.selu,
                "softplus": F.softplus,
                "sin": torch.sin,
                "identity": lambda v: v,
            }[self.settings["function"]](x)
            return (y - self.centre) / self.scale

    class Reshape(nn.Module):
        def __init__(self, shape):
            super().__init__()
            self.shape = shape

        def forward(self, x):
            return x.reshape(len(x), *self.shape)

    class Pad(nn.Module):
        def __init__(self, settings):
            super().__init__()
            self.before, self.after, self.mode = settings["before"], settings["after"], settings["mode"]

        def forward(self, x):
            if self.mode == "zero":
                return F.pad(x, (self.before[1], self.after[1], self.before[0], self.after[0]))
            for axis in (0, 1):
                at = sources(self.before[axis], self.after[axis], x.shape[2 + axis], self.mode)
                x = x.index_select(2 + axis, torch.as_tensor(at, device=x.device))
            return x

    class FeatureNorm(nn.Module):
        """Layer norm over channels, at each position apart."""

        def __init__(self, channels, eps, affine):
            super().__init__()
            self.norm = nn.LayerNorm(channels, eps=eps, elementwise_affine=affine)

        def forward(self, x):
            return self.norm(x.movedim(1, -1)).movedim(-1, 1)

    class Residual(nn.Module):
        def __init__(self, entry, tensors):
            super().__init__()
            self.scale = kind_of(entry)[1]["scale"]
            self.branch = modules(entry.get("branch", []), tensors)
            self.shortcut = modules(entry.get("shortcut", []), tensors)

        def forward(self, x):
            return self.scale * (self.branch(x) + self.shortcut(x))

    def module(entry, tensors):
        kind, settings = kind_of(entry)
        shape = shape_of(entry["input"])
        parameters = entry.get("parameters")

        def filled(norm, inner):
            if parameters is not None:
                inner.weight.data = torch.tensor(tensors[f"{parameters}.weight"])
                inner.bias.data = torch.tensor(tensors[f"{parameters}.bias"])
            return norm

        if kind in ("dense", "conv", "deconv"):
            return Linear(entry, tensors)
        if kind == "activation":
            return Pointwise(entry)
        if kind == "batch_norm":
            norm = nn.BatchNorm2d(shape[0], eps=settings["eps"], momentum=settings["momentum"], affine=parameters is not None)
            norm.running_mean = torch.tensor(tensors[f"running.{entry['running']}.mean"])
            norm.running_var = torch.tensor(tensors[f"running.{entry['running']}.variance"])
            return filled(norm, norm)
        if kind == "layer_norm":
            if settings["over"] == "chw":
                norm = nn.LayerNorm(shape, eps=settings["eps"], elementwise_affine=parameters is not None)
                if parameters is not None:
                    norm.weight.data = torch.tensor(tensors[f"{parameters}.weight"]).reshape(shape)
                    norm.bias.data = torch.tensor(tensors[f"{parameters}.bias"]).reshape(shape)
                return norm
            norm = FeatureNorm(shape[0], settings["eps"], parameters is not None)
            return filled(norm, norm.norm)
        if kind == "pad":
            return Pad(settings)
        if kind in ("reshape", "flatten"):
            return Reshape(shape_of(entry["output"]))
        if kind == "global_average_pool":
            return nn.AdaptiveAvgPool2d(1)
        if kind == "residual":
            return Residual(entry, tensors)
        raise ValueError(f"a layer of kind {kind}")

    def modules(entries, tensors):
        return nn.Sequential(*(module(entry, tensors) for entry in entries))

    class Generator(nn.Module):
        """Images [batch, channels, rows, columns] in [-1, 1] of latents [batch, latent] that are N(0, 1)."""

        def __init__(self, folder=HERE):
            super().__init__()
            description, tensors = load(folder)
            self.input = shape_of(description["input"])
            self.latent = math.prod(self.input)
            self.layers = modules(description["layers"], tensors)
            self.eval()

        def forward(self, latents):
            return self.layers(latents.reshape(len(latents), *self.input))


def main():
    expected = np.load(os.path.join(HERE, "samples.npz"))
    latents, images = expected["latents"], expected["images"]
    differences = {"numpy": np.abs(generate(latents) - images).max()}
    if torch is not None:
        with torch.no_grad():
            differences["torch"] = np.abs(Generator()(torch.tensor(latents)).numpy() - images).max()
    for name, difference in differences.items():
        print(f"{name}: {len(images)} images, largest difference {difference:.2e}")
    return 0 if max(differences.values()) < 1e-3 else 1


if __name__ == "__main__":
    sys.exit(main())
