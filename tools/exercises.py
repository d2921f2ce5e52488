"""Exercises in plain Markdown: a Sphinx extension that folds their solutions and names them.

A chapter writes an exercise under a heading "Exercise 2 ★: …" and its solution under a heading
"Solution", which Jupyter folds itself. Here the page folds it as well, and does not list it among
its contents. Other pages refer to the second exercise of the chapter `pooling` as ex-pooling-2.
"""

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform


class Exercises(SphinxTransform):
    """Name the exercises of a page, and put each solution into an element that opens."""

    default_priority = 840  # before labels (850) and contents (880) are gathered

    def apply(self, **kwargs: object) -> None:
        """Do it in one page."""
        for section in list(self.document.findall(nodes.section)):
            if found := re.match(r"Exercise (\d+) ★", section[0].astext()):
                label = f"ex-{self.env.docname.rpartition('/')[2]}-{found[1]}"
                section["ids"].append(label)
                document = self.document  # by its own name alone is it known to other pages
                document.ids[label], document.nameids[label] = section, label
                document.nametypes[label] = True
            if section[0].astext() == "Solution":
                opening = '<details class="solution"><summary>Solution</summary>'
                section.replace_self(
                    [
                        nodes.raw("", opening, format="html"),
                        *section[1:],
                        nodes.raw("", "</details>", format="html"),
                    ]
                )


def setup(app: Sphinx) -> dict:
    """Register with Sphinx."""
    app.add_transform(Exercises)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
