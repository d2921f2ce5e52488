"""Make the site's fonts: Source Sans 3 and Source Code Pro, cut down to the characters of the book.

    npm pack source-sans@3.52.0 source-code-pro@2.42.0 && for f in *.tgz; do tar xf $f; …
    python tools/make_fonts.py source-sans/package source-code-pro/package

What neither has, a few signs of mathematics, is taken from the DejaVu Sans that matplotlib brings.
The licence of the two, SIL OFL 1.1, reserves their name: what is made of them is called otherwise.
"""

import sys
from pathlib import Path

import matplotlib
from fontTools import subset
from fontTools.ttLib import TTFont

FONTS = Path(__file__).resolve().parent.parent / "book" / "_static" / "fonts"
LATIN = "U+20-7E,U+A0-17F,U+218-21B"
SIGNS = (
    "U+2C6,U+2C9,U+302,U+304,U+391-3A9,U+3B1-3C9,U+2009,U+200B,U+2010-2014,U+2016,U+2018-201E,U+2020-2022,"
    "U+2026,U+2032,U+2033,U+2039,U+203A,U+2044,U+2070-2089,U+20AC,U+2153,U+2154,U+2190-2193,"
    "U+2202,U+2206,U+2211,U+2212,U+221A,U+221E,U+222B,U+2248,U+2260,U+2264,U+2265,U+2500,U+2713"
)
#: Not in Source Sans: ★ ⁻ ∇ ∈ ∗ ∝ ∣ ∥ ⊙ ⊤ ⋅ ⋆ ⋯ ⌈ ⌉ ⌊ ⌋ ✗ ᵀ.
OTHERS = (
    "U+207B,U+2207,U+2208,U+2217,U+221D,U+2223,U+2225,U+2299,U+22A4,U+22C5,U+22C6,"
    "U+22EF,U+2308-230B,U+2605,U+2717,U+1D40"
)


def make(source: Path, name: str, family: str, characters: str) -> None:
    """Subset one font and give it its name."""
    made = FONTS / f"{name}.woff2"
    subset.main(
        [
            str(source),
            f"--unicodes={characters}",
            "--flavor=woff2",
            "--no-hinting",
            "--layout-features=kern,tnum",
            f"--output-file={made}",
        ]
    )
    font = TTFont(made)
    for record in font["name"].names:
        if record.nameID in (1, 3, 4, 6, 16, 25):
            record.string = family.replace(" ", "") if record.nameID == 6 else family
    font.save(made)
    print(f"{made.name}: {made.stat().st_size / 1000:.1f} KB")


def main() -> None:
    """Make all four."""
    sans, mono = (Path(folder) for folder in sys.argv[1:3])
    dejavu = Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")
    text = f"{LATIN},{SIGNS}"
    make(sans / "VF" / "SourceSans3VF-Upright.ttf", "sans", "Book Sans", text)
    make(sans / "TTF" / "SourceSans3-It.ttf", "sans-italic", "Book Sans", text)
    make(mono / "TTF" / "SourceCodePro-Regular.ttf", "mono", "Book Mono", text)
    make(dejavu, "signs", "Book Signs", OTHERS)


if __name__ == "__main__":
    main()
