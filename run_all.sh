#!/bin/sh
# Sets up and runs the study: ./run_all.sh [smoke|quick|paper], publish, lab, test; ./run_all.sh --help says more.
# This file finds or makes the environment; the words themselves live in tsgen/running/command.py.
set -eu
root="$(cd "$(dirname "$(readlink -f "$0")")" && pwd)" # also through a link
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"

holds_the_pins() { "$1" -m tsgen.running.environment >/dev/null 2>&1; }
can_make_venv() { "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1; }

for python in python python3 python3.11 "$root/.venv/bin/python"; do
    holds_the_pins "$python" && exec "$python" -m tsgen.running.command "$@"
done

base=""
for python in python python3 python3.11; do
    can_make_venv "$python" && base="$python" && break
done
if [ -z "$base" ]; then
    echo "The study needs Python 3.11 with its venv module: install it (Debian, Ubuntu: python3.11 and python3.11-venv), or run \`conda env create -f environment.yml\` and activate tsgen." >&2
    exit 1
fi
case " $* " in *" --help "* | *" -h "*) exec "$base" -m tsgen.running.command --help ;; esac
"$base" -m tsgen.running.command --check "$@" # a wrong word ends here, before minutes of set-up

echo "Setting up .venv with the packages of requirements.lock (once; see the README for the size of the download)" >&2
"$root/.venv/bin/python" -c '' 2>/dev/null || "$base" -m venv --clear "$root/.venv"
"$root/.venv/bin/python" -m pip install -qq --disable-pip-version-check -r "$root/requirements.lock" >&2
"$root/.venv/bin/python" -m pip install -qq --disable-pip-version-check --no-deps -e "$root" >&2
exec "$root/.venv/bin/python" -m tsgen.running.command "$@"
