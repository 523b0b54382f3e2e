"""Tags to masks in one command: ``python -m scripts.run_chain --dataset_dir D --output_dir R``."""

from __future__ import annotations

import sys
from pathlib import Path

from bundle.chain import ChainOptions, run_chain
from bundle.data.names import name_list
from scripts.command_line import quoted_flags, run, text, whole


def chain(
    *,
    dataset_dir: str | None = None,
    output_dir: str | None = None,
    modalities: str | None = None,
    seed: str = "0",
    splits: str = "splits.json",
    rounds: str = "1",
    cam_configs: str | None = None,
    cam_options: str | None = None,
    cam_training: str | None = None,
    segmenter_configs: str | None = None,
    segmenter_options: str | None = None,
    segmenter_training: str | None = None,
    evaluate: str | None = None,
) -> int:
    """Trains the CAM stage, then a segmenter on its maps; keeps it if tags agree; writes the test cases' masks.

    Run it again to go on after an interruption. R/masks are the result, R/chain.json tells how it came about.

    Args:
        dataset_dir: prepared data set with tags in its training and validation cases.
        output_dir: R.
        modalities: which ones, in this order, such as flair,t1c; by default all of the data set's, in its order.
        seed: of all trainings.
        splits: split file in the data set, such as splits_fold0.json.
        rounds: of self-training; with 0 the CAM stage makes the masks.
        cam_configs: overlays of the CAM stage, such as method_er,network_unet1.
        cam_options: flags of its training and inference in quotes, such as "--width 16".
        cam_training: flags of its training alone, such as "--epochs 8".
        segmenter_configs: overlays of the segmenter, such as network_selftrain3d.
        segmenter_options: flags of the segmenter's training and inference, such as "--width 32".
        segmenter_training: flags of its training alone, such as "--epochs 8".
        evaluate: yes or no; by default the test cases are scored where they have masks.
    """
    if text(dataset_dir) is None or text(output_dir) is None:
        raise ValueError("--dataset_dir and --output_dir are both needed")
    if text(evaluate) not in (None, "yes", "no"):
        raise ValueError(f"--evaluate is {evaluate!r}, expected yes or no")
    number = whole("rounds", rounds) or 0
    if number < 0:
        raise ValueError(f"--rounds is {rounds!r}, expected a number from 0 up")
    options = ChainOptions(
        dataset_dir=Path(str(dataset_dir)),
        output_dir=Path(str(output_dir)),
        modalities=name_list(modalities) if text(modalities) else (),
        seed=whole("seed", seed) or 0,
        splits=splits,
        rounds=number,
        cam_configs=name_list(cam_configs) if text(cam_configs) else (),
        cam_options=quoted_flags("cam_options", cam_options),
        cam_training=quoted_flags("cam_training", cam_training),
        segmenter_configs=name_list(segmenter_configs) if text(segmenter_configs) else (),
        segmenter_options=quoted_flags("segmenter_options", segmenter_options),
        segmenter_training=quoted_flags("segmenter_training", segmenter_training),
        evaluate=None if text(evaluate) is None else text(evaluate) == "yes",
    )
    try:
        run_chain(options)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    run(chain, quoting=("cam_training", "segmenter_training"))
