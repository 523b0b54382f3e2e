"""From files to slices with tags: records, readers, checks, the slice cache and the data sets on top."""

from bundle.data.augmentation import Augmentation, IntensityJitter
from bundle.data.bags import BagSampler, VolumeTagDataset
from bundle.data.cache import PreparedCase, write_case
from bundle.data.collate import collate_cases, geometry_of
from bundle.data.datalists import datalist, find_datalist, find_entries, raw_record, read_datalist, truth_path
from bundle.data.datasets import CaseDataset, SliceDataset
from bundle.data.foreground import background_value, find_foreground
from bundle.data.geometry import SliceGeometry
from bundle.data.labels import read_label, tags_from_mask
from bundle.data.mask_slices import MaskSliceDataset
from bundle.data.masks import read_mask
from bundle.data.names import name_list, nearest_name
from bundle.data.normalisation import LowestToZerod, NormalizeByForegroundd, SliceNormalization
from bundle.data.patches import PseudoLabelPatchDataset
from bundle.data.phantom import make_phantom
from bundle.data.phantom_prostate import make_prostate_phantom
from bundle.data.prepare import Preparation, PrepareOptions, prepare_cohort
from bundle.data.pseudo_labels import PseudoLabelSliceDataset
from bundle.data.readers import download_decathlon, find_brats, find_cases, find_decathlon, find_folder
from bundle.data.records import CaseRecord, ImageSource
from bundle.data.sampling import EpochSampler
from bundle.data.siblings import entry_of_path
from bundle.data.slabs import SlabDataset
from bundle.data.slices import SliceArrays, foreground_statistics, to_slices
from bundle.data.sources import prepare_source
from bundle.data.splits import make_splits, read_splits, write_splits
from bundle.data.tags import TagTable, read_tags
from bundle.data.truth import LoadTruthd
from bundle.data.volumes import CaseVolumes, read_case

__all__ = [
    "Augmentation",
    "BagSampler",
    "CaseDataset",
    "CaseRecord",
    "CaseVolumes",
    "EpochSampler",
    "ImageSource",
    "IntensityJitter",
    "LoadTruthd",
    "LowestToZerod",
    "MaskSliceDataset",
    "NormalizeByForegroundd",
    "Preparation",
    "PrepareOptions",
    "PreparedCase",
    "PseudoLabelPatchDataset",
    "PseudoLabelSliceDataset",
    "SlabDataset",
    "SliceArrays",
    "SliceDataset",
    "SliceGeometry",
    "SliceNormalization",
    "TagTable",
    "VolumeTagDataset",
    "background_value",
    "collate_cases",
    "datalist",
    "download_decathlon",
    "entry_of_path",
    "find_brats",
    "find_cases",
    "find_datalist",
    "find_decathlon",
    "find_entries",
    "find_folder",
    "find_foreground",
    "foreground_statistics",
    "geometry_of",
    "make_phantom",
    "make_prostate_phantom",
    "make_splits",
    "name_list",
    "nearest_name",
    "prepare_cohort",
    "prepare_source",
    "raw_record",
    "read_case",
    "read_datalist",
    "read_label",
    "read_mask",
    "read_splits",
    "read_tags",
    "tags_from_mask",
    "to_slices",
    "truth_path",
    "write_case",
    "write_splits",
]
