"""Point every link at one repository: `make links REPO=owner/name BRANCH=main`.

The address stands in pyproject.toml, under `[project.urls]`. From there this script writes it into
_config.yml, the pages that name it, the set-up cell of every notebook and what a classroom's server
uses. Where the address is nobody's, the set-up cell installs nothing in Colab, and says what to do.
Without arguments it only does that. With HUB=https://… it prints a link for each chapter that puts
it before every user of that JupyterHub.
"""

import argparse
import re
from pathlib import Path
from urllib.parse import urlencode

import nbformat

from notebooks import ROOT, chapters, code_sha256, read

SET_UP = """\
import sys

if "google.colab" in sys.modules:  # elsewhere d2lite is installed
    {colab}
from d2lite.plot import use_style

use_style()"""

NO_OWNER = "/your_account/"  # in the address of a copy that nobody has published
ADVICE = "No address yet: `make links REPO=owner/name`, commit, push"
PYPROJECT = ROOT / "pyproject.toml"
CONFIG = ROOT / "_config.yml"
CLASSROOM = ROOT / "book" / "teaching" / "classroom-server.md"
NAMING = ["CONTRIBUTING.md", "CITATION.cff", "book/how-to-use.md"]
PAGES = [*(ROOT / name for name in NAMING), CLASSROOM]
TLJH = ROOT / "classroom" / "tljh.sh"
HUB = "https://hub.example.org"  # on the page about classrooms
ADDRESS = re.compile(r'(?<=^Repository = ")[^"]*(?=")', re.MULTILINE)
SITE = re.compile(r"(?<=^  baseurl: )\S+", re.MULTILINE)
BRANCH = re.compile(r"(?<=^  branch: )\S+", re.MULTILINE)


def address() -> tuple[str, str]:
    """Return the repository's address and branch, as they are now."""
    repository = ADDRESS.search(PYPROJECT.read_text(encoding="utf-8"))
    branch = BRANCH.search(CONFIG.read_text(encoding="utf-8"))
    assert repository and branch, "pyproject.toml or _config.yml lost its repository"
    return repository.group(), branch.group()


def site(repository: str) -> str:
    """Where GitHub Pages shows a repository's site; an empty text for a repository of nobody."""
    owner, name = repository.split("/")[-2:]
    if NO_OWNER in repository:
        return ""
    home = f"https://{owner.lower()}.github.io/"
    return home if home == f"https://{name.lower()}/" else f"{home}{name}/"


def set_up_cell() -> str:
    """Return the text of the set-up cell that every notebook has."""
    repository, branch = address()
    install = f"%pip install -q git+{repository}@{branch}"
    return SET_UP.format(colab=f'sys.exit("{ADVICE}")' if NO_OWNER in repository else install)


def pull_link(hub: str, path: Path) -> str:
    """Return the link with which nbgitpuller fetches the course and opens a notebook."""
    repository, branch = address()
    notebook = f"lab/tree/convnets/{path.relative_to(ROOT).as_posix()}"
    query = {"repo": repository, "branch": branch, "targetpath": "convnets", "urlpath": notebook}
    return f"{hub}/hub/user-redirect/git-pull?{urlencode(query)}"


def substitute(path: Path, pattern: re.Pattern | str, text: str) -> None:
    """Replace every match of a pattern in a file."""
    old = path.read_text(encoding="utf-8")
    path.write_text(re.sub(pattern, lambda match: text, old), encoding="utf-8")


def main() -> None:
    """Write the address wherever it belongs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repository", help="owner/name, on GitHub")
    parser.add_argument("--branch", help="the branch that readers see")
    parser.add_argument("--hub", help="a JupyterHub with nbgitpuller")
    arguments = parser.parse_args()
    old, _ = address()
    if arguments.repository:
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", arguments.repository):
            parser.error(f"REPO={arguments.repository}: must be owner/name")
        substitute(PYPROJECT, ADDRESS, f"https://github.com/{arguments.repository}")
    if arguments.branch:
        substitute(CONFIG, BRANCH, arguments.branch)
    repository, branch = address()
    if arguments.hub and NO_OWNER in repository:
        parser.error(ADVICE)
    for path in [CONFIG, *PAGES]:
        substitute(path, re.escape(old), repository)
    substitute(CONFIG, SITE, f'"{site(repository)}"')
    substitute(TLJH, r"git\+[^\s\"]+", f"git+{repository}@{branch}")
    example = pull_link(HUB, ROOT / "book" / "convolution" / "output-size.ipynb")
    substitute(CLASSROOM, re.escape(HUB) + r"/hub/\S+", example)
    for path in chapters():
        notebook = read(path)
        first = next(cell for cell in notebook.cells if cell.cell_type == "code")
        if first.source != set_up_cell():
            first.source = set_up_cell()
            if "d2lite" in notebook.metadata:  # executed before
                notebook.metadata["d2lite"]["code_sha256"] = code_sha256(notebook)
            nbformat.write(notebook, path)
        if arguments.hub:
            print(pull_link(arguments.hub.rstrip("/"), path))
    print(f"All links lead to {repository}, branch {branch}.")


if __name__ == "__main__":
    main()
