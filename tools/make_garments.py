"""Make the garments on which the page's figures train, book/_static/garments.js, from d2lite's own.

A classic script, so that a page that is opened as a file can load it too. Pages ask for it when a
reader presses Train.
"""

from base64 import b64encode

from d2lite.explore.training import COUNT, HELD_OUT, garments
from notebooks import ROOT

SCRIPT = ROOT / "book" / "_static" / "garments.js"
TEXT = """// Fashion-MNIST (Xiao et al., 2017, MIT licence): made by tools/make_garments.py.
globalThis.D2_GARMENTS = {{ count: {}, held_out: {}, labels: "{}",
  images: "{}" }};
"""


def main() -> None:
    """Write the script."""
    labels, images = garments()
    SCRIPT.write_text(TEXT.format(COUNT, HELD_OUT, labels, b64encode(images).decode()))
    print(f"{SCRIPT}: {SCRIPT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
