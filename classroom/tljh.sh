#!/bin/bash
# Set up The Littlest JupyterHub for this course. On the server, as root, after its own installer:
#
#     sudo bash tljh.sh
#
# Safe to repeat. The limits rest on benchmarks/chapters.csv; tests/test_classroom.py compares them.
set -e
if grep -q '/your_[a]ccount/' "$0"; then
  echo 'No address yet: `make links REPO=owner/name`, commit, push' >&2
  exit 1
fi

# The course's package and what it needs, in the environment that all users share.
/opt/tljh/user/bin/pip install \
  "d2lite @ git+https://github.com/your_account/convnets-by-experiment@main" nbgitpuller nbgrader

# What one user may take: JupyterLab and all kernels together.
tljh-config set limits.memory 3G
tljh-config set limits.cpu 2
tljh-config set user_environment.default_app jupyterlab

# Stop servers that nobody has used for half an hour.
tljh-config set services.cull.enabled true
tljh-config set services.cull.timeout 1800

# One thread a kernel, as in the book; shut kernels down when they are forgotten.
cat > /opt/tljh/config/jupyterhub_config.d/course.py <<'END'
c.Spawner.environment.update({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})
c.Spawner.args = [
    "--MappingKernelManager.cull_idle_timeout=1200",
    "--MappingKernelManager.cull_interval=300",
    "--MappingKernelManager.cull_connected=True",
]
END

# Where nbgrader hands out and collects. Students and instructors read the same setting: nbgrader
# looks in another folder by default.
mkdir -p /srv/nbgrader/exchange /opt/tljh/user/etc/jupyter
chmod ugo+rwx /srv/nbgrader/exchange
cat > /opt/tljh/user/etc/jupyter/nbgrader_config.py <<'END'
c = get_config()
c.Exchange.root = "/srv/nbgrader/exchange"
END

tljh-config reload
