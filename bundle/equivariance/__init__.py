"""Draw an affine transform, hold it as a value, apply it to images and maps, invert it."""

from bundle.equivariance.policy import WarpPolicy
from bundle.equivariance.transforms import RandWarp, RandWarpd
from bundle.equivariance.views import Evidence, Views
from bundle.equivariance.warp import Warp

__all__ = ["Evidence", "RandWarp", "RandWarpd", "Views", "Warp", "WarpPolicy"]
