#!/usr/bin/env bash
# Make the virtual environment, and say in one line what is missing when it cannot be made.
set -eu
python=$1
venv=$2
[ -x "$venv/bin/python" ] && "$venv/bin/python" -m pip --version >/dev/null 2>&1 && exit 0
command -v "$python" >/dev/null || { echo "No $python on PATH: Broadaxe needs Python 3.11 or newer." >&2; exit 1; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "$("$python" --version) is too old: Broadaxe needs Python 3.11 or newer (make PYTHON=...)." >&2; exit 1; }
rm -rf "$venv"
if "$python" -m venv "$venv" >/dev/null 2>&1; then exit 0; fi
rm -rf "$venv"
# Debian without python3-venv: virtualenv brings its own pip.
if "$python" -m virtualenv --quiet "$venv" >/dev/null 2>&1; then exit 0; fi
echo "$python cannot make a virtual environment: install Debian's python3-venv (apt-get install python3-venv)." >&2
exit 1
