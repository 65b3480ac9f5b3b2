"""What a tree without classes is, and what to do with it: one line for each kind."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from feedline.convert.layouts.parts import spelled
from feedline.convert.layouts.survey import Survey
from feedline.convert.layouts.taken import NOT_AN_IMAGE, suffix_of
from feedline.output import counted, listed
from feedline.pipeline.dataset import ClassInfo
from feedline.pipeline.errors import InputError

# Folders that say what their files are for, not what they show.
IMAGE_FOLDERS = {"images", "image", "imgs", "img", "jpegimages", "leftimg8bit", "rgb"}
_TARGETS = {"labels", "label", "masks", "mask", "annotations", "annotation", "segmentationclass", "gt", "gtfine"}
_CLASSES = "put the images of each class into a folder of its own (cat/1.jpg, dog/2.jpg)"
_TABLE = "or name a table of file names and labels with `labels=FILE`"


class NoClassesError(InputError):
    """Images without class folders, or with one only; a table of labels could make up for it."""


class AmbiguousFoldersError(InputError):
    """Folders that could be classes, or hold the classes."""


def no_images(found: Survey) -> InputError:
    """The error for a tree without images."""
    if not found.tree.contents.files and (left_out := found.tree.contents.left_out):
        cure = "unpack it with its password, and give the folder" if left_out[0][1] == "encrypted" else _CLASSES
        return _error(found, f"holds no files that can be read ({': '.join(left_out[0])}); {cure}")
    if not found.tree.contents.files:
        return _error(found, f"holds no files; {_CLASSES}")
    if not found.others:
        return _error(found, f"holds hidden files only ({found.hidden[0]}); {_CLASSES}")
    counts = Counter(suffix_of(name) or "no suffix" for name in found.others)
    shown = ", ".join(f"{count:,} {suffix}" for suffix, count in counts.most_common(4))
    reason = next((reason for reason in found.others.values() if reason != NOT_AN_IMAGE), "give a folder of images")
    return _error(found, f"no images among its {counted(len(found.others), 'file')} ({shown}); {reason}")


def without_train(found: Survey, folders: Sequence[str]) -> InputError:
    """The error for parts without train."""
    listed = " and ".join(f"{folder}/" for folder in sorted(folders))
    return _error(
        found, f"holds {listed}, but no train/ with class folders; add train/<class>/, or give one folder as `source`"
    )


def parts_in_a_part(found: Survey, folder: str, inner: Sequence[str]) -> InputError:
    """The error for `train/train/` and `train/val/` beside `test/`: a part whose folders are parts."""
    listed = " and ".join(f"{folder}/{name}/" for name in inner)
    return _error(
        found,
        f"{listed} are named as parts, not as classes; move them to where {folder}/ is, or, if they are classes, "
        "name them with `classes_file`",
    )


def without_parts(found: Survey, example: str, lacking: Sequence[str]) -> InputError:
    """The error for `cat/train/` and `cat/test/` beside `dog/1.jpg`.

    Args:
        found: the files.
        example: a folder that holds train and another part.
        lacking: folders with images, but without train.
    """
    return _error(
        found,
        f"{example}/ holds a train/ and other parts, but {_first(lacking)} no train/; move the images of "
        f"{lacking[0]}/ into {lacking[0]}/train/ and so on, move {lacking[0]}/ away, or, if all are classes, name them "
        "with `classes_file`",
    )


def several_sets(found: Survey, folders: Sequence[str], same: Sequence[str] = ()) -> AmbiguousFoldersError:
    """The error for `set1/train/`, `set2/train/`: folders that hold a set each, or are parts in an unknown spelling.

    Args:
        found: the files.
        folders: those that hold a set.
        same: folders that each of them holds.
    """
    why = f", all with folders of {_first(same)}" if same else ""
    return _ambiguous(
        found,
        f"several sets here: {_first([found.top + folder for folder in folders])}{why}; give one of them, call parts "
        "train/, val/ and test/ in one folder, or, if these are the classes, name them with `classes_file`",
    )


def class_or_folder(found: Survey, folder: str, inner: Sequence[str], beside: Sequence[str]) -> AmbiguousFoldersError:
    """The error for `photos/2019/` and `photos/2020/` beside `screenshots/`."""
    return _ambiguous(
        found,
        f"{folder}/ could be a class beside {_first(sorted(beside))}, or the folder of the classes {_first(inner)}; "
        f"name the classes with `classes_file`, or give {found.top}{folder}/ as `source`",
    )


def _ambiguous(found: Survey, text: str) -> AmbiguousFoldersError:
    return AmbiguousFoldersError(_error(found, text).message)


def _first(folders: Sequence[str]) -> str:
    return listed([f"{folder}/" for folder in folders])


def flat_parts(found: Survey, counts: dict[str, int]) -> InputError:
    """The error for `train/1.jpg`: images in the folders of parts, without class folders.

    Args:
        found: the files.
        counts: {folder: images directly in it}.
    """
    _refuse_other_tasks(found, {})
    listed = " and ".join(f"{counted(count, 'image')} in {folder}/" for folder, count in sorted(counts.items()))
    if all(spelled(folder) == "test" for folder in counts):
        return _error(found, f"{listed} without a class, and no others; training needs images whose class is known")
    return _without_classes(found, f"{listed}, but no class folders there; {_CLASSES}, {_TABLE}")


def is_suspicious(classes: Iterable[ClassInfo]) -> bool:
    """Whether class folders are named as other things are: `images/`, `masks/`."""
    return all(info.folder.lower() in IMAGE_FOLDERS | _TARGETS for info in classes)


def check(found: Survey, classes: Sequence[ClassInfo], stems: dict[str, set[str]], flat: int) -> None:
    """Refuses what is no set of classes.

    Args:
        found: the files.
        classes: those found: fewer than two, or such with suspicious names.
        stems: {class folder: names of its images, without suffix}.
        flat: images in no folder.

    Raises:
        InputError: if there are fewer than two classes, or it is a set for detection or segmentation.
    """
    _refuse_other_tasks(found, stems)
    if not classes:
        raise _without_classes(
            found, f"{counted(flat, 'image')} in one folder, without class folders; {_CLASSES}, {_TABLE}"
        )
    if len(classes) < 2:
        count = len(stems.get(classes[0].folder, ()))
        raise _without_classes(
            found,
            f"one class folder only, {classes[0].folder!r} ({counted(count, 'image')}); telling apart "
            f"takes two: add the folder of another class beside it, {_TABLE}",
        )


def _refuse_other_tasks(found: Survey, stems: dict[str, set[str]]) -> None:
    if kind := _other_task(found, stems):
        raise _error(found, f"{kind}; this trains classifiers, with one class for each image: {_CLASSES}, {_TABLE}")


def _other_task(found: Survey, stems: dict[str, set[str]]) -> str | None:
    """What a set for detection or segmentation is."""
    others = [name.lower() for name in found.others]
    texts = {_stem(name) for name in others if re.search(r"(^|/)labels?/(.*/)?[^/]*\.txt$", name)}
    images = {_stem(name).lower() for name in found.images}
    if texts and len(images & texts) * 2 >= min(len(texts), len(images)):
        return "images/ and labels/*.txt are a set for object detection (YOLO)"
    if any(re.search(r"(^|/)annotations?/[^/]*\.xml$", name) for name in others):
        return "images and Annotations/*.xml are a set for object detection (Pascal VOC)"
    if any(
        re.search(r"(^|/)annotations?/[^/]*\.json$|coco[^/]*\.json$|instances_[^/]*\.json$", name) for name in others
    ):
        return "images and annotations/*.json are a set for object detection (COCO)"
    targets = [stems[folder] for folder in stems if folder.lower() in _TARGETS]
    pictures = [stems[folder] for folder in stems if folder.lower() in IMAGE_FOLDERS]
    if targets and pictures and _alike(pictures[0], targets[0]):
        return f"{', '.join(f'{folder}/' for folder in sorted(stems))} of the same files are a set for segmentation"
    return None


def _alike(names: Collection[str], targets: Collection[str]) -> bool:
    """Whether masks are named as their images, perhaps with `_mask` at the end."""
    plain = {re.sub(r"[-_ ]?(masks?|labels?|gt|seg)$", "", name, flags=re.IGNORECASE) for name in targets}
    return len(plain & set(names)) * 2 >= min(len(names), len(targets))


def _stem(name: str) -> str:
    return name.rpartition("/")[2].rpartition(".")[0]


def _error(found: Survey, text: str) -> InputError:
    return InputError(f"`source={found.source}`: {text}")


def _without_classes(found: Survey, text: str) -> NoClassesError:
    return NoClassesError(_error(found, text).message)
