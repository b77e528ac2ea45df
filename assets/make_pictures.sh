#!/usr/bin/env bash
# The README's pictures, by the program itself: the pair of configurations on the built-in set, and the first run.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --quiet
runs=$(mktemp -d)
for name in order chaos quickstart; do
  columns=6; [ "$name" = quickstart ] && columns=12
  target/release/fintan train "configs/$name.toml" --device flex --out "$runs/$name" --quiet
  target/release/fintan sample "$runs/$name" --device flex -n 36 --columns "$columns" --out "assets/$name.png" --quiet
done
target/release/fintan data preview configs/quickstart.toml -n 36 --out assets/shapes.png
rm -r "$runs"
