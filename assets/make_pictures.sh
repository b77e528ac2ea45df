#!/usr/bin/env bash
# The README's pictures, by the program itself: the pair of configurations on the built-in set, and the first run.
set -euo pipefail
cd "$(dirname "$0")/.."
runs=$(mktemp -d)
for name in order chaos quickstart; do
  cargo run --release --quiet -- train "configs/$name.toml" --device flex --out "$runs/$name" --quiet
  cargo run --release --quiet -- sample "$runs/$name" --device flex -n 36 --columns 12 --out "assets/$name.png" --quiet
done
cargo run --release --quiet -- data preview configs/quickstart.toml -n 36 --out assets/shapes.png >/dev/null
rm -r "$runs"
