"""A pytest plugin that forks the kernel of each notebook from a process that has imported torch.

    python -m pytest -p tests.forked_kernels --nbval book

A new kernel spends most of its first seconds on imports; a forked one has them, and is fresh
otherwise. The process that is forked only imports: it starts no thread. On macOS, whose own
libraries may start some, kernels start as always.
"""

import multiprocessing
import os
import sys
from importlib.metadata import EntryPoint
from threading import Thread
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

NAME = "forked-provisioner"
IMPORTED = ["ipykernel.kernelapp", "IPython.core.magics", "matplotlib.figure", "torchvision"]
IMPORTED += ["d2lite.explore", "d2lite.plot", "d2lite.train", "d2lite.data"]
context: Any = multiprocessing.get_context("forkserver")


def pytest_configure() -> None:
    if sys.platform == "linux":
        factory = KernelProvisionerFactory.instance()
        factory.provisioners[NAME] = EntryPoint(
            NAME, f"{__name__}:ForkedProvisioner", factory.GROUP_NAME
        )
        factory.default_provisioner_name = NAME
        # Read when matplotlib is imported; ipykernel sets it, too late for what is imported before.
        os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
        context.set_forkserver_preload(IMPORTED)


class ForkedProvisioner(LocalProvisioner):
    """Starts kernels by forking; in all else the process is like another."""

    async def launch_kernel(
        self, cmd: list[str], *, cwd: str, env: dict[str, str], **settings: object
    ) -> KernelConnectionInfo:
        self.process = Forked(target=run_kernel, args=(cmd[3:], cwd, env))
        self.process.start()
        self.pid = self.pgid = self.process.pid
        self.cwd = cwd
        return self.connection_info


class Forked(context.Process):
    """A forked process with those methods of `subprocess.Popen` that a provisioner calls."""

    stdin = stdout = stderr = None

    def poll(self) -> int | None:
        return self.exitcode

    def wait(self) -> int:
        self.join()
        return self.exitcode

    def send_signal(self, signal: int) -> None:
        os.kill(self.pid, signal)


def run_kernel(arguments: list[str], cwd: str, env: dict[str, str]) -> None:
    """In the forked process: be what `python -m ipykernel_launcher` is."""
    import numpy
    import torch
    from ipykernel.kernelapp import IPKernelApp

    os.setsid()
    os.chdir(cwd)
    os.environ.update(env)
    sys.argv = ["ipykernel_launcher.py", *arguments]
    with open(os.devnull, "w") as nowhere:  # nbval has no stderr either
        os.dup2(nowhere.fileno(), sys.stderr.fileno())
    torch.seed()  # not that of the other kernels
    numpy.random.seed()
    Thread(target=end_with_parent, daemon=True).start()
    # Its own watch would look for the pytest process as its parent.
    IPKernelApp.launch_instance([*arguments, "--IPKernelApp.parent_handle=1"])


def end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
