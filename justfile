# The steps are those of the gate (.ci/run); here they use what the machine has, and tests of missing tools skip with a reason.

# What a change must pass before it is pushed.
check:
    .ci/run fmt shell proto deny clippy doc test

# Formats the code.
fmt:
    cargo fmt --all

clippy:
    .ci/run clippy

# The API documentation of every crate, private items included.
doc:
    .ci/run doc

# Bans, licences and sources of the dependencies.
deny:
    .ci/run deny

# The shape of the gRPC contract.
proto:
    .ci/run proto

# The command of the README.
test:
    .ci/run test

# The real daemon under every fault. In full, for most of an hour; the gate's five minutes are `just soak --short`.
soak *ARGUMENTS:
    cargo run -p stormtunnel-soak -- {{ARGUMENTS}}

# An upgrade from the build of a commit (the newest tag, or the commit before) to the present one, with tunnels up.
upgrade *REV:
    tests/e2e/tools/upgrade {{REV}}

# Emulator, daemon and a tunnel that works, until Ctrl-C.
demo:
    cargo run -p stormtunnel-demo

# The macOS code, type-checked on Linux.
macos:
    .ci/run macos

# Everything, as on a clean Debian: installs packages.
ci:
    .ci/run

# Runs the promises of docs/promises.toml (those whose id begins with one of the prefixes) and writes docs/testing.md.
promises *PREFIXES:
    cargo run -q -p stormtunnel-promises -- {{PREFIXES}}

# Measures the release builds beside plain TCP relays (docs/performance.md): all groups, or some of cpu, throughput, latency, start, resume, memory.
bench *ARGUMENTS:
    cargo run --release -q -p stormtunnel-bench -- {{ARGUMENTS}}

# Micro-benchmarks of the protocol cores, in time and in allocations: all, or those whose path holds the argument.
bench-cores *ARGUMENTS:
    cargo bench -q -p stormtunnel-bench --bench cores -- {{ARGUMENTS}}

# Fuzzes one target, or all in turn, for so many seconds of the processor; needs `cargo install cargo-fuzz --locked`.
fuzz TARGET="all" SECONDS="60":
    tests/fuzz/run {{TARGET}} {{SECONDS}}
