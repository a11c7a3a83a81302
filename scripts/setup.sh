# Sourced by scripts/test and scripts/demo: makes .venv with the project in it, and says what it does while it does it.
# Needs Debian or Ubuntu with Python 3.11 or newer; brings Debian packages where it may, and names them where it may not.
# shellcheck shell=bash

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ROOT=$PWD
VENV=${LPR_VENV:-$ROOT/.venv}
export PIP_DISABLE_PIP_VERSION_CHECK=1
# The agent speaks Vietnamese whatever the locale of the shell.
export PYTHONUTF8=1

if [ -t 1 ]; then BOLD=$'\e[1m' PLAIN=$'\e[0m'; else BOLD='' PLAIN=''; fi
say() { printf '%s==>%s %s\n' "$BOLD" "$PLAIN" "$*"; }
die() { printf '%s\n' "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo -n "$@"
  else return 126
  fi
}

APT_UPDATED=
# debian_packages WHY PACKAGE...: installs what is missing; returns 1 where it may not, after saying which and why.
debian_packages() {
  local why=$1 missing=() package
  shift
  command -v dpkg-query >/dev/null || { say "not a Debian system: $why needs what Debian calls: $*"; return 1; }
  for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return 0
  say "installing Debian packages for $why: ${missing[*]}"
  if [ -z "$APT_UPDATED" ]; then
    as_root apt-get update -qq || { say "may not install ${missing[*]} here ($why); as root: apt-get install ${missing[*]}"; return 1; }
    APT_UPDATED=yes
  fi
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    { say "could not install ${missing[*]} ($why)"; return 1; }
}

# Ubuntu 24.04 and Debian 13 renamed the library for its 64-bit time; either name will do.
glib_package() {
  if apt-cache show libglib2.0-0t64 >/dev/null 2>&1; then echo libglib2.0-0t64; else echo libglib2.0-0; fi
}

find_python() {
  local name
  for name in python3.13 python3.12 python3.11 python3; do
    if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      echo "$name"
      return 0
    fi
  done
  return 1
}

# python_environment EXTRA: .venv with the project (editable) and the extra named (may be empty).
python_environment() {
  local extra=$1 python stamp wanted
  wanted=$(cat pyproject.toml scripts/setup.sh | sha256sum | cut -c1-16)-$extra
  stamp=$VENV/.lpr-$extra
  if [ -x "$VENV/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    return 0
  fi
  python=$(find_python) || { debian_packages "the virtual environment" python3 python3-venv && python=$(find_python); } ||
    die "Python 3.11, 3.12 or 3.13 is needed and none was found on the PATH."
  if [ ! -x "$VENV/bin/python" ]; then
    say "making $VENV with $("$python" --version)"
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
      debian_packages "the virtual environment" "$(basename "$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')")-venv" ||
        die "The venv module of $python is missing: apt-get install python3-venv"
    fi
    "$python" -m venv "$VENV"
  fi
  say "installing lpr-agent${extra:+ with what its $extra needs} (about 300 MB the first time)"
  # On a terminal pip shows what it fetches; in a log only what goes wrong.
  "$VENV/bin/python" -m pip install $([ -t 1 ] || echo --quiet) -e ".${extra:+[$extra]}"
  printf '%s' "$wanted" >"$stamp"
}

opencv_libraries() {
  if ! "$VENV/bin/python" -c 'import cv2' 2>/dev/null; then
    debian_packages "OpenCV" libgl1 "$(glib_package)" libx11-6 libsm6 libxext6 ||
      say "OpenCV needs these libraries; without them lpr-agent cannot read pictures"
    "$VENV/bin/python" -c 'import cv2' || die "OpenCV does not load; the line above names the library it lacks."
  fi
}
