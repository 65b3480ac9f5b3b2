"""`files` and `jpeg`: the bytes of image files, decoded when pixels are requested."""

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from feedline.pipeline import compiled
from feedline.pipeline.dataset import Dataset, Pack, turbojpeg
from feedline.pipeline.dataset.checksums import FirstReads, load_checksums
from feedline.pipeline.dataset.decode import DecodeError, decode, decode_plain
from feedline.pipeline.dataset.description import REBUILD
from feedline.pipeline.errors import InputError
from feedline.pipeline.stores.host import HostStore, damaged

WASTE = 4  # the memory of files as rows of one array may be so many times their bytes


class EncodedStore(HostStore):
    """The base class of stores of image files. They decode when pixels are requested."""

    encoded = True

    def __init__(self, dataset: Dataset, pack: Pack | None = None) -> None:
        super().__init__(dataset, pack)
        self._plain = dataset.plain
        self._turbo = turbojpeg.functions()

    def rows(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]] | NDArray[np.uint8]:
        """As `read`, but as one array where the files are of similar lengths: uint8 [B, longest].

        The rest of a row is 0xff, so a JPEG that was cut off still fails to decode.
        """
        files = self.read(ids)
        lengths = np.array(list(map(len, files)))
        if not _similar(lengths):
            return files
        out = np.full((len(files), lengths.max()), 0xFF, dtype=np.uint8)
        for row, data in zip(out, files, strict=True):
            row[: len(data)] = data
        return out

    def pixels(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        images = [self._decode(i, data) for i, data in zip(ids.tolist(), self.read(ids), strict=True)]
        for image, pixels, size in zip(ids.tolist(), images, self.sizes(ids).tolist(), strict=True):
            if list(pixels.shape[:2]) != size:  # replaced since: windows are planned for the size that it had
                is_now, was = (f"{width}x{height}" for height, width in (pixels.shape[:2], size))
                raise damaged(self._dataset, image, f"has {is_now} pixels, and had {was}")
        return images

    def gather(self, ids: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        if self._turbo is None or not self._plain[ids].all():
            self._gather_each(ids, out)
            return
        addresses, lengths, _kept = self._find(ids)
        done = turbojpeg.decode_at(self._turbo, addresses, lengths, out)
        while done < len(ids):  # what simplejpeg says of the image that failed is what counts
            self._gather_each(ids[done : done + 1], out[done : done + 1])
            done += 1
            done += turbojpeg.decode_at(self._turbo, addresses[done:], lengths[done:], out[done:])

    def _decode_varied(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        if self._turbo is None or not self._plain[ids].all():
            return self.pixels(ids)
        sizes = self.sizes(ids)
        ends = (sizes.prod(axis=1) * 3).cumsum().tolist()
        memory, images = self._memory(ends[-1]), []
        addresses, lengths, _kept = self._find(ids)
        for number, (height, width) in enumerate(sizes.tolist()):
            image = memory[ends[number] - 3 * height * width : ends[number]].reshape(height, width, 3)
            one = slice(number, number + 1)
            if not turbojpeg.decode_at(self._turbo, addresses[one], lengths[one], image[None]):
                return self.pixels(ids)  # says what is wrong
            images.append(image)
        return images

    def _find(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.uint32], object]:
        """Where the bytes of images lie in memory, uint64 [B], how many they are, uint32 [B], and what keeps them."""
        files = self.read(ids)
        addresses = [data.__array_interface__["data"][0] for data in files]
        return np.array(addresses, dtype=np.uint64), np.array(list(map(len, files)), dtype=np.uint32), files

    def _gather_each(self, ids: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        images = zip(ids.tolist(), self.read(ids), self._plain[ids].tolist(), out, strict=True)
        for image, data, plain, slot in images:
            try:
                if plain:
                    decode_plain(data, slot)
                else:
                    slot[...] = decode(data).pixels
            except ValueError as error:  # DecodeError is one, and so is another size
                raise self._damaged(image, error) from error

    def _decode(self, image: int, data: NDArray[np.uint8]) -> NDArray[np.uint8]:
        try:
            return decode(data).pixels
        except DecodeError as error:
            raise self._damaged(image, error) from error

    def _damaged(self, image: int, error: Exception) -> InputError:
        return damaged(self._dataset, image, f"no longer decodes ({error})")


class FilesStore(EncodedStore):
    """One file per image, read when it is requested."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(dataset)
        self._root, self._path = os.fspath(dataset.root), dataset.path
        self._first_reads = FirstReads(load_checksums(dataset.root / "index", dataset.count))

    def expect(self, ids: NDArray[np.int64]) -> None:
        self._first_reads.expect(ids)

    def read(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        files = [_read_file(f"{self._root}/{self._path(i)}") for i in ids.tolist()]
        if not self._first_reads.done and len(unread := self._first_reads.unread(ids)):
            image = self._first_reads.changed(ids[unread], (files[i] for i in unread.tolist()))
            if image is not None:
                raise damaged(self._dataset, image, "its bytes are not those that were written")
        return files


def _read_file(path: str) -> NDArray[np.uint8]:
    # open, read and close by descriptor take half the time of a file object, for files of 2 KiB. A read of fixed size
    # saves the stat. Only a read of nothing is the end: FUSE and NFS may give less than they have.
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; {REBUILD}") from error
    try:
        data = os.read(descriptor, 1 << 16)
        if more := os.read(descriptor, 1 << 20):
            parts = [data, more]
            while more := os.read(descriptor, 1 << 20):
                parts.append(more)
            data = b"".join(parts)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {REBUILD}") from error
    finally:
        os.close(descriptor)
    return np.frombuffer(data, dtype=np.uint8)


class JpegStore(EncodedStore):
    """The original bytes from a pack: views into the memory map, no copies."""

    def __init__(self, dataset: Dataset) -> None:
        pack = dataset.pack("jpeg")
        super().__init__(dataset, pack)
        self._encoded, self._addresses = pack.encoded, pack.addresses

    def _find(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.uint32], object]:
        self.check(ids)
        return *self._addresses(ids), None

    def read(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        self.check(ids)
        return self._encoded(ids)

    def rows(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]] | NDArray[np.uint8]:
        if compiled.kernels is None:
            return super().rows(ids)
        addresses, lengths, _ = self._find(ids)
        if not _similar(lengths):
            return self._encoded(ids)
        out = np.empty((len(ids), int(lengths.max())), dtype=np.uint8)
        compiled.kernels.pad(addresses, lengths, out, out.shape[1])
        return out


def _similar(lengths: NDArray[Any]) -> bool:
    """Whether files of these lengths, in bytes, waste little as rows of one array."""
    return int(lengths.max()) * len(lengths) <= WASTE * int(lengths.sum())
