"""A run as a bundle of the model zoo, and whether a folder is one."""

from bundle.packing.pack import Packed, PackOptions, pack

__all__ = ["PackOptions", "Packed", "pack"]
