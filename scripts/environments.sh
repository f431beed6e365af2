# Tools and Python environments for `.ci/run` and the benchmarks, in the user's cache directory. Source this file.
#
# A cached directory is named for everything that decides its content and gets its name when it is complete, so an
# interrupted installation is never used and several runs share the cache. To free space, remove the cache.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/pixtune

# apt_for PACKAGE COMMAND...: install a Debian package if the command fails.
apt_for() {
    local package=$1
    shift
    if ! "$@" >/dev/null 2>&1; then
        apt-get update --quiet=2 >&2
        DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes --no-install-recommends "$package" </dev/null >&2
    fi
}

# cached DIRECTORY COMMAND...: create the directory if it is missing: run the command with a temporary directory as its
# last argument, and rename that directory. Waits for another process that is creating it.
cached() {
    local directory=$1 lock
    shift
    [ -d "$directory" ] && return
    mkdir -p "$(dirname "$directory")"
    exec {lock}>"$directory.lock" && flock "$lock" || return
    [ -d "$directory" ] || create "$directory" "$@" || return
    exec {lock}>&-
}

create() {
    local directory=$1 temporary
    shift
    # What killed runs have left.
    rm -rf "$directory".??????
    temporary=$(mktemp --directory "$directory.XXXXXX") || return
    if ! "$@" "$temporary" >&2; then
        rm -rf "$temporary"
        return 1
    fi
    mv --no-target-directory "$temporary" "$directory"
}

# fingerprint REQUIREMENTS [PYTHON]: print a hash of the requirements, without comments, and of the Python that they are
# installed for.
fingerprint() {
    { "${2:-python3}" -c 'import sys; print(sys.executable, sys.version)' && grep '^[^#]' "$1"; } | sha256sum | head --bytes=16
}

# environment NAME REQUIREMENTS [PYTHON]: print the Python of a virtual environment with exactly these requirements.
environment() {
    local directory
    apt_for python3-venv "${3:-python3}" -c 'import ensurepip, venv' || return
    directory=$cache/venvs/$1-$(fingerprint "$2" "${3:-python3}")
    cached "$directory" install_environment "$2" "${3:-python3}" || return
    printf '%s\n' "$directory/bin/python"
}

# The scripts in bin/ would name the temporary directory; programs of an environment are run with `python -m`.
install_environment() {
    "$2" -m venv "$3" && "$3/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$1"
}

# newer_python: print a Python that is newer than 3.11, the newest there is; nothing, if there is none.
newer_python() {
    local python version
    for version in 15 14 13 12; do
        for python in "python3.$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/3.$version".*/bin/python3; do
            if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
                printf '%s\n' "$python"
                return
            fi
        done
    done
}

# overlay NAME PYTHON REQUIREMENTS: print a directory for PYTHONPATH with these packages and none of their dependencies.
overlay() {
    local directory=$cache/venvs/$1-$(fingerprint "$3" "$2")
    cached "$directory" install_overlay "$2" "$3" || return
    printf '%s\n' "$directory"
}

install_overlay() {
    "$1" -m pip install --quiet --disable-pip-version-check --no-deps --requirement "$2" --target "$3"
}

# modules NAME PACKAGE...: print a directory with node_modules that holds these packages of npm, each with its version.
modules() {
    local directory name=$1
    shift
    apt_for nodejs node --version || return
    apt_for npm npm --version || return
    directory=$cache/venvs/$name-$(printf '%s\n' "$(node --version)" "$@" | sha256sum | head --bytes=16)
    cached "$directory" install_modules "$@" || return
    printf '%s\n' "$directory"
}

install_modules() {
    npm install --prefix "${!#}" --no-audit --no-fund --silent "${@:1:$#-1}"
}

# unchanged NAME ROOT PATH...: whether the check with this name passed on this machine with exactly these files; then it is
# skipped, which is printed. A directory stands for its files, and a path that does not exist for its own words. ROOT is a
# directory with another name in every run. `passed NAME RESULT` then stores the result.
unchanged() {
    local name=$1 root=$2
    shift 2
    digest=$(files_digest "$root" "$@") || return
    [ -e "$cache/passed/$name-$digest" ] || return
    printf 'skipped %s: it passed on this machine with the same files (to run it again: rm %q)\n' \
        "$name" "$cache/passed/$name-$digest"
}

passed() {
    mkdir -p "$cache/passed" && printf '%s\n' "$2" >"$cache/passed/$1-$digest"
}

files_digest() {
    local root=$1 path
    shift
    for path in "$@"; do
        if [ -e "$path" ]; then
            find "$path" -type f -print0 | sort --zero-terminated | while IFS= read -r -d '' file; do
                printf '%s\n' "${file#"$root"}"
                sha256sum <"$file"
            done
        else
            printf '%s\n' "$path"
        fi
    done | sha256sum | head --bytes=16
}

# cargo_tool NAME VERSION: print the path of a program from crates.io. It is compiled quickly: it runs for seconds.
cargo_tool() {
    local directory=$cache/tools/$1-$2
    cached "$directory" install_cargo_tool "$1" "$2" || return
    printf '%s\n' "$directory/bin/$1"
}

install_cargo_tool() {
    cargo install --debug --locked "$1" --version "$2" --root "$3" --target-dir "$3/build" && rm -rf "$3/build"
}
