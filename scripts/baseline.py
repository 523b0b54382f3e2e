"""Baselines that need no training: ``python -m scripts.baseline RULE --dataset_dir D --output_dir R``."""

from __future__ import annotations

from bundle.comparison.intensity_baseline import score_baseline
from scripts.command_line import run, text


def baseline(
    rule: str,
    *,
    dataset_dir: str | None = None,
    output_dir: str | None = None,
    modalities: str = "",
    split: str = "test",
    splits: str = "splits.json",
) -> int:
    """Scores an intensity threshold of each modality and writes what an evaluation writes.

    Args:
        rule: otsu (Otsu's threshold in slices tagged positive), training (learnt from the training slices' tags) or
            oracle (chosen on the test masks: an upper bound, no result).
        dataset_dir: prepared data set with masks.
        output_dir: for metrics.csv, summary.json, contact_sheet.png and rule.json.
        modalities: which, such as flair,t1c; by default all.
        split: of the data set: train, validation, test or all.
        splits: file of splits, such as splits_fold0.json.
    """
    if text(dataset_dir) is None or text(output_dir) is None:
        raise ValueError("--dataset_dir and --output_dir are both needed; give them")
    score_baseline(rule, str(dataset_dir), str(output_dir), modalities, split, splits)
    return 0


if __name__ == "__main__":
    run(baseline)
