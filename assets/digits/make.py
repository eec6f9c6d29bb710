"""Make digits.bin from the scikit-learn wheel: `python make.py` (scikit-learn 1.x).

Format: 1,797 records of 65 bytes, gzip-compressed: 64 pixels of 0 to 16, row by row, then the label.
"""
import gzip
import pathlib

from sklearn.datasets import load_digits

digits = load_digits()
records = b"".join(
    bytes(int(v) for v in image) + bytes([label]) for image, label in zip(digits.data, digits.target.tolist())
)
pathlib.Path(__file__).with_name("digits.bin.gz").write_bytes(gzip.compress(records, 9, mtime=0))
