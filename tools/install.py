"""Set up `.venv` for `make book` (what rendering needs, no torch) or `make test` (everything).

    python3 tools/install.py book
    python3 tools/install.py all

Runs on any Python 3, so that an old one gets a clear message. Safe to interrupt and to repeat.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PIP = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
NEEDS = {"book": 1, "all": 9}  # GB of disk; torch on Linux brings the CUDA libraries along
EXPLANATIONS = {  # what pip prints: what to do
    "No space left": "the disk is full; free {} GB and repeat",
    "(from versions: none)": "the package index cannot be reached; check the network and repeat",
    "connection broken": "the package index cannot be reached; check the network and repeat",
    "Read timed out": "the package index does not answer; repeat",
    "No matching distribution": "no such package for this Python; try another, such as"
    " `make PYTHON=python3.11 …`",
    "do not match the hashes": "a download was damaged; repeat",
}


def stop(reason):
    """End with one line that says what to do."""
    sys.exit("install: " + reason)


def run(*command):
    """Run a command; if it fails, explain."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        for symptom, advice in EXPLANATIONS.items():
            if symptom in done.stdout:
                stop(advice.format(NEEDS[sys.argv[1]]))
        sys.stderr.write(done.stdout[-2000:] + "\n")
        stop("`" + " ".join(command) + "` failed; its last lines stand above")


def main():
    """Make the environment, then install what is asked for."""
    if sys.version_info < (3, 10):
        stop(
            "Python %d.%d found, 3.10 or newer needed; try `make PYTHON=python3.11 …`"
            % sys.version_info[:2]
        )
    what = sys.argv[1]
    free = shutil.disk_usage(str(ROOT)).free / 1e9
    if free < NEEDS[what]:
        stop(f"the disk has {free:.1f} GB left, {NEEDS[what]} GB needed; free some and repeat")
    print(f"Installing into {VENV.name} …", flush=True)
    if not (VENV / "bin" / "pip").exists():
        done = subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)])
        if done.returncode:
            stop("no virtual environment; on Debian and Ubuntu: apt install python3-venv")
    if what == "book":
        run(*PIP, "install", "--upgrade", "--no-compile", "pip>=25.1")  # knows --group
        run(*PIP, "install", "--no-compile", "--group", "book", "-c", "requirements.txt")
    else:
        run(*PIP, "install", "--no-deps", "-r", "requirements.txt")
        run(*PIP, "install", "--no-deps", "--no-build-isolation", "-e", ".")
        (VENV / ".all").touch()
    (VENV / ".book").touch()


if __name__ == "__main__":
    main()
