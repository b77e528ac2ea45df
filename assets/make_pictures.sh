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
fintan=target/release/fintan
for name in order chaos; do
  "$fintan" theory "configs/fc_$name.toml" --out "$runs/fc_$name" --quiet
  cp "$runs/fc_$name/circle.svg" "assets/circle_$name.svg"
done
widths=32,64,128,256,512
"$fintan" theory configs/fc.toml --set network.outputs=1 --widths "$widths,1024" --seeds 16 --device flex --out "$runs/dense" --quiet
"$fintan" theory configs/dcgan64.toml --set image.size=16 --widths "$widths" --seeds 8 --device flex --out "$runs/generator" --quiet
for name in dense generator; do cp "$runs/$name/widths.svg" "assets/widths_$name.svg"; done
"$fintan" train configs/teacher.toml --device flex --out "$runs/teacher" --quiet
"$fintan" flow "$runs/teacher" --device flex --out assets/flow.svg --quiet
"$fintan" moments configs/moments_fig3_small.toml --device flex --out "$runs/moments" --quiet
cp "$runs/moments/increments.svg" assets/moments.svg
rm -r "$runs"
