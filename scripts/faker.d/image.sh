# shellcheck shell=bash
# The image of scripts/faker: Python of Debian packages, and in it what the connector needs out of
# the Python registry. Sourced after scripts/images, whose functions it uses; never run.

FAKER=checkvalve-faker/python:1
DEBIAN=checkvalve-faker/debian:1
CONNECTOR=airbyte-source-faker
CONNECTOR_VERSION=7.2.1
# Tools of the preset's steps, and what builds the package.
TOOLS=(pytest ruff==0.13.2 poetry-core)

# The Python just unpacked, through its own loader; see `compile_python` of scripts/images.
debian_python() {
    local root=$1 loader libraries python
    shift
    loader=$(find "$root/usr/lib64" "$root/usr/lib" -maxdepth 2 -type f -name 'ld-linux*.so*' | head -n1)
    libraries=$(find "$root/usr/lib" -maxdepth 1 -type d -name '*-linux-gnu*' | head -n1)
    python=$(find "$root/usr/bin" -name 'python3.*' | sort -V | head -n1)
    PYTHONHOME="$root/usr" PYTHONNOUSERSITE=1 PYTHONDONTWRITEBYTECODE=1 \
        "$loader" --library-path "$libraries" "$python" "$@"
}

# Wheels for that Python. pip trusts the authorities that the machine trusts, and asks the registry
# that it is told to ask.
fetch_wheels() {
    local root=$1 to=$2 pip
    pip=$(find "$root/usr/share/python-wheels" -name 'pip-*.whl' | head -n1)
    say "fetching $CONNECTOR $CONNECTOR_VERSION and what it needs from the Python registry"
    debian_python "$root" "$pip/pip" download --quiet --disable-pip-version-check \
        --only-binary=:all: --dest "$to" "$CONNECTOR==$CONNECTOR_VERSION" "${TOOLS[@]}" >&2 ||
        die "the Python registry could not be asked, or has no fitting packages" \
            "check the network and pip's settings; $CONNECTOR wants Python 3.10 to 3.12, as Debian 12 has it"
    printf '%s\n' "$CONNECTOR==$CONNECTOR_VERSION" "${TOOLS[@]}" >"$to/names"
}

make_image() {
    local root context
    if ! on_debian || ! has dpkg-deb; then
        die "the image is made of Debian packages, and this machine has no apt-get" "run it on Debian 12"
    fi
    prepare
    # shellcheck disable=SC2154 # `prepare` sets it
    root=$work/root context=$work/context
    mkdir -p "$context"/{wheels,build,connector}
    unpack "$root" python3 python3-venv libstdc++6 busybox-static
    link_applets "$root"
    accounts "$root"
    rm -rf "$root"/usr/share/{doc,info,lintian,locale,man} "$root"/var/{lib/dpkg,log,cache}
    fetch_wheels "$root" "$context/wheels"
    cp "$context"/wheels/poetry_core-* "$context/build/"
    debian_python "$root" -m zipfile -e "$context"/wheels/airbyte_source_faker-*.whl \
        "$context/connector"
    load "$DEBIAN" "$root" 'ENV PATH=/usr/sbin:/usr/bin:/sbin:/bin' 'ENV LANG=C.UTF-8'
    # The older builder, as `uses: build` has it.
    if ! DOCKER_BUILDKIT=0 docker build --network none --label "$LABEL=$VERSION" --tag "$FAKER" \
        --file scripts/faker.d/Dockerfile "$context" >"$work/log" 2>&1; then
        tail -n20 "$work/log" >&2
        die "the image could not be built" "see the messages above; is the disk full? run: df -h"
    fi
    # The first stage, which nobody needs again.
    docker image ls --quiet --filter dangling=true --filter label=dev.checkvalve.stage=faker |
        xargs -r docker image rm >/dev/null 2>&1 || true
    rm -rf "$work"
    say "made $FAKER"
}

# faker_image [--force]: makes the image if it is not there.
faker_image() {
    VERSION=$(cat scripts/images scripts/faker.d/{image.sh,Dockerfile} | sha256sum | cut -c1-16)
    if [ "${1-}" = --force ] || ! up_to_date "$FAKER"; then
        make_image
    fi
}

# The connector's own package, as it was published, put into a folder.
published() {
    docker run --rm --network none "$FAKER" tar -c -C /opt/connector source_faker |
        tar -x -C "$1" --no-same-owner
}
