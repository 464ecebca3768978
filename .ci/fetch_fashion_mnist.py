"""Put Fashion-MNIST under a data folder as Parquet, from Debian's package of it.

    python .ci/fetch_fashion_mnist.py data

Continuous integration may have no way to the Hugging Face hub; a mirror of Debian it has. The result
reads like the set on the hub.
"""

import gzip
import io
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from datasets import ClassLabel, Dataset, Features, Image, Value
from PIL import Image as Pillow

PACKAGE = "dataset-fashion-mnist"
FOLDER = "usr/share/datasets/fashion-mnist"
CLASSES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


def read_idx(path: Path, header: int) -> np.ndarray:
    """The bytes of an IDX file after its header."""
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=header)


def png(pixels: np.ndarray) -> bytes:
    """A grey image as the bytes of a PNG file."""
    buffer = io.BytesIO()
    Pillow.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


def write_split(source: Path, stem: str, target: Path) -> None:
    """Write one split as a Parquet file."""
    images = read_idx(source / f"{stem}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
    labels = read_idx(source / f"{stem}-labels-idx1-ubyte.gz", 8)
    columns = {"image": [{"bytes": png(image), "path": None} for image in images], "label": labels.tolist()}
    stored = Features(
        {"image": {"bytes": Value("binary"), "path": Value("string")}, "label": ClassLabel(names=CLASSES)}
    )
    Dataset.from_dict(columns, features=stored).cast_column("image", Image()).to_parquet(target)


def main() -> None:
    """Fetch and convert, unless it is there."""
    target = Path(sys.argv[1]) / "fashion_mnist"
    if target.is_dir():
        return
    with tempfile.TemporaryDirectory() as work:
        subprocess.run(["apt-get", "-qq", "update"], check=True, capture_output=True)
        subprocess.run(["apt-get", "-qq", "download", PACKAGE], cwd=work, check=True, capture_output=True)
        (package,) = Path(work).glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", package.name, "x"], cwd=work, check=True, capture_output=True)
        partial = target.with_name(".fashion_mnist")
        partial.mkdir(parents=True, exist_ok=True)
        write_split(Path(work, "x", FOLDER), "train", partial / "train.parquet")
        write_split(Path(work, "x", FOLDER), "t10k", partial / "test.parquet")
        partial.rename(target)


if __name__ == "__main__":
    main()
