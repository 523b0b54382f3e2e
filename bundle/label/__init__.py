"""Tagging in a viewer through MONAI Label. Here is what needs no server; `app`, `infer`, `train`, `strategy` do."""

from bundle.label.disagreement import disagreement_of_branches
from bundle.label.layout import lay_out_app
from bundle.label.tags import tags_of_labels
from bundle.label.training import Labelled, prepare_labelled

__all__ = ["Labelled", "disagreement_of_branches", "lay_out_app", "prepare_labelled", "tags_of_labels"]
