"""Make d2lite's packaged text, help_topics.txt.xz, from the help topics of the Python that runs it.

    python3.13 tools/make_help_topics.py    # that of 3.13.0 is the one that ships

The topics, in alphabetical order. A topic may repeat whole sections of another: a paragraph that
has stood before is left out, so that no part of the text is a copy of one that is held back.
Typographic quotes, dashes and the like become plain ASCII. The same Python writes the same file.
"""

import argparse
import lzma
from hashlib import sha256
from pathlib import Path
from pydoc_data.topics import topics

PACKAGED = Path(__file__).parent.parent / "d2lite" / "data" / "help_topics.txt.xz"
QUOTES = {"“": '"', "”": '"', "‘": "'", "’": "'"}
PLAIN = QUOTES | {"–": "-", "—": "--", "…": "...", "°": "", "ß": "ss"}


def main() -> None:
    """Write the packaged file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=PACKAGED, help="default: %(default)s")
    arguments = parser.parse_args()

    paragraphs: dict[str, str] = {}  # by what they say, whatever their indentation
    for _, topic in sorted(topics.items()):
        for paragraph in topic.strip("\n").split("\n\n"):
            paragraphs.setdefault(" ".join(paragraph.split()), paragraph.rstrip())
    text = "\n\n".join(paragraphs.values()).translate(str.maketrans(PLAIN)) + "\n"
    contents = lzma.compress(text.encode("ascii"), preset=9 | lzma.PRESET_EXTREME)
    arguments.output.write_bytes(contents)
    print(f"{arguments.output}: {len(contents):,} bytes, {len(text):,} characters")
    print(f"SHA-256 of the text: {sha256(text.encode('ascii')).hexdigest()}")


if __name__ == "__main__":
    main()
