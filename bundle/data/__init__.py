"""From files to slices with tags: records, readers, checks, the slice cache and the data sets on top."""

from bundle.data.cache import PreparedCase, write_case
from bundle.data.datalists import datalist, find_datalist, raw_record, read_datalist, truth_path
from bundle.data.foreground import background_value, find_foreground
from bundle.data.geometry import SliceGeometry
from bundle.data.names import name_list, nearest_name
from bundle.data.records import CaseRecord, ImageSource
from bundle.data.slices import SliceArrays, foreground_statistics, to_slices

__all__ = [
    "CaseRecord",
    "ImageSource",
    "PreparedCase",
    "SliceArrays",
    "SliceGeometry",
    "background_value",
    "datalist",
    "find_datalist",
    "find_foreground",
    "foreground_statistics",
    "name_list",
    "nearest_name",
    "raw_record",
    "read_datalist",
    "to_slices",
    "truth_path",
    "write_case",
]
