#!/usr/bin/env bash
# Runs every fuzz target for so many seconds (20 unless told otherwise), or only those named after it, and stops at the
# first failure:
#
#     fuzz/run.sh [SECONDS [TARGET...]]
set -euo pipefail
cd "$(dirname "$0")"

# Bytes of the longest input: what a target needs to reach everything, and no more.
declare -A max_len=(
    [open_symmetric]=1200 [open_signed]=1200 [command]=80 [state]=2048 [names]=256 [session]=768 [siv]=2048
    [broker_answers]=2048 [client_session]=1024
)

main() {
    local seconds=${1:-20}
    local targets=("${@:2}")
    [[ $seconds =~ ^[1-9][0-9]*$ ]] || die "usage: fuzz/run.sh [SECONDS [TARGET...]]"
    cargo fuzz --version >/dev/null 2>&1 || die "cargo-fuzz is missing: cargo install cargo-fuzz --locked"
    if ((${#targets[@]} == 0)); then
        mapfile -t targets < <(cargo fuzz list)
    fi

    local toolchain=nightly sanitizer=address
    if ! sanitizer_works; then
        toolchain=stable sanitizer=none
        echo "NO ADDRESS SANITIZER: that takes the nightly toolchain (rustup toolchain install nightly)." >&2
        echo "Fuzzing goes on with stable Rust; wrong results and panics are still found." >&2
    fi
    # What only these targets need takes long to build.
    features=()
    if [[ " ${targets[*]} " =~ " "(broker_answers|client_session)" " ]]; then
        features=(--features network)
    fi
    cargo "+$toolchain" fuzz build --sanitizer "$sanitizer" "${features[@]}"
    for target in "${targets[@]}"; do
        fuzz "$target" "$seconds" "$toolchain" "$sanitizer"
    done
    echo "No failure in ${targets[*]}."
}

die() {
    echo "$*" >&2
    exit 1
}

# Whether nightly is there and a program with the sanitizer links and runs.
sanitizer_works() {
    local folder
    folder=$(mktemp -d)
    echo 'fn main() {}' | rustc +nightly -Zsanitizer=address -o "$folder/probe" - 2>/dev/null && "$folder/probe"
    local works=$?
    rm -r "$folder"
    return $works
}

fuzz() {
    local target=$1 seconds=$2 toolchain=$3 sanitizer=$4
    echo "== $target, $seconds s"
    mkdir -p "corpus/$target"
    cargo "+$toolchain" fuzz run --sanitizer "$sanitizer" "${features[@]}" "$target" "corpus/$target" "seeds/$target" -- \
        -max_total_time="$seconds" -max_len="${max_len[$target]:-1024}" -timeout=10 -rss_limit_mb=2048 \
        -print_final_stats=1
}

main "$@"
