"""Print how long the tests took, and the 20 slowest: what `make test` ends with.

    python tools/slowest.py _build/tests.xml _build/notebooks.xml

The files are pytest's own (`--junit-xml`). The seconds are those of the clock, setting up included.
"""

import sys
from xml.etree import ElementTree

SHOWN = 20


def main(files: list[str]) -> None:
    """Print a line for each file, and one for each of the slowest items in all of them."""
    items = []
    for file in files:
        suite = ElementTree.parse(file).getroot()[0]
        items += suite.iter("testcase")
        print(f"{float(suite.get('time')):7.1f} s  {suite.get('tests')} tests in {file}")
    print(f"\nThe {SHOWN} slowest:")
    items.sort(key=lambda item: -float(item.get("time")))
    for item in items[:SHOWN]:
        print(f"{float(item.get('time')):7.1f} s  {item.get('classname')}: {item.get('name')}")


if __name__ == "__main__":
    main(sys.argv[1:])
