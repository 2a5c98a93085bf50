#!/usr/bin/env bash
# All but the unit tests: side by side what may be, then one at a time what is marked `alone`.
# test.sh BIN JOBS [ARGUMENTS OF PYTEST]
set -u
bin=$1 jobs=$2
shift 2
run() { echo "pytest $*"; "$bin/python" -m pytest -q "$@"; }

# In the order of their names: the last files are short, so that no process waits long for the other.
run tests --ignore=tests/unit --ignore=tests/property \
  -n "$jobs" --dist loadfile --no-loadscope-reorder -m 'not alone' "$@"
first=$?
# 2 is an interruption. 5 is that nothing was chosen, which is well when the other call finds something.
[ "$first" -eq 2 ] && exit 2
# Only these files, so that the others need not be read again. None has a blank in its name.
# shellcheck disable=SC2046
run $(grep -rl --include='test_*.py' 'mark\.alone' tests | sort) -m alone "$@"
second=$?
[ "$first" -ne 0 ] && [ "$first" -ne 5 ] && exit "$first"
[ "$second" -eq 5 ] && exit "$first"
exit "$second"
