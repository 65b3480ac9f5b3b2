"""The forms in which a network is exported."""

import importlib.util

from feedline.pipeline.errors import InputError, did_you_mean

# The libraries that each needs besides torch; the extra `export` installs them.
LIBRARIES = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torch": (), "timm": ("safetensors",)}
FORMS = tuple(LIBRARIES)
FILES = {"onnx": "model.onnx", "torch": "model.pt2", "timm": "model.safetensors"}


def chosen_forms(text: str) -> list[str]:
    """Reads a list such as `onnx,timm`.

    Raises:
        InputError: if a form is unknown, or a library that it needs is not installed.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in FORMS:
            raise InputError(
                f"`to={text}`: {name or 'an empty name'} is no form; there are "
                f"{', '.join(FORMS)}{did_you_mean(name, FORMS)}"
            )
        need_libraries(name)
    return list(dict.fromkeys(names))


def need_libraries(form: str) -> None:
    """Raises InputError if a library is not installed without which a form can be neither written nor read."""
    missing = [name for name in LIBRARIES[form] if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"the form {form} needs {' and '.join(missing)}; install with: pip install 'feedline[export]'")
