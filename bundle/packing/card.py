"""Documents of a packed bundle: the project's model card, which first says what the weights saw, and data licence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundle.configuration import BUNDLE_ROOT
from bundle.packing.card_sections import sections
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


def trained_on(run: TrainedRun) -> str:
    """What a run learnt from, as the model card's first line tells it.

    Raises:
        ValueError: nothing tells, or earlier weights were the start.
    """
    if run.started_from:
        raise ValueError(
            f"run {run.folder} started from the weights {run.started_from}, so its data set does not tell all that was "
            f"learnt from; say it by --trained_on"
        )
    if run.source == "phantom":
        return f"a synthetic phantom of {run.training_cases} training subjects, not on patients"
    if not run.source:
        raise ValueError(
            f"run {run.folder}: its training noted no kind of data set, expected one to tell what the weights learnt "
            f"from; say it by --trained_on"
        )
    return f"{run.training_cases} cases of the packer's own data (source: {run.source})"


def model_card(run: TrainedRun, name: str, seen: str, metadata: Mapping[str, Any]) -> str:
    """``docs/README.md``: what the weights were trained on, what is packed, and the rest of the project's model card.

    Args:
        run: what is packed.
        name: of the bundle.
        seen: what the weights were trained on.
        metadata: of the bundle.
    """
    first, *parts = re.split(r"^## (.+)\n\n", CARD.read_text(encoding="utf-8"), flags=re.MULTILINE)
    told = dict(zip(parts[::2], parts[1::2], strict=True))
    told |= {heading: f"{section}\n" for heading, section in sections(run, seen, metadata).items()}
    text = first + "".join(f"## {heading}\n\n{section}" for heading, section in told.items())
    text = re.sub(r"\[([^\]]+)\]\((?!https?://|#)[^)]+\)", r"the project's \1", text)  # which is not packed
    stage = "the segmenter of self-training" if run.segmenter else "classifiers of slice tags"
    stage = "trained on masks" if run.saw_masks else stage
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
    return PHANTOM_LICENCE if run.source == "phantom" and not run.started_from else OTHER_LICENCE
