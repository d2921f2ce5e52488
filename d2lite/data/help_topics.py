"""A text, for models of language: the help topics of Python 3.13, which explain the language.

``tools/make_help_topics.py`` made the file. Copyright and licence stand in ``NOTICE``.
"""

import lzma
from pathlib import Path

PACKAGED = Path(__file__).with_name("help_topics.txt.xz")


def help_topics() -> str:
    """Load Python's own help topics, in plain ASCII: 414,193 characters, of 95 kinds.

    Topics stand in alphabetical order, and no paragraph stands twice. Prose and code alternate, so
    that most characters are common and some are rare: 81,135 spaces, 4 times a J.

    >>> text = help_topics()
    >>> len(text), len(set(text))
    (414193, 95)
    >>> text[:22]
    'The "assert" statement'
    """
    with lzma.open(PACKAGED, "rt", encoding="ascii", newline="\n") as file:
        return file.read()
