"""Weakly supervised segmentation of multi-modal scans from image-level tags, as a MONAI Bundle."""
