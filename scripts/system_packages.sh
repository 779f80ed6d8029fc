#!/bin/sh
# Install what a napari window needs from Debian or Ubuntu, and only what is missing.
# Everywhere else (macOS, other distributions) it does nothing: there napari's Qt wheels bring or find what they need.
set -eu

command -v dpkg-query >/dev/null 2>&1 || exit 0

wanted="xvfb xauth libgl1 libegl1 libopengl0 libgl1-mesa-dri libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4
libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0 libdbus-1-3
libfontconfig1 libglib2.0-0 libgomp1"
python="${PYTHON:-python3}"
command -v "$python" >/dev/null 2>&1 || wanted="$wanted python3"
"$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || wanted="$wanted python3-venv"

missing=""
for package in $wanted; do
    # the newest Debian and Ubuntu end some library names in t64, and these provide the old name
    dpkg-query -W -f='${db:Status-Status}\n' "$package" "${package}t64" 2>/dev/null | grep -qx installed \
        || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=""
if [ "$(id -u)" -ne 0 ]; then
    if sudo -n true 2>/dev/null; then
        as_root="sudo"
    else
        echo "These system packages are missing:$missing"
        echo "Install them with: sudo apt-get install$missing"
        echo "Going on without; tests that open a window are skipped or fail until they are there."
        exit 0
    fi
fi
echo "Installing system packages:$missing"
$as_root apt-get update -qq
# shellcheck disable=SC2086 # a list of names
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
