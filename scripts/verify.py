"""Whether a folder is a bundle that the model zoo would take: ``python -m scripts.verify DIR``."""

from __future__ import annotations

from pathlib import Path

from bundle.packing.verify import verify
from scripts.command_line import run


def verify_bundle(folder: str) -> int:
    """Checks a packed bundle without the web and prints each check; exit status 1 if one failed.

    Args:
        folder: of the bundle, unzipped.
    """
    found = verify(Path(folder))
    for finding in found:
        print(finding)
    failed = [finding.check for finding in found if not finding.ok]
    print(
        f"\n{len(found) - len(failed)} of {len(found)} checks passed"
        + (f"; failed: {', '.join(failed)}" if failed else "")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    run(verify_bundle)
