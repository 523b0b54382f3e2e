"""Dice, ASSD, under and over ratios, the threshold sweep, and the report made of them."""

from bundle.metrics.assd import average_surface_distance_mm
from bundle.metrics.case_panel import CasePanel, make_panel, upright_slice
from bundle.metrics.case_scores import FUSED, CaseRow, CaseScores, score_case
from bundle.metrics.contact_sheet import SheetBlock, draw_contact_sheet, pick_cases, pick_largest
from bundle.metrics.counts import OverlapCounts, count_overlap
from bundle.metrics.dice import dice_score
from bundle.metrics.mask_rule import MaskRule
from bundle.metrics.ratios import over_ratio, under_ratio
from bundle.metrics.report import EMPTY_POLICY, read_rows, write_rows, write_summary
from bundle.metrics.summary import format_table, summarise
from bundle.metrics.threshold_sweep import THRESHOLDS, count_over_thresholds, dice_over_thresholds

__all__ = [
    "EMPTY_POLICY",
    "FUSED",
    "THRESHOLDS",
    "CasePanel",
    "CaseRow",
    "CaseScores",
    "MaskRule",
    "OverlapCounts",
    "SheetBlock",
    "average_surface_distance_mm",
    "count_over_thresholds",
    "count_overlap",
    "dice_over_thresholds",
    "dice_score",
    "draw_contact_sheet",
    "format_table",
    "make_panel",
    "over_ratio",
    "pick_cases",
    "pick_largest",
    "read_rows",
    "score_case",
    "summarise",
    "under_ratio",
    "upright_slice",
    "write_rows",
    "write_summary",
]
