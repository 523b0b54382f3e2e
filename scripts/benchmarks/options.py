"""The shapes that everything is measured at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BenchmarkOptions:
    """Shapes and repetitions. The defaults are those that the targets are stated for.

    Args:
        width: channels of the U-Net's first level.
        levels: its poolings (configs/train.yaml: 2).
        size: side of the training slices in pixels.
        batch_size: slices per step and per forward pass.
        step_modalities: K of the training step.
        modalities: K of inference, preparing and metrics.
        volume: voxels of a scan along its three axes (240 x 240 x 155: BraTS).
        cases: number of scans that preparing takes and that inference's memory is compared with one over.
        rounds: measurements of each variant, in turn.
    """

    width: int = 16
    levels: int = 2
    size: int = 96
    batch_size: int = 16
    step_modalities: int = 2
    modalities: int = 4
    volume: tuple[int, int, int] = (240, 240, 155)
    cases: int = 3
    rounds: int = 10

    def __post_init__(self) -> None:
        if len(self.volume) != 3:
            raise ValueError(f"--volume has {len(self.volume)} numbers, expected 3: voxels along each axis")
        counts = {name: value for name, value in vars(self).items() if name != "volume"}
        counts["volume"] = min(self.volume)
        for name, value in counts.items():
            if value < 1:
                raise ValueError(f"--{name} is {value}, expected at least 1; give a positive number")

    def names(self, count: int) -> list[str]:
        """Names of `count` modalities."""
        return [f"m{index}" for index in range(count)]
