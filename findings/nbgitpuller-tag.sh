#!/bin/bash
# nbgitpuller 1.3.0: a link that names a tag works once.
#
# Expected: nbgitpuller looks whether `branch` is a branch or a tag of the repository, and says so if
#           it is neither. It takes a tag, so the link works every time that a student clicks it.
# Seen:     the first pull clones the tag. The second one asks git for `origin/TAG`, which only exists
#           for branches, and fails, although nothing has changed on either side. In a link for a
#           class, name a branch.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check nbgitpuller==1.3.0

git init -q course
git -C course -c user.name=a -c user.email=a@example.org commit -q --allow-empty -m "The course"
git -C course branch -m main
git -C course tag autumn
echo "nbgitpuller $(env/bin/python -c 'from importlib.metadata import version as v; print(v("nbgitpuller"))')"

pull() { env/bin/gitpuller "file://$folder/course" "$1" "$2" >>log 2>&1 && echo works || echo fails; }
seen="branch: $(pull main b) $(pull main b); tag: $(pull autumn t) $(pull autumn t)"
echo "expected  branch: works works; tag: works works"
echo "seen      $seen"
[ "$seen" = "branch: works works; tag: works fails" ] || { echo "This has changed."; exit 1; }
