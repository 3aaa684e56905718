"""Readers of boxes: COCO, VOC, YOLO, tables."""
