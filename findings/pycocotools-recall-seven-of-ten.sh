#!/bin/bash
# pycocotools 2.0.11: of ten objects a detector finds seven, exactly, and nothing else. AP is not
# that of recalls up to 0.70.
#
# Expected: AP reads the best precision at the recalls 0, 0.01, …, 1 and takes the mean. Found are
#           k of 10, each with precision 1, so the recalls up to k/10 have 1 and AP is
#           (10 k + 1) / 101 for each k: 71/101 for seven.
# Seen:     right for every k from 1 to 10 but 7: there 70/101. The recalls come from a linspace,
#           and its number 70 is 0.7000000000000001, just above 7/10. Of a hundred objects, one
#           hundredth is lost for each of ten numbers of them: 35, 41, 47, 57, 69, 70, 82, 83, 94, 95.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install -q --disable-pip-version-check pycocotools==2.0.11 numpy==2.2.6
cat >seven.py <<'END'
import contextlib
import io
from importlib.metadata import version

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

print("pycocotools", version("pycocotools"), "numpy", version("numpy"))


def ap(found, of):
    box = [10.0, 10.0, 20.0, 20.0]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": i, "height": 64, "width": 64} for i in range(1, of + 1)],
            "categories": [{"id": 1, "name": "boot"}],
            "annotations": [
                {"id": i, "image_id": i, "category_id": 1, "bbox": box, "area": 400, "iscrowd": 0}
                for i in range(1, of + 1)
            ],
        }
        truth.createIndex()
        detections = truth.loadRes([
            {"image_id": i, "category_id": 1, "bbox": box, "score": 1 - i / 1000}
            for i in range(1, found + 1)
        ])
        evaluation = COCOeval(truth, detections, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return round(float(evaluation.stats[0]) * 101, 6)


print({k: ap(k, 10) for k in range(1, 11)})
print("short by one:", [k for k in range(1, 101) if ap(k, 100) < k + 1])
END
env/bin/python seven.py | tee seen
cat >expected <<'END'
pycocotools 2.0.11 numpy 2.2.6
{1: 11.0, 2: 21.0, 3: 31.0, 4: 41.0, 5: 51.0, 6: 61.0, 7: 70.0, 8: 81.0, 9: 91.0, 10: 101.0}
short by one: [35, 41, 47, 57, 69, 70, 82, 83, 94, 95]
END
diff expected seen || { echo "This has changed."; exit 1; }
