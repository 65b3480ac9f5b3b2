"""Images by the two folders nearest to the top, and what a layout makes of them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from feedline.convert.layouts import Item, Labels
from feedline.convert.layouts.classes import notes_on_missing, one_spelling
from feedline.convert.layouts.survey import Survey
from feedline.pipeline.dataset import PARTS, ClassInfo, PartName

EMPTY = "a class folder without images"

# [(path below the folder, name in the tree)]
Group = list[tuple[str, str]]
# {folder: {folder in it: images}}; "" stands for images that lie in no folder
Groups = Mapping[str, Mapping[str, Group]]
# {part: {class folder: images}}
Images = dict[PartName, dict[str, Group]]


def group_images(images: Iterable[tuple[str, str]]) -> Groups:
    """Groups images by the first two folders of their paths.

    Args:
        images: (path, name in the tree) of each.
    """
    groups: dict[str, dict[str, Group]] = defaultdict(lambda: defaultdict(list))
    for path, name in images:
        head, slash, rest = path.partition("/")
        if not slash:
            groups[""][""].append((head, name))
            continue
        folder, slash, below = rest.partition("/")
        if slash:
            groups[head][folder].append((below, name))
        else:
            groups[head][""].append((folder, name))
    return groups


def flatten(folders: Mapping[str, Group]) -> Group:
    """The images of a folder, whatever folder of it they are in."""
    return [(f"{folder}/{path}" if folder else path, name) for folder, group in folders.items() for path, name in group]


def make_labels(found: Survey, images: Images, roots: Iterable[str]) -> Labels:
    """Classes and items of images by part and class.

    Args:
        found: the files.
        images: the classes of each part are put together.
        roots: folders of class folders, each with a slash at the end; class folders there without images are left out.

    Raises:
        InputError: if two classes of a part would be one folder where case does not count.
    """
    folders: set[str] = set()
    notes: list[str] = []
    for part in PARTS:
        if part not in images:
            continue
        spelling = one_spelling(images[part], folders, found.source)
        notes += [f"class {old!r} of {part} is taken for {new!r}" for old, new in spelling.items() if old != new]
        images[part] = {spelling[folder]: group for folder, group in images[part].items()}
        folders |= images[part].keys()
    classes = [ClassInfo(label, folder, folder) for label, folder in enumerate(sorted(folders))]
    sizes = found.tree.contents.files
    items = [
        Item(name, f"{part}/{info.folder}/{path}", part, info.id, sizes[name])
        for part, groups in images.items()
        for info in classes
        for path, name in groups.get(info.folder, ())
    ]
    notes += [*notes_on_missing(classes, items), *_notes_on_names(classes, images)]
    return Labels(classes, items, _empty_folders(found, images, roots), notes=notes)


def _empty_folders(found: Survey, images: Images, roots: Iterable[str]) -> list[tuple[str, str]]:
    with_images = {name.rpartition("/")[0] for name in found.images}
    starts = {
        folder[: folder.find("/", len(root))] if "/" in folder[len(root) :] else folder
        for root in roots
        for folder in with_images
        if folder.startswith(root)
    }
    return [
        (f"{found.top}{folder}/", EMPTY)
        for root in roots
        for folder in found.folders
        if folder.startswith(root) and "/" not in folder[len(root) :] and folder not in starts
    ]


def _notes_on_names(classes: list[ClassInfo], images: Images) -> list[str]:
    notes = []
    folders = [info.folder for info in classes]
    if all(folder.isdecimal() for folder in folders) and folders != sorted(folders, key=int):
        label = next(i for i, folder in enumerate(sorted(folders, key=int)) if folders[i] != folder)
        notes.append(
            f"class folders sort as text, as torchvision sorts them: label {label} is class {folders[label]!r}; "
            "--classes-file gives another order"
        )
    for folder, group in images["train"].items() if "train" in images else ():
        inner = sorted({path.partition("/")[0] for path, _ in group if "/" in path})
        if len(inner) > 1:
            shown = ", ".join(f"{name}/" for name in inner[:2])
            notes.append(
                f"class {folder!r} holds {shown}{' and more' if len(inner) > 2 else ''}: the first folder is the class"
            )
            break
    return notes
