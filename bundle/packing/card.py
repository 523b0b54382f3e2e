"""Documents of a packed bundle: the project's model card, which first says what the weights saw, and data licence."""

from __future__ import annotations

import re
from pathlib import Path

from bundle.configuration import BUNDLE_ROOT
from bundle.packing.run_folder import TrainedRun

CARD = BUNDLE_ROOT / "docs" / "README.md"
PHANTOM_LICENCE = """\
The weights were trained on a synthetic phantom, which this project's code makes; no patient's data took part.

The phantom's brain is the ICBM152 2009 template (Fonov et al. 2009, 2011), deformed. The template's own notice:

Copyright (C) 1993-2009 Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological Institute, McGill
University. Permission to use, copy, modify, and distribute this software and its documentation for any purpose and
without fee is hereby granted, provided that the above copyright notice appear in all copies. The authors and McGill
University make no representations about the suitability of this software for any purpose. It is provided "as is"
without express or implied warranty. The authors are not responsible for any data loss, equipment damage, property
loss, or injury to subjects or patients resulting from the use or misuse of this software package.
"""
OTHER_LICENCE = """\
The weights were trained on data that are not part of this bundle. Whether and how such weights may be passed on
depends on the terms of those data: ask whoever packed this bundle.
"""
COMMANDS = """\
## Commands

From the folder of this bundle, with the packages in `configs/metadata.json` installed (`D` a data set that
`scripts.prepare_data` made, `R` where to write, `SCANS` raw scans in the BraTS or decathlon layout or one 4D file a
case; any tree with `--patterns`):

```bash
python -m monai.bundle run --config_file configs/inference.json --dataset_dir SCANS --output_dir R
python -m monai.bundle run --config_file configs/evaluate.json --dataset_dir D --output_dir R
python -m scripts.prepare_data brats --input_dir BraTS --output_dir D --tags tags.csv
python -m monai.bundle run training --config_file configs/train.json --dataset_dir D --output_dir R{training}
torchrun --standalone --nproc_per_node 2 -m monai.bundle run training \\
  --config_file "['configs/train.json','configs/multi_gpu_train.json']" --dataset_dir D --output_dir R{training}
python -m scripts.verify .
```

`run` also works from anywhere by the absolute path of a config. Other commands of `monai.bundle` (`ckpt_export`,
`verify_net_in_out`, `load` in Python) find the code in `bundle/` from this folder, or from elsewhere after
`export PYTHONPATH=` followed by its path.
"""


def trained_on(run: TrainedRun) -> str:
    """What a run learnt from, as the model card's first line tells it.

    Raises:
        ValueError: the data set is not there any more, so nothing tells.
    """
    if run.source == "phantom":
        return f"a synthetic phantom of {run.training_cases} training subjects, not on patients"
    if not run.source:
        raise ValueError(
            f"run {run.folder}: expected its data set {run.settings['dataset_dir']} to tell what the weights were "
            f"trained on, found none there; start where it was trained, or say it by --trained_on"
        )
    return f"{run.training_cases} cases of the packer's own data (source: {run.source})"


def model_card(run: TrainedRun, name: str, seen: str) -> str:
    """``docs/README.md``: what the weights were trained on, what is packed, and the project's model card.

    Args:
        run: what is packed.
        name: of the bundle.
        seen: what the weights were trained on.
    """
    text = CARD.read_text(encoding="utf-8")
    commands = COMMANDS.format(training=" --labels_dir MAPS" if run.segmenter else "")
    text = re.sub(
        r"^## Commands\n.*?(?=^## )", lambda _: commands + "\n", text, flags=re.MULTILINE | re.DOTALL
    )
    text = re.sub(r"\[([^\]]+)\]\((?!https?://|#)[^)]+\)", r"\1", text)  # the other documents are not packed
    stage = (
        "the segmenter of self-training"
        if run.segmenter
        else "one classifier a modality, whose maps are fused"
    )
    facts = [
        f"# {name}",
        f"- **Network**: {stage}; modalities, in this order: {', '.join(run.modalities)}.",
        f"- **Slices**: {run.settings['spatial_size']} pixels a side.",
        "- **Its own score**: "
        + (
            f"mean Dice {run.scores['mean']:.3f} over {run.scores['n']} test cases."
            if run.scores
            else "not evaluated before packing."
        ),
        "- The figures under Performance are the project's, from other runs.",
    ]
    return f"Weights trained on {seen}.\n\n{facts[0]}\n\n" + "\n".join(facts[1:]) + f"\n\n{text}"


def data_licence(run: TrainedRun, file: Path | None) -> str:
    """``docs/data_license.txt``.

    Args:
        run: what is packed.
        file: text that the packer gives; else the phantom's, or where to ask.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if file is not None:
        if not file.is_file():
            raise FileNotFoundError(
                f"--data_license {file}: expected a text file, found none; correct the path"
            )
        return file.read_text(encoding="utf-8")
    return PHANTOM_LICENCE if run.source == "phantom" else OTHER_LICENCE
