"""Any tree of files as cases: one glob pattern a modality, with the case id as a group."""

from __future__ import annotations

import glob
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from bundle.data.names import nearest_name
from bundle.data.records import CaseRecord, ImageSource
from bundle.data.scans import existing_folder

_GROUP = "{case}"
_NOT_MODALITIES = ("mask", "foreground")


def find_folder(
    input_dir: str | Path,
    patterns: Mapping[str, str],
    modalities: Sequence[str] | None = None,
    reference: str | None = None,
    complete: bool = True,
) -> list[CaseRecord]:
    """Find cases by one pattern a modality, such as ``{flair: '*/{case}/Flair*.nii.gz', mask: '…'}``.

    Args:
        input_dir: folder that the patterns start from.
        patterns: modality to glob pattern (``*``, ``?``, ``[…]``, ``**/``). ``{case}`` is the case id,
            part of a file's or folder's name; where it occurs twice, both must be equal. A pattern that
            ends in ``/`` or meets a folder means a DICOM series. ``mask`` and ``foreground`` are optional;
            a case may lack its mask, but not its foreground.
        modalities: which of them, in which order; by default all, in the order of ``patterns``.
        reference: a modality to note as well, for its grid; it makes no case by itself.
        complete: whether each modality must be there; at inference one may be missing in all cases.

    Returns:
        Records sorted by case. A modality that a case lacks has a path that does not exist (the pattern for
        that case), so that `read_case` can name it.

    Raises:
        FileNotFoundError: no such folder, or a pattern that matches nothing.
        ValueError: a pattern without ``{case}`` or with an ambiguous one; two files for one case and
            modality; an unknown modality; masks of which none belongs to a case.
    """
    root = existing_folder(input_dir)
    if not isinstance(patterns, Mapping) or not all(isinstance(p, str) for p in patterns.values()):
        raise ValueError(f"patterns should map a modality to a text (found {patterns!r}); see docs/data.md")
    known = [name for name in patterns if name not in _NOT_MODALITIES]
    if not known:
        raise ValueError("patterns should name at least one modality (found none); add one, such as flair: …")
    asked = list(modalities or known)
    names = [*asked, *([reference] if reference is not None and reference not in asked else [])]
    for name in names:
        if name not in known:
            remedy = "" if complete else "add one, or name with `--available` those that are there; "
            remedy += f"if {','.join(known)} are all, give them by `--modalities`; "
            raise ValueError(f"modality {name} has no pattern; {remedy}{nearest_name(name, known)}")
    roles = [*names, *(role for role in _NOT_MODALITIES if role in patterns)]
    found = {role: _find(root, role, patterns[role]) for role in roles}
    for role, paths in found.items():
        needed = complete or role in _NOT_MODALITIES or not any(found[name] for name in asked)
        if needed and not paths:
            raise FileNotFoundError(
                f"pattern {role}: {patterns[role]} matches nothing in {root}; check its folders and spelling"
            )
    cases = sorted(set().union(*(found[name] for name in asked)))
    if passed := _case_folders(root, [patterns[name] for name in asked]) - set(cases):
        warnings.warn(
            f"{len(passed)} folders of {root} that could be cases hold no file that a pattern matches, so they are "
            f"passed over: {_some(sorted(passed))}; if they should be cases, correct names or patterns",
            stacklevel=3,
        )
    if "mask" in found and not set(found["mask"]) & set(cases):
        raise ValueError(
            f"pattern mask: {patterns['mask']} should give the ids of the images (it gives "
            f"{_some(found['mask'])}, the images {_some(cases)}); move {{case}} in one of the patterns"
        )

    def path(role: str, case: str) -> Path:
        return found[role].get(case, root / patterns[role].replace(_GROUP, case))

    return [
        CaseRecord(
            case,
            {name: ImageSource(path(name, case)) for name in names},
            found.get("mask", {}).get(case),
            path("foreground", case) if "foreground" in found else None,
        )
        for case in cases
    ]


def _find(root: Path, role: str, pattern: str) -> dict[str, Path]:
    """Case id to the path that one pattern gives."""
    where = f"pattern {role}: {pattern}"
    if _GROUP not in pattern:
        raise ValueError(f"{where} should hold {_GROUP} where the case id stands (it does not); add it")
    if pattern.startswith("/"):
        raise ValueError(f"{where} should be relative to {root} (it starts with /); drop the folder from it")
    if re.search(r"\*\{case\}|\{case\}\*|\{case\}\{case\}", pattern):
        raise ValueError(
            f"{where} does not say where the case id ends ({_GROUP} touches * or itself); put the character "
            "between them, such as {case}_*"
        )
    expression = re.compile(_translate(pattern))
    found: dict[str, Path] = {}
    candidates = sorted(glob.glob(pattern.replace(_GROUP, "*"), root_dir=root, recursive=True))
    for candidate in candidates:
        match = expression.fullmatch(Path(candidate).as_posix())
        if match is None:
            continue
        case, path = match["case"], root / candidate
        if case in found:
            remedy = f"name the folder, {pattern.rpartition('/')[0]}/, if they are one DICOM series"
            if path.suffix.lower() not in (".dcm", ".ima"):
                remedy = "make the pattern narrower, or move one away"
            raise ValueError(
                f"case {case}: {where} should match one file (it matches {found[case]} and {path}); {remedy}"
            )
        found[case] = path
    return found


def _case_folders(root: Path, patterns: Sequence[str]) -> set[str]:
    """Ids of the folders that stand where patterns have a folder named after the case."""
    ids: set[str] = set()
    for pattern in patterns:
        start, group, rest = pattern.partition(_GROUP)
        if "/" not in rest or "**" in start:  # no folder's name, or that of any folder
            continue
        folder = start + group + rest.split("/")[0]
        expression = re.compile(_translate(folder))
        for candidate in glob.glob(folder.replace(_GROUP, "*") + "/", root_dir=root):
            if match := expression.fullmatch(Path(candidate).as_posix()):
                ids.add(match["case"])
    return ids


def _translate(pattern: str) -> str:
    """Regular expression for a glob; the case id is the shortest that fits."""
    parts, group = [], "(?P<case>[^/]+?)"
    for token in re.findall(r"\*\*/|\{case\}|\[[^/\]]+\]|.", pattern.rstrip("/"), flags=re.DOTALL):
        if token == _GROUP:
            parts.append(group)
            group = "(?P=case)"
        elif token == "**/":
            parts.append("(?:[^/]+/)*")
        elif token == "*":
            parts.append("[^/]*")
        elif token == "?":
            parts.append("[^/]")
        elif token.startswith("[") and len(token) > 1:
            parts.append("[" + token[1:-1].replace("\\", "\\\\").replace("!", "^", token[1] == "!") + "]")
        else:
            parts.append(re.escape(token))
    return "".join(parts)


def _some(names: Mapping[str, Path] | Sequence[str]) -> str:
    return ", ".join(sorted(names)[:3]) + (" …" if len(names) > 3 else "")
