#!/bin/sh
# CPU seconds a realisation (bn_ff, fully connected, N = 512, L = 200, B = 64, moments at 8 depths), one thread, alternating
# with a reference in numpy where one is given: sh benches/moments.sh [FOLDER_OF_moments_ref.py [PYTHON]]
set -eu
cd "$(dirname "$0")/.."
fintan=${FINTAN:-target/release/fintan}
reference=${1:-}
python=${2:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/case.toml" <<'TOML'
[network]
input = 3072
bn_ff = { depth = 200, width = 512 }
[moments]
inputs.spectrum.exponent = 1.3
batch = 64
depths = [1, 2, 10, 20, 50, 100, 150, 200]
realisations = 8
TOML
cat > "$folder/reference.py" <<'PY'
import sys, time
sys.path.insert(0, sys.argv[1])
import numpy as np
import moments_ref as M
start = time.process_time()
for s in range(8):
    rng = np.random.default_rng([0, s])
    x = M.standardise(M.gaussian_inputs(rng, 64, 1, 3072, 1.3))
    dx = rng.standard_normal((64, 1, 1, 3072))
    M.propagate(rng, x, dx, arch="bn_ff", width=512, depth=200, kernel=1, record=(1, 2, 10, 20, 50, 100, 150, 200))
print(f"reference {(time.process_time() - start) / 8:.3f} CPU-s a realisation")
PY
export RAYON_NUM_THREADS=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
for i in 1 2 3 4 5; do
    rm -rf "$folder/run"
    { /usr/bin/time -f '%U %S' "$fintan" moments "$folder/case.toml" --out "$folder/run" --device flex --quiet > "$folder/out"; } 2>&1 |
        awk '{ printf "fintan    %.3f CPU-s a realisation\n", ($1 + $2) / 8 }'
    [ -z "$reference" ] || "$python" "$folder/reference.py" "$reference"
done
