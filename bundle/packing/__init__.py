"""A run as a bundle of the model zoo, and whether a folder is one."""

from bundle.packing.pack import Packed, PackOptions, pack
from bundle.packing.verify import Finding, verify

__all__ = ["Finding", "PackOptions", "Packed", "pack", "verify"]
