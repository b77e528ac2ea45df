#!/usr/bin/env bash
# The pair of configurations on several data sets and seeds, as a table: what benches/RESULTS.md shows.
#
#   benches/order_chaos.sh                          the built-in set
#   MNIST=folder CIFAR=folder benches/order_chaos.sh   also the IDX and CIFAR files there
set -euo pipefail
cd "$(dirname "$0")/.."
program=${FINTAN:-target/release/fintan}
runs=${RUNS:-$(mktemp -d)}
row() { # name, configuration, seed, flags...
  local name=$1 config=$2 seed=$3; shift 3
  local out="$runs/$name-$config-$seed"
  "$program" train "configs/$config.toml" --device "${DEVICE:-flex}" --seed "$seed" --out "$out" --quiet "$@" >/dev/null
  python3 - "$name" "$config" "$seed" "$out/metrics.json" <<'P'
import json, sys
name, config, seed, path = sys.argv[1:]
m = json.load(open(path)); s = m["samples"]
print(f"| {name} | {config} | {seed} | {s['correlation']:.2f} | {m['std_ratio']:.2f} | {m['nyquist_ratio']:.1f} | {m['data']['correlation']:.2f} |", flush=True)
P
}
echo "| data | configuration | seed | correlation | std / data's | Nyquist / data's | the data's correlation |"
echo "|---|---|---|---|---|---|---|"
for config in order chaos; do
  for seed in 0 1; do
    row shapes "$config" "$seed"
    row "coloured shapes" "${config}_colour" "$seed"
    if [ -n "${MNIST:-}" ]; then
      row mnist "$config" "$seed" --set "data.idx.images=$MNIST/train-images-idx3-ubyte.gz" --set image.fit=pad
    fi
    if [ -n "${CIFAR:-}" ]; then
      row clothing "$config" "$seed" --set "data.cifar.files=[\"$CIFAR/data_batch_1.bin\"]" --set image.channels=3
      row clothing "${config}_colour" "$seed" --set "data.cifar.files=[\"$CIFAR/data_batch_1.bin\"]"
    fi
  done
done
