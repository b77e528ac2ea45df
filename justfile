# The list of commands; .ci/run runs the ones that must hold.

default:
    @just --list

# Format the code
fmt:
    cargo fmt --all

# Lints, as CI has them
lint:
    cargo clippy --release --workspace --all-targets -- -D warnings

# All tests, as the README and CI have them
test:
    cargo test --release --workspace

# The libraries without wgpu, built and tested (compiles Burn once more, without GPU support)
core:
    cargo test --release --workspace --exclude fintan --exclude fintan-torture

# API documentation
doc:
    RUSTDOCFLAGS="-D warnings" cargo doc --release --workspace --no-deps --document-private-items

# Licences, advisories, sources (needs cargo-deny, and a network for the advisories)
deny:
    cargo deny check

# Kills, injected errors, damaged files and races for so many minutes (with strace, if it is there)
torture MINUTES:
    cargo build --release
    cargo run --release -p fintan-torture -- --minutes {{MINUTES}}

# Everything that must hold before a commit lands
ci:
    bash .ci/run

# The first run of a new user
quickstart:
    cargo run --release -- train configs/quickstart.toml

# The machine, the step of training and the kernel beside PyTorch and neural-tangents, as tables (CONTRIBUTING.md: peers)
bench:
    cargo bench --bench all

# Time and memory against sizes: a table, and a picture
growth PICTURE="assets/growth.svg":
    cargo bench --bench all -- growth {{PICTURE}}

# The memory of a run of 10,000 steps
steady:
    cargo bench --bench all -- steady

# A hardware GPU in at most eight minutes: correctness, rates, training steps and kernels beside PyTorch and JAX, as a table.
# It is built beforehand; `just gpu-bench-small` tries the script on any adapter
gpu-bench *FLAGS:
    cargo bench --features gpu --bench gpu --no-run
    cargo bench --features gpu --bench gpu -- {{FLAGS}}

# The same with toy sizes and without the feature `gpu`
gpu-bench-small *FLAGS:
    cargo bench --bench gpu -- --small {{FLAGS}}

# Write the snapshots of error messages anew, to be read in the diff
snap:
    INSTA_UPDATE=always cargo test --release --test behaviour config_errors

# Make the golden outputs anew: every script in assets/golden (needs python3 with numpy, scipy and mpmath; ten minutes)
golden:
    for script in assets/golden/make_*_cases.py; do \
        cases="$(echo "$script" | sed 's/make_//; s/py$/json/')"; \
        python3 "$script" > "$cases.new" && mv "$cases.new" "$cases" || exit 1; \
    done

# The README's pictures, from the program itself
pictures:
    bash assets/make_pictures.sh
