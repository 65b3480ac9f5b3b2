"""What classes are called in what a command prints."""

import re

from feedline.pipeline.dataset import ClassInfo

WORDNET_ID = re.compile(r"n\d{8}")


def class_name(info: ClassInfo) -> str:
    """The class's words as given; of the synonyms that a WordNet id stands for, the first."""
    if WORDNET_ID.fullmatch(info.folder):
        return info.words.split(",")[0]
    return info.words or info.folder
