#!/bin/sh
# Sets up and runs the study: ./run_all.sh [smoke|quick|paper], publish, lab, test; ./run_all.sh --help says more.
# This file finds a Python; tsgen/running/environment.py makes .venv, and the words live in tsgen/running/command.py.
set -eu
root="$(cd "$(dirname "$(readlink -f "$0")")" && pwd)" # also through a link
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"

for python in python python3 "$root/.venv/bin/python"; do
    "$python" -m tsgen.running.environment >/dev/null 2>&1 && exec "$python" -m tsgen.running.command "$@"
done

base="" here="none that starts"
for python in python python3 python3.13 python3.12 python3.11; do
    version="$("$python" -c 'import platform; print(platform.python_version())' 2>/dev/null)" || continue
    here="$version"
    "$python" -c 'import sys; sys.exit(not (3, 11, 2) <= sys.version_info[:3] < (3, 14))' || continue
    "$python" -c 'import ensurepip, venv' 2>/dev/null && base="$python" && break
    here="$version without venv"
done
if [ -z "$base" ]; then
    echo "The study needs Python 3.11.2 to 3.13 with venv, here is $here: install it (Debian 12, Ubuntu 24.04 and later: apt install python3 python3-venv; Fedora: dnf install python3.13; macOS: brew install python@3.13; anywhere: uv python install 3.13), or run \`conda env create -f environment.yml\` and activate tsgen." >&2
    exit 1
fi
case " $* " in *" --help "* | *" -h "*) exec "$base" -m tsgen.running.command --help ;; esac
"$base" -m tsgen.running.command --check "$@" # a wrong word ends here, before minutes of set-up
"$base" -m tsgen.running.environment make
exec "$root/.venv/bin/python" -m tsgen.running.command "$@"
