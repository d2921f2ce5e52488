#!/bin/bash
# Build the image that values.yaml names, in a clone of the repository, where Docker runs.
# The package is installed from /srv/convnets, as a volume of the user takes the place of the home.
set -e
pip install jupyter-repo2docker
jupyter-repo2docker --no-run --user-id 1000 --user-name jovyan \
  --target-repo-dir /srv/convnets --image-name registry.example.org/convnets:1 \
  --appendix 'RUN pip install --no-cache-dir nbgitpuller nbgrader' .
docker push registry.example.org/convnets:1
