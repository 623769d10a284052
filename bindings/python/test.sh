#!/usr/bin/env bash
# Builds the wheel, installs it into a virtual environment, checks types and the public API, and runs all tests. Needs Python 3.10 or newer with
# venv, and im-server and scenarios, which `cargo build --workspace --bins` makes: IM_SERVER says where the former is, by default in target/debug.
# With --update-api it writes the public API to api.txt.
set -euo pipefail
cd "$(dirname "$0")"

fail() {
    printf 'bindings/python: %s\n' "$@" >&2
    exit 1
}

python=${PYTHON:-python3}
command -v "$python" >/dev/null || fail "$python is missing. On Debian and Ubuntu: apt-get install python3 python3-venv; elsewhere: https://python.org"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "$("$python" --version) is too old; 3.10 or newer is needed"
"$python" -c 'import ensurepip, venv' 2>/dev/null || fail "Python's venv is missing. On Debian and Ubuntu: apt-get install python3-venv"
target=$(cd ../.. && pwd)/target
export IM_SERVER=${IM_SERVER:-$target/debug/im-server}
scenarios=$target/debug/scenarios
for program in "$IM_SERVER" "$scenarios"; do
    [ -x "$program" ] || fail "$program is missing: run \`cargo build --workspace --bins\`"
done

venv=$target/python
if [ ! -x "$venv/bin/maturin" ] || [ requirements-test.txt -nt "$venv/installed" ]; then
    "$python" -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r requirements-test.txt
    touch "$venv/installed"
fi

# A debug build shares what the workspace's tests have built; the wheel of a release is the same but for `--profile release`.
rm -rf "$target/wheels"
"$venv/bin/maturin" build --quiet --profile dev --out "$target/wheels"
"$venv/bin/pip" install --quiet --disable-pip-version-check --force-reinstall --no-deps "$target"/wheels/im_sdk-*.whl

"$venv/bin/python" api.py "$@"
"$venv/bin/mypy"
"$venv/bin/python" -m pytest -q
# The same steps in every language.
env -u IM_SERVER "$scenarios" run --language Python --driver "$venv/bin/python $PWD/tests/scenario_driver.py"
