"""Set up `.venv` for `make book` (what rendering needs, no torch) or `make test` (everything).

    python3 tools/install.py book
    python3 tools/install.py all
    UV_TORCH_BACKEND=cpu python3 tools/install.py all

Does nothing where all is as requirements.txt has it. Runs on any Python 3, so that an old one gets
a clear message. Safe to interrupt and to repeat, and to repeat where the folder has moved.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = str(VENV / "bin" / "python")
PIP = [PYTHON, "-m", "pip", "--disable-pip-version-check", "install"]
UV = [PYTHON, "-m", "uv", "pip", "install", "--python", PYTHON]
GROUPS = ["--group", "book", "--group", "test", "--group", "develop"]
UNFINISHED = VENV / ".unfinished"  # is there while a command changes the environment
SMALL = "UV_TORCH_BACKEND"  # uv's own setting; pip has none
NEEDS = {"book": 1, "all": 9, SMALL: 4}  # GB of disk; torch on Linux brings CUDA's libraries
UNREACHABLE = "the package index cannot be reached; check the network and repeat"
EXPLANATIONS = {  # what pip or uv prints: what to do
    "No space left": "the disk is full; free some GB and repeat",
    "(from versions: none)": UNREACHABLE,
    "connection broken": UNREACHABLE,
    "Failed to fetch": UNREACHABLE,
    "Read timed out": "the package index does not answer; repeat",
    "No matching distribution": "no such package for this Python; try another:"
    " `rm -r .venv`, then `make PYTHON=python3.11 …`",
    "do not match the hashes": "a download was damaged; repeat",
    "RECORD file": "`.venv` is damaged; `rm -r .venv` and repeat",
    "No module named": "`.venv` is damaged; `rm -r .venv` and repeat",
}


def stop(reason):
    """End with one line that says what to do."""
    sys.exit("install: " + reason)


def call(*command):
    """Run a command in the repository; return its exit status and what it printed."""
    done = subprocess.run(
        command,
        cwd=str(ROOT),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    return done.returncode, done.stdout


def run(*command):
    """Run a command that changes the environment; if it fails, explain."""
    UNFINISHED.touch()
    status, printed = call(*command)
    if status >= 0:  # not killed: it has left things whole
        UNFINISHED.unlink()
    if status:
        for symptom, advice in EXPLANATIONS.items():
            if symptom in printed:
                stop(advice)
        sys.stderr.write(printed[-2000:] + "\n")
        stop("`" + " ".join(command) + "` failed; its last lines stand above")


def python_version():
    """Return the version of the environment's Python; an empty text if it does not start."""
    try:
        status, printed = call(PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    except OSError:
        return ""
    return "" if status else printed.strip()


def state():
    """Describe what an environment hangs on: its place, its Python, its packages."""
    pins = hashlib.sha256((ROOT / "requirements.txt").read_bytes()).hexdigest()
    return [str(VENV.resolve()), python_version(), pins]


def create():
    """Make the environment anew, without packages."""
    status, printed = call(sys.executable, "-m", "venv", "--clear", str(VENV))
    if status and "ensurepip" in printed:
        stop("no virtual environment; on Debian and Ubuntu: apt install python3-venv")
    if status:
        stop("no virtual environment: " + printed.strip().splitlines()[-1])


def install(what):
    """Put into the environment what is asked for; what is there already needs no network."""
    if what == "book":
        run(*PIP, "--no-compile", "pip>=25.1")  # knows --group
        run(*PIP, "--no-compile", "--group", "book", "-c", "requirements.txt")
        return
    if os.environ.get(SMALL):
        run(*PIP, "--no-deps", "-c", "requirements.txt", "uv")
        run(*UV, "-r", "pyproject.toml", *GROUPS, "-c", "requirements.txt")
    else:
        run(*PIP, "--no-deps", "-r", "requirements.txt")
    run(*PIP, "--no-deps", "--no-build-isolation", "-e", ".")


def main():
    """Make the environment, then install what is asked for; or find that all is there."""
    if sys.version_info < (3, 10):
        stop(
            "Python %d.%d found, 3.10 or newer needed; try `make PYTHON=python3.11 …`"
            % sys.version_info[:2]
        )
    what = sys.argv[1]
    stamp = VENV / ("." + what)
    before = stamp.read_text(encoding="utf-8").splitlines() if stamp.exists() else []
    now, unfinished = state(), UNFINISHED.exists()
    if before == now and not unfinished:
        return
    if not before:
        free = shutil.disk_usage(str(ROOT)).free / 1e9
        needed = NEEDS[SMALL if what == "all" and os.environ.get(SMALL) else what]
        if free < needed:
            stop(f"the disk has {free:.1f} GB left, {needed} GB needed; free some and repeat")
    print(f"Installing into {VENV.name} …", flush=True)
    version = now[1]
    if unfinished or not version or before[1:2] not in ([], [version]) or not has_pip():
        create()
    elif tuple(map(int, version.split("."))) < (3, 10):
        stop(f"`.venv` has Python {version}, 3.10 or newer needed; `rm -r .venv` and repeat")
    install(what)
    for name in ["book", what]:  # `all` contains what `book` asks for
        (VENV / ("." + name)).write_text("\n".join(state()), encoding="utf-8")


def has_pip():
    """Did the environment's creation come to its end?"""
    return (VENV / "bin" / "pip").exists()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        stop("interrupted; repeat the command")
    except OSError as failure:  # a full disk, a folder that may not be written
        stop("%s; mend it and repeat" % failure)
