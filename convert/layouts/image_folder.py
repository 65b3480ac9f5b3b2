"""ImageFolder's layout: `<class>/...`, or `train/<class>/...`, `val/<class>/...` and `test/<class>/...`.

Parts are known in the usual spellings. Images may lie at any depth below the class: the first folder is the class.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import PurePosixPath

from feedline.convert.layouts import Labels, refusals
from feedline.convert.layouts.groups import Group, Groups, Images, flatten, group_images, make_labels
from feedline.convert.layouts.parts import Parts, are_called_sets, find_parts, said, spelled
from feedline.convert.layouts.survey import Survey
from feedline.convert.layouts.top import is_documentation, outermost
from feedline.output import counted

NO_CLASS = "not in a class folder"
NO_PART = "in a class whose folders are parts, but not in one of them"
NO_TEST_CLASS = "test images without a class"


def read(found: Survey) -> Labels:
    """Reads the layout. Without a part for train, all images are train images.

    Args:
        found: the files.

    Raises:
        InputError: if there are fewer than two classes, or the names can be read in two ways.
    """
    if not found.images:
        raise refusals.no_images(found)
    groups = group_images(found.images.items())
    labels = _read_parts(found, groups)
    if labels is None:
        _check_sets(found, groups)
        labels = _read_parts_in_classes(found, groups) or _read_parts_beside(found, groups)
    if labels is None:
        _check_heads(found, groups)
        _check_folders(found, groups)
        labels = _read_classes(found, groups)
    _add_outside(found, labels)
    if len(labels.classes) < 2 or refusals.is_suspicious(labels.classes):
        stems = {
            info.folder: {PurePosixPath(i.path).stem for i in labels.items if i.label == info.id}
            for info in labels.classes
        }
        refusals.check(found, labels.classes, stems, len(_top_level(groups)))
    return labels


def _read_parts(found: Survey, groups: Groups) -> Labels | None:
    """`train/<class>/...`; None if there are no such parts."""
    parts = find_parts({head: [f for f in inner if f] for head, inner in groups.items() if head}, found.source)
    if not parts:
        return None
    images = _unwrapped(groups, parts, found.keep)
    images = {part: inner for part, inner in images.items() if part == "train" or not _is_unlabelled(inner, images)}
    parts = {part: folder for part, folder in parts.items() if part in images}
    _check_classes(found, parts, images)
    strays = [(name, NO_CLASS) for inner in images.values() for _, name in inner.pop("", [])]
    labels = make_labels(found, images, [f"{folder}/" for folder in parts.values()])
    labels.left_out.extend(strays)
    folders = ", ".join(f"{folder}/" for folder in parts.values())
    rest = {head: inner for head, inner in groups.items() if head not in parts.values()}
    for head, inner in rest.items():
        reason = f"{part} images without a class" if (part := spelled(head)) else f"beside {folders}"
        labels.ignored.extend((name, reason) for _, name in flatten(inner))
    labels.notes[:0] = _notes_on_parts(
        parts, labels, {head: len(flatten(inner)) for head, inner in rest.items() if head}
    )
    return labels


def _unwrapped(groups: Groups, parts: Parts, keep: Collection[str]) -> Images:
    """The class folders of each part, train first."""
    images: Images = {}
    for part, folder in parts.items():
        others = [images["train"]] if images else [groups[other] for other in parts.values() if other != folder]
        known = {name.lower() for inner in others for name in inner if name}
        images[part] = _unwrap(groups[folder], folder, known, keep)
    return images


def _unwrap(inner: Mapping[str, Group], head: str, known: Collection[str], keep: Collection[str]) -> dict[str, Group]:
    """The class folders of a part; `seg_train/seg_train/<class>/` has them one folder deeper.

    Args:
        inner: the folders of the part.
        head: the part's folder.
        known: folders of train, or of the other parts, in lower case.
        keep: folders that are classes.
    """
    only, *others = sorted(inner.keys() - {""}) or [""]
    if others or not only or only.lower() in known or only in keep:
        return dict(inner)
    below = {folder: flatten(group) for folder, group in group_images(inner[only]).items()}
    is_part = only == head or (said(only) is not None and said(only) == said(head))
    if (below.keys() - {""} and is_part) or any(folder.lower() in known for folder in below):
        below[""] = [*inner.get("", []), *below.get("", [])]
        return _unwrap(below, head, known, keep)
    return dict(inner)


def _is_unlabelled(inner: dict[str, Group], images: Images) -> bool:
    """Whether a part has one folder only, which is no class of train: `test/images/`, `test/unknown/`."""
    folders = inner.keys() - {""}
    return len(folders) == 1 and not folders & images["train"].keys() and len(images["train"].keys() - {""}) > 1


def _check_classes(found: Survey, parts: Parts, images: Images) -> None:
    """Refuses a part whose class folders are all named as parts."""
    for part, folder in parts.items():
        names = sorted(images[part].keys() - {""})
        other = part == "train" or not images["train"].keys() >= set(names)
        if names and other and all(map(spelled, names)) and not found.keep.issuperset(names):
            raise refusals.parts_in_a_part(found, folder, names)


def _notes_on_parts(parts: Parts, labels: Labels, rest: dict[str, int]) -> list[str]:
    notes = []
    if any(part != folder for part, folder in parts.items()) or "test" in parts:
        counts = {part: sum(item.part == part for item in labels.items) for part in parts}
        listed = ", ".join(f"{part} from {folder}/ ({counts[part]:,})" for part, folder in parts.items())
        notes.append(f"parts: {listed}")
    return notes + [f"{head}/ is not used ({counted(count, 'image')})" for head, count in sorted(rest.items())]


def _read_parts_in_classes(found: Survey, groups: Groups) -> Labels | None:
    """`<class>/train/...` in every class; None if it is not so."""
    classes = _classes_of_parts(found, groups)
    if classes is None:
        return None
    images: Images = {}
    rest = {f"{head}/": flatten(inner) for head, inner in groups.items() if head and head not in classes}
    strays = _strays(groups)
    for head in classes:
        for folder, group in groups[head].items():
            if part := spelled(folder):
                images.setdefault(part, {}).setdefault(head, []).extend(group)
            elif folder:
                rest[f"{head}/{folder}/"] = group
            else:
                strays += [(name, NO_PART) for _, name in group]
    labels = make_labels(found, images, [])
    labels.left_out.extend(strays)
    labels.ignored.extend((name, "beside the parts in each class") for group in rest.values() for _, name in group)
    folders = sorted({folder for head in classes for folder in groups[head] if spelled(folder)})
    labels.notes.insert(0, f"parts: from the folders in each class, {', '.join(f'{f}/' for f in folders)}")
    labels.notes.extend(
        f"{folder} is not used ({counted(len(group), 'image')})" for folder, group in sorted(rest.items())
    )
    return labels


def _classes_of_parts(found: Survey, groups: Groups) -> list[str] | None:
    """The folders that hold parts, if all do, and documentation aside; None if they are no parts.

    Beside train and another part, other folders do not count; else they show that `train` is no part.

    Raises:
        InputError: if a folder holds train and another part, and a second one holds images, but no train.
    """
    parts = {head: {part for f in inner if (part := spelled(f))} for head, inner in groups.items() if head}
    classes = [head for head in parts if parts[head] or not is_documentation(head, found.keep)]
    others = {head for head in classes if not all(map(spelled, groups[head]))}
    lacking = [head for head in classes if not parts[head] or (head in others and "train" not in parts[head])]
    if example := next((head for head in classes if {"train"} < parts[head]), None):
        if found.keep.issuperset(classes) and lacking:
            return None
        if lacking:
            raise refusals.without_parts(found, example, sorted(lacking))
        return classes
    holds_train = any("train" in parts[head] for head in classes)
    has_others = any(folder and not spelled(folder) for head in classes for folder in groups[head])
    return classes if holds_train and all(parts[head] for head in classes) and not has_others else None


def _read_parts_beside(found: Survey, groups: Groups) -> Labels | None:
    """Classes, and `test/` beside them with folders of the same names; None if it is not so."""
    heads = {head for head in groups if head}
    beside = {part: head for head in sorted(heads) if (part := spelled(head)) and set(groups[head]) <= heads - {head}}
    classes = heads - set(beside.values())
    if not beside or len(classes) < 2:
        return None
    images: Images = {"train": {head: flatten(groups[head]) for head in classes}}
    images |= {part: dict(groups[head]) for part, head in beside.items()}
    labels = make_labels(found, images, ["", *(f"{head}/" for head in beside.values())])
    labels.left_out.extend(_strays(groups))
    listed = ", ".join(f"{part} from {head}/" for part, head in beside.items())
    _note_documentation(found, labels, images["train"])
    labels.notes.insert(0, f"parts: train from the class folders, {listed}")
    return labels


def _check_sets(found: Survey, groups: Groups) -> None:
    """Refuses folders that hold parts with classes: several, or one beside others with images."""
    if not found.sets or found.keep.issuperset(found.sets):
        return
    if len(found.sets) > 1:
        raise refusals.several_sets(found, found.sets)
    [head] = found.sets
    if beside := [other for other in groups if other not in ("", head)]:
        raise refusals.class_or_folder(found, head, sorted(filter(None, groups[head])), beside)


def _check_heads(found: Survey, groups: Groups) -> None:
    """Refuses a tree whose folders are all named as parts, none of which is a train with classes."""
    heads = [head for head in groups if head and not is_documentation(head, found.keep)]
    if not heads or not all(spelled(head) for head in heads):
        return
    flat = {head: len(groups[head][""]) for head in heads if set(groups[head]) == {""}}
    if len(flat) == len(heads) or "train" in {spelled(head) for head in flat}:
        raise refusals.flat_parts(found, flat)
    raise refusals.without_train(found, [head for head in heads if head not in flat])


def _check_folders(found: Survey, groups: Groups) -> None:
    """Refuses folders that could be classes, or hold the classes, with one picture at most beside them.

    These are `photos/` with `2019/` and `2020/` beside `screenshots/`, or a few that are called as sets and hold the
    same folders: `tr/` and `te/`, `fold1/` and `fold2/`. Others with the same folders, `cats/` and `dogs/` with
    `indoor/` and `outdoor/`, are classes.
    """
    documentation = sorted(head for head in groups if head and is_documentation(head, found.keep))
    folders = {head: _folders_in(groups[head]) for head in sorted(groups) if head and head not in documentation}
    divided = [head for head, inner in folders.items() if len(inner) > 1]
    others = [head for head in folders if head not in divided]
    if not divided or found.keep.issuperset(divided) or sum(len(flatten(groups[head])) for head in others) > 1:
        return
    if len(divided) == 1 and others:
        raise refusals.class_or_folder(found, divided[0], sorted(folders[divided[0]]), [*others, *documentation])
    largest = max(divided, key=lambda head: len(folders[head]))
    every = {folder.lower() for folder in folders[largest]}
    same = all(folder.lower() in every for head in divided for folder in folders[head])
    if len(divided) > 1 and same and are_called_sets(divided):
        raise refusals.several_sets(found, divided, sorted(folders[largest]))


def _folders_in(inner: Mapping[str, Group]) -> dict[str, int]:
    """The folders that hold most images of a folder, and how many; those in a single one, if it has such."""
    direct = len(inner.get("", []))
    folders = inner.keys() - {""}
    if len(folders) == 1:
        inner = {name: flatten(below) for name, below in group_images(inner[folders.pop()]).items()}
        direct += len(inner.get("", []))
    counts = {name: len(group) for name, group in inner.items() if name}
    return counts if direct < sum(counts.values()) else {}


def _read_classes(found: Survey, groups: Groups) -> Labels:
    """All folders are classes, but not a `test/` of single images beside two others: images to predict."""
    classes = {head: flatten(inner) for head, inner in groups.items() if head}
    test = [
        head for head in classes if spelled(head) == "test" and set(groups[head]) == {""} and head not in found.keep
    ]
    unlabelled = {head: classes.pop(head) for head in test} if len(classes) - len(test) > 1 else {}
    labels = make_labels(found, {"train": classes}, [""])
    labels.left_out.extend(_strays(groups))
    for head, group in unlabelled.items():
        labels.ignored.extend((name, NO_TEST_CLASS) for _, name in group)
        labels.notes.insert(0, f"{head}/ is not used: {len(group):,} {NO_TEST_CLASS}")
    _note_documentation(found, labels, classes)
    if odd := ", ".join(f"{head}/" for head in sorted(classes) if spelled(head)):
        labels.notes.insert(0, f"read as classes, because there is no train/ with class folders: {odd}")
    return labels


def _note_documentation(found: Survey, labels: Labels, classes: Mapping[str, Group]) -> None:
    """Names the classes whose folders are called as those of documentation, if not all are."""
    folders = [head for head in sorted(classes) if is_documentation(head, found.keep)]
    if folders and len(folders) < len(classes):
        listed = ", ".join(f"{head}/ ({counted(len(classes[head]), 'image')})" for head in folders)
        labels.notes.insert(0, f"read as classes, though such folders often hold documentation: {listed}")


def _strays(groups: Groups) -> list[tuple[str, str]]:
    return [(name, NO_CLASS) for name in _top_level(groups)]


def _add_outside(found: Survey, labels: Labels) -> None:
    """Counts the images beside the folder that holds the set, and names their folders."""
    labels.ignored.extend((name, f"beside {found.top}") for name in found.outside)
    folders = Counter(outermost(name, found.top) for name in found.outside)
    labels.notes.extend(
        f"{folder} is not used ({counted(count, 'image')})" for folder, count in sorted(folders.items()) if folder
    )


def _top_level(groups: Groups) -> list[str]:
    return [name for _, name in groups.get("", {}).get("", [])]
