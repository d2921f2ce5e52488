#!/bin/bash
# anywidget 0.9.21 on ipywidgets 7.7.1, the pair that Colab had in August 2026: what a widget offers
# beside its live view is never shown.
#
# Expected: anywidget defines _repr_mimebundle_, and a subclass adds a text/html picture to it for pages
#           without a widget manager. IPython's display takes both, as it does with ipywidgets 8.
# Seen:     a widget of ipywidgets 7 also has _ipython_display_, which IPython asks first and which
#           publishes the live view alone. _repr_mimebundle_ is not called at all. Setting
#           _ipython_display_ = None on the subclass brings it back.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >shown.py <<'END'
import anywidget
import ipywidgets
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
asked = []


class Picture(anywidget.AnyWidget):
    _esm = "export default { render() {} }"

    def _repr_mimebundle_(self, **kwargs):
        asked.append(type(self).__name__)
        data, metadata = super()._repr_mimebundle_(**kwargs)
        return {**data, "text/html": "<svg></svg>"}, metadata


class Mended(Picture):
    _ipython_display_ = None


for kind in (Picture, Mended):
    data, _ = shell.display_formatter.format(kind())
    print(kind.__name__, "asked" if kind.__name__ in asked else "not asked", "text/html" in data)
END
run() {
  python3 -m venv "$1"
  "$1"/bin/pip install -q --disable-pip-version-check anywidget==0.9.21 "${@:2}"
  "$1"/bin/python -W ignore shown.py 2>>log | tail -n 2 | tr '\n' ';'
}
old=$(run seven ipywidgets==7.7.1 traitlets==5.7.1 ipython==7.34.0 'setuptools<80')
new=$(run eight ipywidgets==8.1.9 ipython==9.18.1)
echo "anywidget 0.9.21, ipywidgets 8.1.9  $new"
echo "anywidget 0.9.21, ipywidgets 7.7.1  $old"
[ "$new" = "Picture asked True;Mended asked True;" ] || { echo "This has changed."; exit 1; }
[ "$old" = "Picture not asked False;Mended asked True;" ] || { echo "This has changed."; exit 1; }
