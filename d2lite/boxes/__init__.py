"""Boxes: how well two overlap, which of many to keep, and how good a detector's are."""

from d2lite.boxes.average_precision import (
    COCO_THRESHOLDS,
    RECALLS,
    Detections,
    average_precision,
    evaluate_detections,
    match,
    precision_recall,
)
from d2lite.boxes.iou import (
    box_area,
    box_convert,
    box_iou,
    complete_box_iou,
    distance_box_iou,
    generalized_box_iou,
    masks_to_boxes,
)
from d2lite.boxes.nms import nms, soft_nms

__all__ = [
    "COCO_THRESHOLDS",
    "RECALLS",
    "Detections",
    "average_precision",
    "box_area",
    "box_convert",
    "box_iou",
    "complete_box_iou",
    "distance_box_iou",
    "evaluate_detections",
    "generalized_box_iou",
    "masks_to_boxes",
    "match",
    "nms",
    "precision_recall",
    "soft_nms",
]
