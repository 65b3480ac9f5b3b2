"""The model card: README.md in the form of the Hugging Face Hub."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from feedline.output import counted
from feedline.pipeline.files import write_text
from feedline.training.snapshot import Snapshot
from feedline.training.views import Views
from feedline.use.forms import FILES
from feedline.use.loading import Loaded
from feedline.use.probes import FILE, Probes
from feedline.use.timm_form import stem_of

VIEWS: dict[Views, str] = {
    "flip": "the image and its mirror image",
    "crops": "the image and its mirror image, and both shifted by a pixel",
}


@dataclass(frozen=True)
class Card:
    """What a model card says.

    Attributes:
        title: of the card.
        loaded: the network.
        snapshot: of its run.
        forms: that were exported.
        probes: that the forms were tried on.
        version: of this program.
        recipe: what differs from the default recipe, by key.
        per_class: (class, images, top-1 in percent) on val, if that is known.
    """

    title: str
    loaded: Loaded
    snapshot: Snapshot
    forms: Sequence[str]
    probes: Probes
    version: str
    recipe: dict[str, str] = field(default_factory=dict)
    per_class: Sequence[tuple[str, int, float | None]] = ()

    def write(self, folder: Path) -> None:
        """Writes README.md."""
        parts = [
            self._header(),
            self._about(),
            self._use(),
            self._data(),
            self._recipe(),
            self._results(),
            self._limits(),
        ]
        write_text(folder / "README.md", "\n\n".join(part.strip("\n") for part in parts if part) + "\n")

    @property
    def _dataset(self) -> str:
        return self.snapshot.dataset.get("name", "unknown")

    def _header(self) -> str:
        lines = ["---", f"library_name: {'timm' if 'timm' in self.forms else 'pytorch'}"]
        lines += ["pipeline_tag: image-classification", "tags:", "- image-classification", "- feedline"]
        lines += ["- timm"] if "timm" in self.forms else []
        if self.snapshot.val_top1 is not None:
            lines += [
                "metrics:",
                "- accuracy",
                "model-index:",
                f"- name: {json.dumps(self.title, ensure_ascii=False)}",
                "  results:",
                "  - task:",
                "      type: image-classification",
                "    dataset:",
                f"      name: {json.dumps(self._dataset, ensure_ascii=False)}",
                f"      type: {json.dumps(self._dataset, ensure_ascii=False)}",
                f"      split: {json.dumps(self.snapshot.config.loader.split)}",
                "    metrics:",
                "    - type: accuracy",
                f"      value: {self.snapshot.val_top1 / 100:.4f}",
            ]
        return "\n".join([*lines, "---"])

    def _about(self) -> str:
        net, preprocess = self.loaded.net, self.loaded.preprocess
        height, width = preprocess.size
        count = sum(p.numel() for p in net.parameters())
        return (
            f"# {self.title}\n\nA network with {count:,} parameters that tells {len(self.loaded.classes):,} classes "
            f"apart, trained with Feedline {self.version}.\n\nInput: RGB, {height}x{width}: the largest centre of that "
            f"shape, times {preprocess.crop_fraction:g}, resized (bilinear, antialiased). Mean "
            f"{_numbers(preprocess.mean)}, std {_numbers(preprocess.std)}, of values in 0..1."
        )

    def _use(self) -> str:
        parts = ["## Use"]
        if "onnx" in self.forms or "torch" in self.forms:
            names = " and ".join(f"`{FILES[form]}`" for form in ("onnx", "torch") if form in self.forms)
            parts.append(
                f"{names}: uint8 RGB `images` [B, 3, height, width] in 0..255, cropped and resized, to `logits`; "
                "the mean is subtracted inside. Names, size, crop and more are in the metadata of the file."
            )
        if "timm" in self.forms:
            parts.append(self._timm())
        parts.append(
            f"`{FILE}` holds {counted(len(self.probes.images), 'image')} and the logits of the network for "
            "them; each file was "
            f"written only after it gave the same (to {self.probes.tolerance:.2g}). `feedline verify-export FILE` asks "
            "again, anywhere."
        )
        return "\n\n".join(parts)

    def _timm(self) -> str:
        net: Any = self.loaded.net
        lines = ["import timm, torch"]
        if stem_of(net) == "standard":
            lines += ['net = timm.create_model("local-dir:FOLDER", pretrained=True)  # or hf-hub:USER/NAME']
        else:
            lines += [
                "from safetensors.torch import load_file",
                f'net = timm.create_model("resnet18", num_classes={len(self.loaded.classes)})',
                "net.conv1, net.maxpool = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False), torch.nn.Identity()",
                'net.load_state_dict(load_file("FOLDER/model.safetensors"))',
            ]
        if net.bn1.eps != 1e-5:
            lines += ["for m in net.modules():", "    if isinstance(m, torch.nn.BatchNorm2d):"]
            lines += [f"        m.eps = {net.bn1.eps!r}"]
        why = "" if stem_of(net) == "standard" else " The first layers are those for small images, which timm's lacks:"
        return (
            f"With timm, on normalised float images.{why}\n\n```python\n" + "\n".join([*lines, "net.eval()"]) + "\n```"
        )

    def _data(self) -> str:
        options = self.snapshot.config.loader
        share = f", {100 * options.fraction:g} % of the images of each class" if options.fraction < 1 else ""
        return (
            f"## Data\n\n{self._dataset}, train part of split `{options.split}`{share}; fingerprint "
            f"`{self.snapshot.fingerprint}`."
        )

    def _recipe(self) -> str:
        lines = [f"Recipe `{self.snapshot.config.recipe}`, {counted(self.snapshot.position.epoch, 'epoch')}."]
        if self.recipe:
            lines += ["", "| key | value |", "| --- | --- |"]
            lines += [f"| {_cell(name)} | {_cell(value)} |" for name, value in self.recipe.items()]
        return "## Training\n\n" + "\n".join(lines)

    def _results(self) -> str:
        top1 = self.snapshot.val_top1
        if top1 is None:
            return ""
        text = f"## Accuracy\n\nTop-1 on the val part: {top1:.2f} %, on which this epoch was chosen{self._averaged()}."
        if not self.per_class:
            return text
        rows = [
            f"| {_cell(name)} | {images:,} | {'' if share is None else f'{share:.1f} %'} |"
            for name, images, share in self.per_class
        ]
        return "\n".join([text, "", "| class | images | top-1 |", "| --- | --- | --- |", *rows])

    def _averaged(self) -> str:
        """What the evaluation did that an exported file does not."""
        views = self.snapshot.config.run.views
        if views is None:
            return ""
        return f", with logits averaged over views ({VIEWS[views]}), which the exported file leaves to the caller"

    def _limits(self) -> str:
        return (
            "## Limits\n\n"
            f"- It names one of its {len(self.loaded.classes):,} classes for every image, also for one that shows none "
            "of them.\n"
            "- The accuracy is that on images like those that it was trained on; on others it is lower.\n"
            "- Probabilities are those of the softmax and were not calibrated.\n"
            "- What the images show, and who is missing among them, was not examined."
        )


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
