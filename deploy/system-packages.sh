#!/bin/sh
# Installs the Debian or Ubuntu packages that pip cannot bring, and only those that are missing.
#   deploy/system-packages.sh runtime         what `bauta` itself needs
#   deploy/system-packages.sh test            what the tests need besides
#   deploy/system-packages.sh venv [PYTHON]   the venv module of that interpreter
set -eu

RUNTIME="libgl1 libglib2.0-0"
TEST="ffmpeg gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base
gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav
postgresql"

say() { printf 'system packages: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

installed() {
    # Since Debian 13 and Ubuntu 24.04 some libraries carry a t64 suffix.
    for name in "$1" "$1t64"; do
        case "$(dpkg-query -W -f='${db:Status-Abbrev}' "$name" 2>/dev/null || true)" in
            ii*) return 0 ;;
        esac
    done
    return 1
}

wants_chromium() {
    for browser in chromium chromium-browser google-chrome google-chrome-stable; do
        if have "$browser"; then return 1; fi
    done
    # Ubuntu's package is a shell that installs a snap, which fails in containers and CI.
    if (. /etc/os-release && [ "${ID:-}" = ubuntu ]) 2>/dev/null; then
        say "no browser found; Ubuntu has Chromium as a snap only (snap install chromium)," \
            "or install Google Chrome. Going on without it."
        return 1
    fi
}

[ $# -gt 0 ] || fail "name at least one of: runtime test venv"

wanted=""
while [ $# -gt 0 ]; do
    case "$1" in
        runtime) wanted="$wanted $RUNTIME" ;;
        test)
            wanted="$wanted $TEST"
            if wants_chromium; then wanted="$wanted chromium"; fi ;;
        venv)
            python=python3
            if [ $# -gt 1 ]; then python=$2; shift; fi
            # Debian splits the module off per interpreter; ensurepip is the part that is missing.
            if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
                wanted="$wanted $("$python" -c \
                    'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
            fi ;;
        *) fail "unknown set '$1'; name some of: runtime test venv" ;;
    esac
    shift
done

if ! have apt-get || ! have dpkg-query; then
    [ -z "$wanted" ] || say "not Debian or Ubuntu, nothing installed; what is needed goes there" \
        "by these names:" $wanted
    exit 0
fi

missing=""
for package in $wanted; do
    installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -eq 0 ]; then
    as_root=""
elif have sudo; then
    as_root="sudo"
else
    fail "neither root nor sudo here; have an administrator run: apt-get install$missing"
fi

say "installing with ${as_root:+$as_root }apt-get:$missing"
$as_root apt-get update -qq || say "the package lists could not be refreshed; trying with the old ones"
$as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
    fail "apt-get could not install:$missing"
