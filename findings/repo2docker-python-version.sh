#!/bin/bash
# repo2docker 2026.4.0: `python>=3.12` in environment.yml means 3.10.
#
# Expected: in the environment.yml of a Binder, conda's ways to ask for Python 3.12 or newer
#           (`python>=3.12`, `python 3.12.*`) choose a base that fits, as `python=3.12` does.
# Seen:     only `python=…` is understood. Anything else counts as no version at all, and the image
#           starts from the locked base of Python 3.10, with one line of warning in the log.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check jupyter-repo2docker==2026.4.0
echo "repo2docker $(env/bin/python -c 'from importlib.metadata import version as v; print(v("jupyter-repo2docker"))')"

chosen() {
  printf 'dependencies:\n  - %s\n' "$1" >environment.yml
  env/bin/python -c 'from repo2docker.buildpacks import CondaBuildPack
print(CondaBuildPack("base").python_version)' 2>>log
}
seen="$(chosen 'python=3.12') $(chosen 'python>=3.12') $(chosen 'python 3.12.*')"
echo "asked     python=3.12, python>=3.12, python 3.12.*"
echo "expected  3.12, at least 3.12, 3.12"
echo "seen      $seen"
[ "$seen" = "3.12 3.10 3.10" ] || { echo "This has changed."; exit 1; }
