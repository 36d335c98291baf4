# shellcheck shell=bash
# What the scripts beside this file share. Sourced, never run.

set -euo pipefail

# One line about what is going on, apart from the output of programs.
say() {
    printf '==> %s\n' "$*" >&2
}

# die WHAT MEND: both go to the terminal, and the script ends with 3, as `checkvalve` does when it
# could not run.
die() {
    printf 'error: %s\n' "$1" >&2
    printf '  mend: %s\n' "$2" >&2
    exit 3
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# Debian and what descends from it: apt is there, and dpkg knows what is installed.
on_debian() {
    has apt-get && has dpkg-query
}

# The rest of the command as root: as it is for root, through sudo for others.
as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif has sudo; then
        sudo -- "$@"
    else
        die "this needs root: $*" "run it as root, or install sudo"
    fi
}

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Installs those of the named Debian packages that are missing.
need_packages() {
    local package missing=()
    for package in "$@"; do
        installed "$package" || missing+=("$package")
    done
    if [ "${#missing[@]}" = 0 ]; then
        return
    fi
    say "installing ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        "${missing[@]}" >&2 && return
    as_root apt-get update -qq >&2
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        "${missing[@]}" >&2 ||
        die "apt-get could not install ${missing[*]}" "install them by hand, then try again"
}

# need_programs PROGRAM=PACKAGE...: installs the package of each program that is missing.
need_programs() {
    local pair packages=() programs=()
    for pair in "$@"; do
        if ! has "${pair%%=*}"; then
            programs+=("${pair%%=*}")
            packages+=("${pair#*=}")
        fi
    done
    if [ "${#programs[@]}" = 0 ]; then
        return
    fi
    on_debian || die "not found: ${programs[*]}" \
        "install them with your system's package manager (Debian calls them: ${packages[*]})"
    need_packages "${packages[@]}"
}

# Rust of at least the version that Cargo.toml names. It is never installed behind one's back.
need_rust() {
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
    if ! has cargo && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
        PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
    fi
    has cargo || die "Rust is not installed" \
        "install Rust $wanted or later with rustup: https://rustup.rs"
    found=$(rustc --version | cut -d' ' -f2)
    if [ "$(printf '%s\n%s\n' "$wanted" "${found%%-*}" | sort -V | head -n1)" != "$wanted" ]; then
        die "Rust $found is too old; $wanted is the least" "run: rustup update stable"
    fi
}

# What compiling needs besides Rust: a C compiler and linker (SQLite and the cryptography are C).
need_build_tools() {
    need_programs git=git cc=gcc make=make
    if on_debian && ! [ -e /usr/include/stdlib.h ]; then
        need_packages libc6-dev
    fi
    need_rust
}

docker_answers() {
    has docker && docker version --format '{{.Server.Version}}' >/dev/null 2>&1
}

# What an optimised program is built with: names that tell the instances of one generic function apart, so
# that layout/start.ld can name those that run. The Dockerfile says the same.
need_names() {
    export RUSTFLAGS="${RUSTFLAGS:+$RUSTFLAGS }-Csymbol-mangling-version=v0"
}
