"""The same warps as MONAI transforms, for a ``Compose``: random, traced and invertible."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform, RandomizableTransform
from monai.utils import TraceKeys, convert_to_tensor

from bundle.equivariance.policy import WarpPolicy
from bundle.equivariance.warp import Warp


class RandWarp(RandomizableTransform, InvertibleTransform):
    """Warp one channel-first slice (C, H, W) by a transform drawn from a policy.

    The result is a ``MetaTensor`` whose trace holds what was drawn, and whose affine has the output-to-input
    voxel matrix multiplied in; :meth:`inverse` undoes it.

    Args:
        policy: what is drawn; the paper's by default.
        prob: probability of warping at all.
        mode: ``"bilinear"``, or ``"nearest"`` for label maps.
    """

    def __init__(self, policy: WarpPolicy | None = None, prob: float = 1.0, mode: str = "bilinear") -> None:
        RandomizableTransform.__init__(self, prob)
        self.policy = policy if policy is not None else WarpPolicy()
        self.mode = mode
        self.warp = Warp.identity(1)

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> RandWarp:
        super().set_random_state(seed, state)
        self.policy.set_random_state(state=self.R)
        return self

    def randomize(self, data: Any = None) -> None:
        super().randomize(data)
        self.warp = self.policy.draw(1) if self._do_transform else Warp.identity(1)

    def __call__(self, img: torch.Tensor, randomize: bool = True) -> MetaTensor:
        if randomize:
            self.randomize()
        image = convert_to_tensor(img, track_meta=True, dtype=torch.get_default_dtype())
        out = _warp(image, self.warp, self.mode)
        self.push_transform(out, orig_size=image.shape[1:], extra_info=_to_plain(self.warp, self.mode))
        return out

    def inverse(self, data: MetaTensor) -> MetaTensor:
        info = self.pop_transform(data)[TraceKeys.EXTRA_INFO]
        return _warp(data, _from_plain(info).inverse(), info["mode"])


class RandWarpd(RandomizableTransform, MapTransform, InvertibleTransform):
    """Dictionary version of :class:`RandWarp`: one draw, and every key is warped alike.

    Args:
        keys: slices (C, H, W), all of one size.
        policy: what is drawn; the paper's by default.
        prob: probability of warping at all.
        mode: interpolation, one for all keys or one a key.
        allow_missing_keys: whether a key may be absent.
    """

    def __init__(
        self,
        keys: KeysCollection,
        policy: WarpPolicy | None = None,
        prob: float = 1.0,
        mode: str | tuple[str, ...] = "bilinear",
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        modes = (mode,) * len(self.keys) if isinstance(mode, str) else tuple(mode)
        if len(modes) != len(self.keys):
            raise ValueError(f"RandWarpd mode: expected one or {len(self.keys)}, one a key, got {len(modes)}")
        self.drawer = RandWarp(policy, prob)
        self.warpers = {
            key: RandWarp(self.drawer.policy, prob, m) for key, m in zip(self.keys, modes, strict=True)
        }

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> RandWarpd:
        super().set_random_state(seed, state)
        self.drawer.set_random_state(state=self.R)
        return self

    def __call__(self, data: Mapping[Hashable, torch.Tensor]) -> dict[Hashable, torch.Tensor]:
        d = dict(data)
        self.drawer.randomize()
        for key in self.key_iterator(d):
            self.warpers[key].warp = self.drawer.warp
            d[key] = self.warpers[key](d[key], randomize=False)
        return d

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, torch.Tensor]:
        d = dict(data)
        for key in self.key_iterator(d):
            d[key] = self.warpers[key].inverse(d[key])
        return d


def _warp(image: MetaTensor, warp: Warp, mode: str) -> MetaTensor:
    out = warp.apply(convert_to_tensor(image, track_meta=False)[None], mode)[0]
    affine = torch.eye(4, dtype=torch.float64)
    plane = torch.tensor([0, 1, 3])  # rows, columns and the shift of a 3D affine
    affine[plane[:, None], plane] = torch.as_tensor(warp.voxel_matrix(image.shape[-1])[0])
    result = MetaTensor(out, affine=image.affine.to(torch.float64) @ affine)
    result.applied_operations = list(image.applied_operations)
    return result


def _to_plain(warp: Warp, mode: str) -> dict[str, Any]:
    matrix = None if warp.matrix is None else warp.matrix.tolist()
    return {"turns": warp.turns.tolist(), "mirrored": warp.mirrored.tolist(), "matrix": matrix, "mode": mode}


def _from_plain(info: Mapping[str, Any]) -> Warp:
    matrix = None if info["matrix"] is None else np.asarray(info["matrix"])
    return Warp(np.asarray(info["turns"]), np.asarray(info["mirrored"], dtype=bool), matrix)
