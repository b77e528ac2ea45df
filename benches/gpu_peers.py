#!/usr/bin/env python3
"""The cases of gpu.rs in PyTorch or JAX: gpu_peers.py torch|jax cuda|cpu [--small] [--seconds N]

Prints one line of JSON a case: library, case, ms (the median of later calls; for the product its rate in TFLOP/s). Cases that
would begin after N seconds are left out. Products and convolutions are in full float32 (no TF32), as in fintan.

Kernels: PyTorch from Jacobians of each sample (vmap over jacrev), JAX by neural-tangents' structured derivatives if it is
installed, else from Jacobians. Kernels whose Jacobian does not fit into the memory of the device give no line.
"""
import json
import sys
import time

library, device = sys.argv[1], sys.argv[2]
small = "--small" in sys.argv
seconds = float(sys.argv[sys.argv.index("--seconds") + 1]) if "--seconds" in sys.argv else 160.0
end = time.perf_counter() + seconds
BETA = 0.1


def tell(case, **numbers):
    print(json.dumps({"library": library, "case": case, **numbers}), flush=True)


def median(run, wait, repeats):
    """Median milliseconds of `repeats` calls after two that compile."""
    for _ in range(2):
        run()
        wait()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        wait()
        times.append(1e3 * (time.perf_counter() - start))
    return sorted(times)[len(times) // 2]


def attempt(case, run, wait, repeats):
    if time.perf_counter() > end:
        return
    try:
        tell(case, ms=median(run, wait, repeats))
    except Exception as error:  # not enough memory, or no such operation on this device
        print(f"{case}: {type(error).__name__}", file=sys.stderr)


def generator(size, colours, channels):
    """Layers (kind, in, out, stride, padding) of gpu.rs."""
    layers, at, width = [("deconv", 64, channels, 1, 0)], 4, channels
    while 2 * at < size:
        at, before, width = 2 * at, width, max(width // 2, 1)
        layers.append(("deconv", before, width, 2, 1))
    return layers + [("deconv", width, colours, 2, 1)]


def discriminator(size, colours, channels):
    steps = (size // 4).bit_length() - 1
    widths = [colours] + [max(channels >> (steps - 1 - i), 1) for i in range(steps)]
    layers = [("conv", a, b, 2, 1) for a, b in zip(widths, widths[1:])]
    return layers + [("conv", widths[-1], 1, 1, 0)]


def fc(width):
    sizes = [784, width, width, width, 10]
    return [("dense", a, b, 1, 0) for a, b in zip(sizes, sizes[1:])]


# name, layers, shape of an input, N, traced
if small:
    KERNELS = [
        ("FC 3x32 traced, N = 8", fc(32), (784,), 8, True),
        ("generator 16x16 full, N = 1", generator(16, 1, 4), (64, 1, 1), 1, False),
        ("generator 16x16 traced, N = 2", generator(16, 1, 4), (64, 1, 1), 2, True),
        ("discriminator 16x16, N = 4", discriminator(16, 1, 4), (1, 16, 16), 4, False),
    ]
    STEPS, PRODUCT = [(16, 8, 4)], 256
else:
    KERNELS = [
        ("FC 3x512 traced, N = 1024", fc(512), (784,), 1024, True),
        ("generator 64x64 full, N = 1", generator(64, 1, 256), (64, 1, 1), 1, False),
        ("generator 64x64 traced, N = 8", generator(64, 3, 512), (64, 1, 1), 8, True),
        ("discriminator 64x64, N = 64", discriminator(64, 3, 512), (3, 64, 64), 64, False),
    ]
    STEPS, PRODUCT = [(32, 256, 64), (32, 256, 1024), (64, 512, 64)], 4096
REPEATS = 2 if small else 5


def fan_in(kind, a, stride):
    return a if kind == "dense" else a * 16 / (stride * stride if kind == "deconv" else 1)


def with_torch():
    import torch
    import torch.nn.functional as F
    from torch import nn
    from torch.func import functional_call, jacrev, vmap

    if device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("PyTorch finds no CUDA device")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None

    a = torch.ones(PRODUCT, PRODUCT, device=device)
    ms = median(lambda: a @ a, wait, 7)
    tell("product", rate=2e-9 * PRODUCT**3 / ms, ms=ms)

    def stack(layers, activation, last):
        modules = []
        for i, (kind, inner, outer, stride, padding) in enumerate(layers):
            make = nn.ConvTranspose2d if kind == "deconv" else nn.Conv2d
            modules.append(make(inner, outer, 4, stride, padding))
            modules.append(activation() if i + 1 < len(layers) else last())
        return nn.Sequential(*modules).to(device, memory_format=torch.channels_last)

    for size, channels, batch in STEPS:
        colours = 3 if size == 64 else 1
        g = stack(generator(size, colours, channels), nn.ReLU, nn.Tanh)
        d = stack(discriminator(size, colours, channels), lambda: nn.LeakyReLU(0.2), nn.Identity)
        adam = lambda m: torch.optim.Adam(m.parameters(), 2e-4, betas=(0.5, 0.999), fused=device == "cuda")
        g_adam, d_adam = adam(g), adam(d)
        real = (torch.rand(batch, colours, size, size, device=device) * 2 - 1).contiguous(memory_format=torch.channels_last)
        bce = F.binary_cross_entropy_with_logits

        def step():
            fake = g(torch.randn(batch, 64, 1, 1, device=device))
            on_real, on_fake = d(real), d(fake.detach())
            loss = bce(on_real, torch.ones_like(on_real)) + bce(on_fake, torch.zeros_like(on_fake))
            d_adam.zero_grad(set_to_none=True)
            loss.backward()
            d_adam.step()
            judged = d(fake)
            g_adam.zero_grad(set_to_none=True)
            bce(judged, torch.ones_like(judged)).backward()
            g_adam.step()

        attempt(f"step {size}x{size}, batch {batch}", step, wait, 2 if small else 20)

    class Network(nn.Module):
        def __init__(self, layers):
            super().__init__()
            self.layers = layers
            shape = lambda kind, a, b: (b, a) if kind == "dense" else (a, b, 4, 4) if kind == "deconv" else (b, a, 4, 4)
            self.w = nn.ParameterList(torch.randn(shape(kind, a, b), device=device) for kind, a, b, _, _ in layers)
            self.b = nn.ParameterList(torch.randn(b, device=device) for _, _, b, _, _ in layers)

        def forward(self, x):
            for i, (kind, a, _, stride, padding) in enumerate(self.layers):
                w, b = self.w[i] * ((1 - BETA**2) / fan_in(kind, a, stride)) ** 0.5, self.b[i] * BETA
                if kind == "dense":
                    x = F.linear(x, w, b)
                elif kind == "conv":
                    x = F.conv2d(x, w, b, stride, padding)
                else:
                    x = F.conv_transpose2d(x, w, b, stride, padding)
                x = torch.relu(x) if i + 1 < len(self.layers) else x
            return x.flatten(1)

    for case, layers, shape, n, traced in KERNELS:
        network = Network(layers)
        x = torch.randn(n, *shape, device=device)
        parameters = {name: p.detach() for name, p in network.named_parameters()}
        of_one = lambda p, one: functional_call(network, p, (one.unsqueeze(0),)).squeeze(0)

        def kernel():
            jacobians = vmap(jacrev(of_one), (None, 0))(parameters, x)
            rule = "nop,mop->nm" if traced else "nop,mqp->nmoq"
            return sum(torch.einsum(rule, j.flatten(2), j.flatten(2)) for j in jacobians.values())

        attempt(case, kernel, wait, REPEATS)


def with_jax():
    import jax
    import jax.numpy as jnp

    if device == "cuda" and not any(d.platform == "gpu" for d in jax.devices()):
        raise SystemExit("JAX finds no GPU")
    jax.config.update("jax_default_matmul_precision", "highest")
    key = jax.random.PRNGKey(0)

    a = jnp.ones((PRODUCT, PRODUCT))
    product = jax.jit(lambda a: a @ a)
    ms = median(lambda: product(a).block_until_ready(), lambda: None, 7)
    tell("product", rate=2e-9 * PRODUCT**3 / ms, ms=ms)

    def network(layers):
        dims = ("NCHW", "OIHW", "NCHW")

        def apply(parameters, x):
            for i, ((kind, inner, _, stride, padding), (w, b)) in enumerate(zip(layers, parameters)):
                w, b = w * ((1 - BETA**2) / fan_in(kind, inner, stride)) ** 0.5, b * BETA
                if kind == "dense":
                    x = x @ w.T + b
                elif kind == "conv":
                    x = jax.lax.conv_general_dilated(x, w, (stride,) * 2, [(padding,) * 2] * 2, dimension_numbers=dims)
                    x = x + b[:, None, None]
                else:
                    pads = [(3 - padding,) * 2] * 2
                    x = jax.lax.conv_general_dilated(x, w, (1, 1), pads, lhs_dilation=(stride,) * 2, dimension_numbers=dims)
                    x = x + b[:, None, None]
                x = jax.nn.relu(x) if i + 1 < len(layers) else x
            return x.reshape(x.shape[0], -1)

        return apply

    try:
        import neural_tangents as nt
    except ImportError:
        nt = None
    for case, layers, shape, n, traced in KERNELS:
        if time.perf_counter() > end:
            return
        apply = network(layers)
        draw = lambda i, shape: jax.random.normal(jax.random.fold_in(key, i), shape)
        of = lambda kind, a, b: (b, a) if kind == "dense" else (b, a, 4, 4)
        parameters = [(draw(2 * i, of(kind, a, b)), draw(2 * i + 1, (b,))) for i, (kind, a, b, _, _) in enumerate(layers)]
        x = draw(1000, (n, *shape))
        if nt is not None:
            structured = nt.NtkImplementation.STRUCTURED_DERIVATIVES
            axes = {"trace_axes": (-1,)} if traced else {"trace_axes": ()}
            compute = nt.empirical_ntk_fn(apply, vmap_axes=0, implementation=structured, **axes)
            kernel = jax.jit(lambda p, x: compute(x, None, p))
        else:
            of_one = lambda p, one: apply(p, one[None])[0]

            def kernel(p, x):
                jacobians = jax.vmap(jax.jacrev(of_one), (None, 0))(p, x)
                rule = "nop,mop->nm" if traced else "nop,mqp->nmoq"
                flat = [j.reshape(j.shape[0], j.shape[1], -1) for j in jax.tree_util.tree_leaves(jacobians)]
                return sum(jnp.einsum(rule, j, j) for j in flat)

            kernel = jax.jit(kernel)
        attempt(case, lambda: kernel(parameters, x).block_until_ready(), lambda: None, REPEATS)


{"torch": with_torch, "jax": with_jax}[library]()
