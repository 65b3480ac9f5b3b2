"""ImageFolder's layout: `<class>/...`, or `train/<class>/...` and `val/<class>/...`, at any depth below the class."""

from collections import defaultdict

from feedline.convert.layouts import MACOS_FOLDER, Item, Labels, Names, is_image
from feedline.convert.trees import Tree
from feedline.pipeline.dataset import ClassInfo, PartName
from feedline.pipeline.errors import InputError

# {part: {class folder: [(path in the dataset, name in the tree)]}}
Images = dict[PartName, dict[str, list[tuple[str, str]]]]


def read(tree: Tree, files: Names, folders: Names, *, source: str) -> Labels:
    """Reads the layout. Without `train/<class>/`, all images are train images.

    Args:
        tree: gives the sizes.
        files: all files.
        folders: all folders.
        source: what errors call the tree.

    Raises:
        InputError: if there are fewer than two classes, or val has a class that train lacks.
    """
    names: tuple[PartName, ...] = ("train", "val")
    parts = {part: {n: files[n] for n in files if n.startswith(f"{part}/")} for part in names}
    if not any(name.count("/") > 1 for name in parts["train"]):
        parts = {"train": {f"train/{name}": full for name, full in files.items()}}
        folders = {f"train/{name}": full for name, full in folders.items()}
    images, stray = _images(parts)
    classes = _classes(images, source)
    items = [
        Item(name, path, part, info.id, tree.contents.files[name])
        for part in images
        for info in classes
        for path, name in images[part].get(info.folder, [])
    ]
    return Labels(classes, items, stray + _empty_folders(images, folders))


def _images(parts: dict[PartName, dict[str, str]]) -> tuple[Images, list[tuple[str, str]]]:
    images: Images = {part: defaultdict(list) for part in parts}
    left_out = []
    for part, names in parts.items():
        for path, name in names.items():
            pieces = path.split("/", 2)
            if not is_image(path) or pieces[1] == MACOS_FOLDER:
                continue
            if len(pieces) < 3:
                left_out.append((name, "not in a class folder"))
            else:
                images[part][pieces[1]].append((path, name))
    return images, left_out


def _classes(images: Images, source: str) -> list[ClassInfo]:
    folders = sorted(images["train"])
    if len(folders) < 2:
        raise InputError(
            f"`source={source}`: no images found in at least two class folders; expected class/x.jpg, "
            "or train/class/x.jpg and val/class/x.jpg"
        )
    if unknown := sorted(set(images.get("val", {})) - set(folders)):
        raise InputError(f"`source={source}`: val has the class {unknown[0]!r}, which train lacks")
    return [ClassInfo(label, folder, folder) for label, folder in enumerate(folders)]


def _empty_folders(images: Images, folders: Names) -> list[tuple[str, str]]:
    left_out = []
    for part, classes in images.items():
        inside = {path.removeprefix(f"{part}/"): name for path, name in folders.items() if path.startswith(f"{part}/")}
        left_out += [
            (f"{name}/", "a class folder without images")
            for folder, name in inside.items()
            if "/" not in folder and folder != MACOS_FOLDER and folder not in classes
        ]
    return left_out
