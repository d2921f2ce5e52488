"""nbgrader for the student copies: run `nbgrader` where this file and _build/student lie."""

from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearOutput,
    ComputeChecksums,
    LockCells,
    SaveCells,
)

c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "convnets"
c.CourseDirectory.source_directory = "_build/student"
# `make student` has taken the solutions out already. nbgrader's own ClearSolutions, left out here,
# would overwrite the stubs.
c.GenerateAssignment.preprocessors = [
    LockCells,
    ClearOutput,
    CheckCellMetadata,
    ComputeChecksums,
    SaveCells,
    CheckCellMetadata,
]
c.ExecutePreprocessor.timeout = 600  # seconds a cell
# A check fails by an exception alone. Without this, whatever it writes to stderr, a warning or a
# progress bar, costs all of its points.
c.IgnorePattern.enabled = True
c.IgnorePattern.pattern = "^"  # any text
