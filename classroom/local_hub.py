"""A hub on this machine with the settings of values.yaml, for test_hub.py. Not for a class.

A container is a folder here: a server starts in it, as in the image's working directory, and it is
deleted when the server stops. The home of a user, on Kubernetes a volume, stays.
"""

import os
import shutil
from pathlib import Path

import yaml
from jupyterhub.spawner import SimpleLocalProcessSpawner

HERE = Path.cwd()
VALUES = yaml.safe_load(Path(os.environ["VALUES"]).read_text(encoding="utf-8"))
HUB, PROXY, API = (f"http://127.0.0.1:{port}" for port in os.environ["PORTS"].split())


class Container(SimpleLocalProcessSpawner):
    """Starts a server in a folder that does not outlive it."""

    @property
    def folder(self) -> Path:
        """The working directory, outside the home."""
        return HERE / "containers" / self.user.name

    def make_preexec_fn(self, name: str):
        """Return what the new process does first."""
        return lambda: os.chdir(self.folder)

    async def start(self) -> tuple[str, int]:
        """Start a server in a new container."""
        self.folder.mkdir(parents=True)
        Path(self.home_dir).mkdir(parents=True, exist_ok=True)
        return await super().start()

    async def stop(self, now: bool = False) -> None:
        """Stop the server and forget its container."""
        await super().stop(now)
        shutil.rmtree(self.folder)


c = get_config()  # noqa: F821
c.JupyterHub.bind_url, c.JupyterHub.hub_bind_url, c.ConfigurableHTTPProxy.api_url = HUB, PROXY, API
c.JupyterHub.spawner_class = Container
c.Container.home_dir_template = str(HERE / "homes" / "{username}")
c.Container.args = ["--allow-root"] if os.geteuid() == 0 else []

# From here on as the chart does it, in jupyterhub/files/hub/jupyterhub_config.py.
USER = VALUES["singleuser"]
c.Spawner.start_timeout = c.Spawner.http_timeout = 300
c.Spawner.default_url = USER["defaultUrl"]
c.Spawner.environment = USER["extraEnv"]
c.Spawner.mem_limit, c.Spawner.mem_guarantee = USER["memory"]["limit"], USER["memory"]["guarantee"]
c.Spawner.cpu_limit, c.Spawner.cpu_guarantee = USER["cpu"]["limit"], USER["cpu"]["guarantee"]
c.JupyterHub.services = [{"name": "culler", "api_token": os.environ["CULLER"]}]
SCOPES = ["list:users", "read:users:activity", "read:servers", "delete:servers"]
c.JupyterHub.load_roles = [{"name": "culler", "scopes": SCOPES, "services": ["culler"]}]
for section, settings in VALUES["hub"]["config"].items():
    c[section].update(settings)
