#!/bin/bash
# nbgrader 0.9.6: Validate does not read the configuration by which it grades.
#
# Expected: `nbgrader validate`, and the button of that name, tell a student what `nbgrader autograde`
#           will say of the same notebook with the same nbgrader_config.py.
# Seen:     with IgnorePattern enabled, a check that writes to stderr and passes gets its point from
#           autograde. Validate runs its own fixed list of steps, without IgnorePattern, and tells the
#           student: VALIDATION FAILED, you WILL NOT receive full credit.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check nbgrader==0.9.6 ipykernel
export PATH="$folder/env/bin:$PATH" JUPYTER_DATA_DIR="$folder/data" JUPYTER_CONFIG_DIR="$folder/none"
echo "nbgrader $(python -c 'from importlib.metadata import version as v; print(v("nbgrader"))')"

cat >nbgrader_config.py <<'END'
c = get_config()
c.CourseDirectory.course_id = "course"
c.IgnorePattern.enabled = True
c.IgnorePattern.pattern = "UserWarning"
END
mkdir -p source/week
python - <<'END'
import nbformat
from nbformat.v4 import new_code_cell, new_notebook

role = {"schema_version": 3, "task": False, "grade": True, "solution": False, "locked": True}
check = new_code_cell("import warnings\nwarnings.warn('take care')\nassert 1 + 1 == 2")
check.metadata["nbgrader"] = role | {"grade_id": "check", "points": 1}
kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
nbformat.write(new_notebook(cells=[check], metadata={"kernelspec": kernel}), "source/week/day.ipynb")
END
nbgrader generate_assignment week >>log 2>&1
mkdir -p submitted/ada
cp -r release/week submitted/ada/
nbgrader autograde week >>log 2>&1
nbgrader export >>log 2>&1
points=$(python -c 'import csv; print(next(csv.DictReader(open("grades.csv")))["score"])')
nbgrader validate submitted/ada/week/day.ipynb >said 2>>log
verdict=$(grep -q "VALIDATION FAILED" said && echo failed || echo passed)
echo "expected  autograde 1.0 of 1, validate passed"
echo "seen      autograde $points of 1, validate $verdict"
[ "$points $verdict" = "1.0 failed" ] || { echo "This has changed."; exit 1; }
