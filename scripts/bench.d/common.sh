# shellcheck shell=bash
# What the benchmarks share; not executable, so that scripts/bench does not take it for one.
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. scripts/lib.sh

# measure NAME [ARGUMENTS]: builds the server and the benchmarks as a release would be, and runs one.
measure() {
    local target=${CARGO_TARGET_DIR:-target}
    need_build_tools
    need_names
    if ! [ -e "$target/quick/checkvalve-bench" ]; then
        say "building; the first time takes some minutes"
    fi
    cargo build --locked --quiet --profile quick --package checkvalve --package checkvalve-bench \
        --bin checkvalve --bin checkvalve-bench ||
        die "the build failed" "the compiler's message above says why"
    exec "$target/quick/checkvalve-bench" "$@"
}

# The images of the example and of the reference pipelines.
need_images() {
    scripts/images || die "this benchmark needs Docker and the images" "start Docker; run: scripts/images"
}
