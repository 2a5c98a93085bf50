#!/usr/bin/env bash
# Broadaxe on arm64, on a Linux of any kind: Debian 12 for arm64 in a folder of the cache, whose programs the
# kernel runs by qemu's user-mode emulation (on an arm64 machine as they are), and a copy of this checkout in it.
#
#   scripts/arm64.sh                  installs, then runs the demo and a good part of the tests, as root and as a user
#   scripts/arm64.sh COMMAND ...      runs one command in it, in /work; /venv is the virtual environment
#
# Needs root, debootstrap, bubblewrap, and elsewhere than on arm64 qemu-user-static with its entry in binfmt_misc
# (Debian's binfmt-support makes it). Where one is missing it says so and does nothing. BROADAXE_ARM64 names another
# folder; PIP_* variables reach pip in there.
set -euo pipefail
cd "$(dirname "$0")/.."
home=${BROADAXE_ARM64:-${XDG_CACHE_HOME:-$HOME/.cache}/broadaxe-arm64}
root=$home/debian
entry=/proc/sys/fs/binfmt_misc/qemu-aarch64
certificates=/etc/ssl/certs/ca-certificates.crt
# Debian's Python 3.11 is the oldest that is supported. openssl and procps are what tests call.
packages=python3,python3-venv,make,ca-certificates,openssl,procps

skip() { echo "skipped: $1"; exit 0; }
[ "$(id -u)" = 0 ] || skip "another root file system is made and entered, which takes root"
for tool in debootstrap bwrap; do
  command -v "$tool" >/dev/null || skip "there is no $tool (Debian: apt-get install debootstrap bubblewrap)"
done
if [ "$(uname -m)" != aarch64 ]; then
  grep -qs '^enabled' "$entry" || skip "the kernel has no emulation of arm64 (Debian: apt-get install qemu-user-static binfmt-support)"
  # F: the emulator is opened now, outside; in the other root there is none.
  grep -qs '^flags:.*F' "$entry" || skip "the emulator has to be registered with the flag F"
fi

inside() {  # a mount namespace with a root of its own rather than chroot: user namespaces are not forbidden there
  local given=()
  for name in $(compgen -e PIP_ || true); do
    case $name in PIP_CERT|PIP_FIND_LINKS) ;; *) given+=(--setenv "$name" "${!name}") ;; esac
  done
  bwrap --bind "$root" / --proc /proc --dev /dev --perms 1777 --tmpfs /dev/shm --ro-bind /sys /sys --unshare-pid --die-with-parent \
    --ro-bind /etc/resolv.conf /etc/resolv.conf --cap-add ALL --clearenv --setenv HOME /root --setenv LANG C.UTF-8 \
    --setenv PATH /venv/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin --chdir /work "${given[@]}" "$@"
}

if [ ! -x "$root/usr/bin/make" ]; then
  echo "Making Debian 12 for arm64 in $root ..."
  rm -rf "$root"
  mkdir -p "$home"
  debootstrap --arch=arm64 --variant=minbase --include=$packages bookworm "$root" >"$home/debootstrap.log" ||
    { tail -n 5 "$home/debootstrap.log"; exit 1; }
fi
# So that pip reaches in there what it reaches out here.
[ ! -f $certificates ] || cp $certificates "$root$certificates"
grep -q '^tester:' "$root/etc/passwd" || echo 'tester:x:1000:1000::/tmp:/bin/sh' >>"$root/etc/passwd"

rm -rf "$root/work"
mkdir -p "$root/work"
git ls-files -z --cached --others --exclude-standard | tar --create --null --files-from=- | tar --extract --directory "$root/work"
chmod -R go+rX "$root/work"

cmp -s constraints.txt "$root/venv/constraints.txt" && cmp -s pyproject.toml "$root/venv/pyproject.toml" || {
  echo "Installing Broadaxe and the test tools ..."
  inside python3 -m venv /venv
  inside pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
  cp constraints.txt pyproject.toml "$root/venv/"
}
inside touch /venv/.dev /venv/.demo  # for make: installed

if [ $# -gt 0 ]; then inside "$@"; exit; fi

without=()
if [ "$(uname -m)" != aarch64 ]; then
  # Large expressions may take 100 ms of CPU (SERVER_CEL_TIME_LIMIT), which are some 5 ms of an emulated processor.
  for name in large_inputs_are_evaluated_apart_with_the_same_answer what_takes_too_long_is_killed_and_the_next_is_answered \
    a_caller_that_goes_away_leaves_no_half_answer the_line_for_the_process_is_bounded \
    a_value_that_cannot_leave_the_process_is_refused; do
    without+=(--deselect "tests/unit/expr/test_evaluator.py::test_$name")
  done
fi
user() { inside setpriv --reuid=1000 --regid=1000 --clear-groups env HOME=/tmp BROADAXE_DEMO_DIR=/tmp/demo "$@"; }
step() { echo "== $*"; "$@"; }
step inside broadaxe --version
step inside make demo VENV=/venv ARGS=--once
step user python examples/demo/run.py --once
step inside python -m pytest -q "${without[@]}" tests/unit tests/property
step inside python -m pytest -q tests/integration/test_embedded_postgres.py tests/integration/test_wheel.py \
  tests/integration/test_doctor.py tests/integration/test_store_*.py tests/integration/test_ledger_*.py \
  tests/integration/test_rest_*.py
step inside python -m pytest -q tests/wire/test_python_sdk.py tests/faults/test_dev_kill.py
