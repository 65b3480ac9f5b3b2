"""NVIDIA DALI as in its examples, on the CPU; reading files without mmap is faster."""

from typing import Any

from bench.peers.job import Batches, Contestant, Job, Make, forever
from feedline.pipeline.options import IMAGENET_MEAN, IMAGENET_STD


def _dali(**reader: Any) -> Make:
    def make(job: Job) -> Batches:
        from nvidia.dali import fn, math, pipeline_def, types
        from nvidia.dali.plugin.pytorch import DALIGenericIterator, LastBatchPolicy

        @pipeline_def(batch_size=job.batch_size, num_threads=job.threads, device_id=None)
        def graph() -> Any:
            data, labels = fn.readers.file(
                file_root=str(job.data / "train"), random_shuffle=True, name="reader", **reader
            )
            if job.kind == "photos":
                images = fn.decoders.image_random_crop(data, output_type=types.RGB)
                images = fn.resize(images, size=(job.size, job.size), antialias=False)
            else:
                images = fn.decoders.image(data, output_type=types.RGB)
            if job.kind == "train":
                start = fn.random.uniform(range=[-4, 5], shape=2)
                start = fn.cast(math.floor(start), dtype=types.INT32)
                images = fn.slice(
                    images, start=start, shape=(job.size, job.size), axes=(0, 1), out_of_bounds_policy="pad"
                )
            if job.kind != "pixels":
                images = fn.crop_mirror_normalize(
                    images,
                    mirror=fn.random.coin_flip(),
                    mean=[255 * v for v in IMAGENET_MEAN],
                    std=[255 * v for v in IMAGENET_STD],
                    dtype=types.FLOAT,
                    output_layout="HWC",
                )
            return images, labels

        loader = DALIGenericIterator(
            [graph()],
            ["images", "labels"],
            reader_name="reader",
            last_batch_policy=LastBatchPolicy.DROP,
            auto_reset=True,
        )
        return ((batch[0]["images"], batch[0]["labels"]) for batch in forever(loader))

    return make


_SETUP: dict[str, Any] = {
    "works": ("train", "pixels", "photos"),
    "reads": "files",
    "decoder": "DALI",
    "runs_in": "{threads} threads",
    "needs": "nvidia.dali",
}

CONTESTANTS = (
    Contestant("DALI", _dali(dont_use_mmap=True), **_SETUP),
    Contestant("DALI, defaults", _dali(), **_SETUP),
)
