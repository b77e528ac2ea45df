"""Moments of signal and noise in small networks, one output value at a time.

    python3 make_moments_cases.py > moments_cases.json        (needs numpy)

Nothing is shared with the program: convolutions are loops over taps, noise is carried by
finite differences of the whole network in long double, batch statistics held fixed or not.
"""

import json
import math

import numpy as np

F = np.longdouble
rng = np.random.default_rng(7)


def position(i, n, mode):
    """Where index i of a padded axis comes from; none for zeros."""
    if 0 <= i < n:
        return i
    if mode == "periodic":
        return i % n
    if mode == "symmetric":
        return -1 - i if i < 0 else 2 * n - 1 - i
    return None


def weights(v, w, b, stride, mode):
    """v: [batch, rows, columns, in], w: [k, k, in, out]."""
    k = w.shape[0]
    n = v.shape[1]
    out = -(-n // stride)
    if mode == "periodic":
        before = k - 1
    elif mode == "symmetric":
        before = (k - 1) // 2
    else:
        before = max((out - 1) * stride + k - n, 0) // 2
    y = np.zeros((v.shape[0], out, out, w.shape[3]), F)
    for p in range(out):
        for q in range(out):
            for i in range(k):
                for j in range(k):
                    r, c = (position(s * stride + t - before, n, mode) for s, t in ((p, i), (q, j)))
                    if r is not None and c is not None:
                        y[:, p, q] += v[:, r, c] @ w[i, j].astype(F)
    return y + b.astype(F)


def statistics(y):
    return y.mean(axis=(0, 1, 2)), y.var(axis=(0, 1, 2))


class Net:
    """Runs a network; batch statistics of the first run can be kept for the others."""

    def __init__(self, case, parameters):
        self.case, self.parameters, self.kept = case, parameters, None

    def run(self, x, fixed=None):
        case, points, stats = self.case, {}, []
        queue = list(self.parameters)

        def norm(y):
            found = statistics(y) if fixed is None else fixed[len(stats)]
            stats.append(found)
            return (y - found[0]) / np.sqrt(found[1] + F(case["eps"]))

        def act(z):
            return np.maximum(z, 0) if case["activation"] == "relu" else np.tanh(z)

        def linear(v, stride=1):
            w, b = queue.pop(0)
            return weights(v, w, b, stride, case["padding"])

        x = linear(x, case["stride"])
        points[0, "embedding"] = x
        for l in range(1, case["depth"] + 1):
            points[l, "loc1"] = x
            if case["unit"] == "bn_res":
                around = x
                for h in range(case["res_depth"]):
                    for name, step in (("loc2", norm), ("loc3", act), ("loc4", linear)):
                        x = step(x)
                        if h == 0:
                            points[l, name] = x
                x = x + around
                points[l, "loc5"] = x
                continue
            steps = [linear, act] if case["unit"] == "vanilla" else [linear, norm, act]
            for at, step in enumerate(steps):
                x = step(x)
                points[l, f"loc{at + 2}"] = x
        self.stats = stats
        return points


def measured(x, dx):
    x, dx = x.astype(F), dx.astype(F)
    centred = x - x.mean(axis=(0, 1, 2))

    def ranks(v):
        rows = v.reshape(-1, v.shape[-1]).astype(float)
        eigen = np.linalg.eigvalsh(np.cov(rows.T, bias=True).reshape(v.shape[-1], -1))
        return eigen.sum() / eigen[-1], eigen.sum() ** 2 / (eigen**2).sum()

    flat = x.reshape(x.shape[0], -1)
    cosines = [
        float(a @ b / np.sqrt((a @ a) * (b @ b))) for i, a in enumerate(flat) for b in flat[i + 1 :]
    ]
    reff, pr = ranks(x)
    dreff, dpr = ranks(dx)
    mu2, noise = float((centred**2).mean()), float((dx**2).mean())
    return dict(
        nu1=float(x.mean()),
        nu1_abs=float(np.abs(x).mean()),
        nu2=float((x**2).mean()),
        mu2=mu2,
        mu4=float((centred**4).mean()),
        log_mu2_noise=math.log(noise),
        log_sensitivity=0.5 * (math.log(noise) - math.log(mu2)),
        reff_signal=float(reff),
        reff_noise=float(dreff),
        pr_signal=float(pr),
        pr_noise=float(dpr),
        cosine=float(np.mean(cosines)),
    )


def make(unit, kernel, padding, size, channels, stride, activation, bn_noise, bias):
    case = dict(
        unit=unit, kernel=kernel, padding=padding, size=size, channels=channels, stride=stride, activation=activation,
        bn_noise=bn_noise, eps=0.01, depth=2, width=3, batch=4, res_depth=3 if unit == "bn_res" else 1,
    )
    shape = (case["batch"], size, size, channels)
    raw, noise = np.round(rng.normal(1, 2, shape), 4), np.round(rng.normal(0, 1, shape), 4)
    count = 1 + case["depth"] * case["res_depth"]
    parameters = []
    for i in range(count):
        fan_in = channels if i == 0 else case["width"]
        w = rng.normal(0, 1.3 / (kernel * math.sqrt(fan_in)), (kernel, kernel, fan_in, case["width"]))
        b = rng.normal(0, 0.3, case["width"]) if bias else np.zeros(case["width"])
        parameters.append((np.round(w, 4), np.round(b, 4)))
    x = (raw - raw.mean(axis=(0, 1, 2))) / raw.std(axis=(0, 1, 2))
    net = Net(case, parameters)
    points = net.run(x.astype(F))
    fixed = net.stats if bn_noise == "fixed_stats" else None
    # The derivative along the noise, to fourth order.
    h = F(2e-7)
    shifted = {k: net.run(x.astype(F) + k * h * noise.astype(F), fixed) for k in (-2, -1, 1, 2)}

    def derivative(at):
        return (8 * (shifted[1][at] - shifted[-1][at]) - (shifted[2][at] - shifted[-2][at])) / (12 * h)

    case["raw"], case["noise"] = raw.ravel().tolist(), noise.ravel().tolist()
    case["parameters"] = [[w.ravel().tolist(), b.tolist()] for w, b in parameters]
    case["expected"] = [
        dict(depth=l, loc=loc, **measured(points[l, loc], derivative((l, loc))))
        for l, loc in points
    ]
    return case


cases = []
for unit in ("vanilla", "bn_ff", "bn_res"):
    for kernel, padding, size, channels, stride in (
        (1, "periodic", 1, 5, 1),
        (2, "periodic", 4, 2, 2),
        (3, "symmetric", 4, 2, 1),
        (3, "zero", 4, 2, 2),
        (2, "zero", 5, 1, 1),
    ):
        for bn_noise in ["fixed_stats"] + (["full"] if unit != "vanilla" and kernel < 3 else []):
            activation = "tanh" if size == 1 or unit == "vanilla" and kernel == 2 else "relu"
            cases.append(make(unit, kernel, padding, size, channels, stride, activation, bn_noise, unit == "vanilla"))
print(json.dumps(cases), end="")
