"""Which columns of Parquet files hold the images and the labels."""

import json
from pathlib import Path
from typing import Any

from feedline.convert.indexed.rows import IMAGE_COLUMNS, LABEL_COLUMNS
from feedline.convert.layouts.columns import no_column
from feedline.pipeline.errors import InputError

# {column: its feature}
Features = dict[str, dict[str, Any]]


def features(schema: Any) -> Features:
    """What Hugging Face's datasets wrote of the columns: {column: its feature}."""
    try:
        found = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
        return {str(name): feature if isinstance(feature, dict) else {} for name, feature in found.items()}
    except (TypeError, KeyError, ValueError, AttributeError):
        return {}


def choose(
    schema: Any, declared: Features, wanted: tuple[str | None, str | None], file: str, source: str
) -> tuple[str, str]:
    """The columns of the images and the labels.

    Args:
        schema: of the first file.
        declared: what `features` gives.
        wanted: the columns that the user named.
        file: the first file.
        source: what errors call the source.

    Raises:
        InputError: if a column that was named is not there, or none can be chosen.
    """
    for argument, column in zip(("image_column", "label_column"), wanted, strict=True):
        if column and column not in schema.names:
            raise no_column(file, schema.names, argument, column)
    return wanted[0] or _image_column(schema, declared, source), wanted[1] or _label_column(schema, declared, source)


def _image_column(schema: Any, features_of: Features, source: str) -> str:
    declared = [name for name, feature in features_of.items() if feature.get("_type") == "Image"]
    structs = [field.name for field in schema if is_image_struct(field.type)]
    binary = [field.name for field in schema if "binary" in str(field.type)]
    return _one((declared, structs, [n for n in binary if n in IMAGE_COLUMNS], binary), "image", schema, source)


def _label_column(schema: Any, features_of: Features, source: str) -> str:
    declared = [name for name, feature in features_of.items() if feature.get("_type") == "ClassLabel"]
    usual = [name for name in schema.names if name in LABEL_COLUMNS]
    return _one((declared, usual), "label", schema, source)


def _one(choices: tuple[list[str], ...], role: str, schema: Any, source: str) -> str:
    """The only column of the first kind that there is; of several, one with a usual name."""
    found = next(filter(None, choices), [])
    usual = [name for name in (IMAGE_COLUMNS if role == "image" else LABEL_COLUMNS) if name in found]
    if not found or (len(found) > 1 and not usual):
        raise InputError(
            f"`source={source}`: has the columns {', '.join(schema.names)}; name the one with the {role} with "
            f"`{role}_column`"
        )
    return found[0] if len(found) == 1 else usual[0]


def check_columns(schema: Any, path: Path, image: str, label: str) -> None:
    """Checks that a file has both columns, and that they can be what they are taken for.

    Raises:
        InputError: if not.
    """
    if missing := [column for column in (image, label) if column not in schema.names]:
        columns = ", ".join(map(repr, schema.names))
        raise InputError(f"{path}: has no column {missing[0]!r} (it has {columns}); leave it out, or correct it")
    kind = schema.field(image).type
    if not (is_image_struct(kind) or "binary" in str(kind)):
        raise InputError(f"{path}: the column {image!r} holds {kind}, not images; name another with `image_column`")
    if label == image:
        raise InputError(f"{path}: the column {label!r} holds the images, not labels; name another with `label_column`")


def is_image_struct(kind: Any) -> bool:
    """Whether a column is a struct with the bytes of images."""
    return str(kind).startswith("struct<") and kind.get_field_index("bytes") >= 0
