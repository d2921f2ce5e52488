"""Exercises and questions in plain Markdown: a Sphinx extension that makes a page of them.

A chapter writes an exercise under a heading "Exercise 2 ★: …" and its solution under a heading
"Solution", which Jupyter folds itself. Here the page folds it as well, and does not list it among
its contents. Other pages refer to the second exercise of the chapter `pooling` as ex-pooling-2.
"""

import re

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform


def html(text: str) -> nodes.raw:
    """A piece of HTML."""
    return nodes.raw("", text, format="html")


def is_answer(node: nodes.Node) -> bool:
    """Does a folded answer begin here?"""
    return isinstance(node, nodes.raw) and "<summary>Answer</summary>" in node.astext()


def offer_choices(answer: nodes.raw, number: int) -> None:
    """Make a group of buttons of the paragraph and the list before a folded answer."""
    parent, place = answer.parent, answer.parent.index(answer)
    asked, choices = parent[place - 2 : place]
    group = [html('<fieldset class="question"><legend>'), *asked.children, html("</legend>")]
    for item in choices:
        value = item[0].astext()[0]  # its letter
        button = f'<input type="radio" name="question-{number}" value="{value}" autocomplete="off">'
        group += [html(f"<label>{button}<span>"), *item[0].children, html("</span></label>")]
    parent[place - 2 : place] = [*group, html('<p role="status"></p></fieldset>')]


class Exercises(SphinxTransform):
    """Name the exercises of a page, fold their solutions, and make its questions a choice."""

    default_priority = 840  # before labels (850) and contents (880) are gathered

    def apply(self, **kwargs: object) -> None:
        """Do it in one page."""
        for number, answer in enumerate(list(self.document.findall(is_answer))):
            offer_choices(answer, number)
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
