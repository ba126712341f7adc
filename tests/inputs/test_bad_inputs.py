"""Bad inputs: each a small change to good files, and the words that the error must hold."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from labelfix.cli import main
from labelfix.inputs import content_keys, decode, read, read_labelled, read_truth

LABELS = ["cat", "dog"] * 5
CLASSES = ["cat", "dog"]


class Folder:
    """A folder with good files: data.csv of ten images, clean.csv, x.npy; and how to spoil them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.features = np.random.default_rng(0).normal(size=(10, 3))
        ids = [f"r{row}" for row in range(10)]
        names = [f"{row}.png" for row in range(10)]
        for row, name in enumerate(names):
            Image.new("RGB", (4, 4), (row, 0, 0)).save(root / name)
        self.data = pd.DataFrame({"id": ids, "image": names, "label": LABELS})
        self.clean = pd.DataFrame({"id": ids[:4], "label": LABELS[:4]})
        np.save(root / "x.npy", self.features)

    def read(self, data="data.csv", clean=None, **options):
        """Writes the two tables and reads; names of files mean files of this folder."""
        self.data.to_csv(self.root / "data.csv", index=False)
        self.clean.to_csv(self.root / "clean.csv", index=False)
        clean = self.root / clean if clean else None
        name = options.get("features")
        if name and (self.root / name).exists():
            options["features"] = self.root / name
        return read(data if ":/" in data else self.root / data, clean, **options)

    def text(self, name, content):
        """Writes a file and reads it as DATA, with features so that no images are needed."""
        content = content if isinstance(content, bytes) else content.encode()
        (self.root / name).write_bytes(content)
        return self.read(name, features="x.npy")

    def labels(self, labels, **options):
        """Reads DATA of these labels, with features of the same length."""
        frame = pd.DataFrame({"label": labels})
        frame.to_parquet(self.root / "data.parquet")
        np.save(self.root / "x.npy", np.arange(len(frame) * 2.0).reshape(-1, 2))
        return self.read("data.parquet", features="x.npy", **options)

    def array(self, array):
        """Reads with these features as .npy."""
        np.save(self.root / "x.npy", array, allow_pickle=True)
        return self.read(features="x.npy")

    def keyed(self, table, clean=None):
        """Reads with these features as Parquet keyed by id."""
        pq.write_table(pa.table(table), self.root / "keyed.parquet")
        if clean is None:
            return self.read(features="keyed.parquet")
        return self.checked(clean, features="keyed.parquet")

    def embedded(self, vectors, kind=None):
        """Reads Parquet with these features as the list column "v"."""
        table = {"label": LABELS, "v": pa.array(vectors, kind or pa.list_(pa.float32()))}
        pq.write_table(pa.table(table), self.root / "data.parquet")
        return self.read("data.parquet", features="v")

    def checked(self, columns, **options):
        """Reads with CLEAN of these columns."""
        self.clean = pd.DataFrame(columns)
        return self.read(clean="clean.csv", **options)

    def changed(self, column, row, value, **options):
        """Reads with one value of DATA changed."""
        self.data.loc[row, column] = value
        return self.read(**options)

    def classes(self, *names, **options):
        """Reads a folder with one image at each of these relative paths."""
        for name in names:
            path = self.root / "photos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (2, 2)).save(path, format="PNG")
        (self.root / "photos").mkdir(exist_ok=True)
        return self.read("photos", **options)

    def bytes_decoded(self, spoilt):
        """Decodes images of bytes, the fourth of them spoilt."""
        images = [(self.root / f"{row}.png").read_bytes() for row in range(10)]
        images[3] = spoilt(images[3])
        table = pa.table({"image": pa.array(images, pa.binary()), "label": LABELS})
        pq.write_table(table, self.root / "data.parquet")
        return decode(self.read("data.parquet"), self.root / "p.npy")

    def file_decoded(self, name, content):
        """Decodes after one image file was overwritten."""
        (self.root / name).write_bytes(content)
        return decode(self.read(), self.root / "p.npy")


def added(f, **columns):
    f.data = f.data.assign(**columns)
    return f


def without(f, *columns):
    f.data = f.data.drop(columns=list(columns))
    return f


def renamed(f, **columns):
    f.data = f.data.rename(columns=columns)
    return f


def nan_at(array, row):
    array = array.copy()
    array[row, 1] = np.nan
    return array


def copy_as_clean(f):
    f.read()
    (f.root / "copy.csv").write_bytes((f.root / "data.csv").read_bytes())
    return f.read(clean="copy.csv")


def damaged_parquet(f):
    path = f.root / "data.parquet"
    pq.write_table(pa.table({"id": IDS, "label": LABELS}), path)
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"\xff" * 60 + content[64:])
    return f.read("data.parquet", features="x.npy")


def clean_width(f):
    pq.write_table(
        pa.table(
            {
                "id": [f"r{i}" for i in range(10)],
                "label": LABELS,
                "v": [[1.0, i] for i in range(10)],
            }
        ),
        f.root / "data.parquet",
    )
    table = pa.table({"id": ["p", "q"], "label": CLASSES, "v": [[1.0], [2.0]]})
    pq.write_table(table, f.root / "clean.parquet")
    return f.read("data.parquet", "clean.parquet", features="v")


def labelled_test(f):
    pd.DataFrame({"image": ["0.png"], "label": ["doge"]}).to_csv(f.root / "t.csv", index=False)
    return read_labelled(f.root / "t.csv", like=CLASSES)


def truth(f, *rows):
    pd.DataFrame(rows, columns=["id", "label"]).to_csv(f.root / "truth.csv", index=False)
    return read_truth(f.root / "truth.csv", ids=np.array(["a", "b"], dtype=object), like=CLASSES)


IDS = [f"r{row}" for row in range(10)]
VECTORS = [[1.0, float(row)] for row in range(10)]

# What is wrong -> how it comes about -> words that the message must hold.
BAD = {
    # the file
    "missing file": (lambda f: f.read("dota.csv"), "dota.csv: does not exist", "'data.csv'"),
    "address": (lambda f: f.read("https://x.org/d.csv"), "https://x.org/d.csv", "download it"),
    "unknown format": (lambda f: f.text("d.xlsx", "x"), "d.xlsx", "no known format", "Parquet"),
    "empty file": (lambda f: f.text("d.csv", ""), "d.csv: is an empty file", "give a table"),
    "header only": (lambda f: f.text("d.csv", "id,label\n"), "d.csv: holds no rows"),
    "binary": (lambda f: f.text("d.csv", b"a,b\n\0\1,2\n"), "d.csv", "is a binary file"),
    "Excel": (lambda f: f.text("d.csv", b"PK\x03\x04.."), "Excel file", "export the sheet"),
    "Parquet as CSV": (lambda f: f.text("d.csv", b"PAR1.."), "rename it to .parquet"),
    "CSV as Parquet": (lambda f: f.text("d.parquet", "id,label\n"), "d.parquet", "as Parquet"),
    "UTF-16": (lambda f: f.text("d.csv", "a,b\n1,2\n".encode("utf-16")), "save it as UTF-8"),
    "Latin-1": (lambda f: f.text("d.csv", b"id,label\n1,caf\xe9\n"), "not UTF-8", "latin-1"),
    "damaged Parquet": (
        damaged_parquet,
        "data.parquet: cannot be read as Parquet",
        "write the file again",
    ),
    "Latin-1 header": (lambda f: f.text("d.csv", b"id,\xe9\n1,2\n"), "not UTF-8", "save it as"),
    "ragged row": (
        lambda f: f.text("d.csv", "id,label\n1,a\n2,b,c\n"),
        "d.csv, row 2: has 3 values where the header has 2 columns",
        "line 3",
    ),
    "open quote": (
        lambda f: f.text("d.csv", 'id,label\n1,a\n2,"b\n3,c\n4,d\n'),
        "d.csv, row 2: opens a quote that is never closed",
    ),
    "column twice": (lambda f: f.text("d.csv", "a,a\n1,2\n"), "column 'a': stands twice", "rename"),
    "JSON array": (lambda f: f.text("d.json", '[{"label": 1}]'), "JSON array", "lines=True"),
    "broken JSON": (lambda f: f.text("d.jsonl", '{"label": 1}\n{"la\n'), "d.jsonl, row 2"),
    "JSON of two types": (
        lambda f: f.text("d.jsonl", '{"label": 1}\n{"label": "a"}\n'),
        "row 2",
        "changed from number to string",
    ),
    # the columns
    "missing label column": (
        lambda f: f.read(label_column="lable"),
        "data.csv, column 'lable'",
        "did you mean 'label'?",
        "'id', 'image', 'label'",
    ),
    "missing image column": (lambda f: f.read(image_column="img"), "--image-column takes one of"),
    "missing id column": (lambda f: f.read(id_column="uid"), "column 'uid': there is no such"),
    "no plain label": (
        lambda f: renamed(f, label="a").changed("b", 0, 1),
        "several columns could be the label",
        "--label-column among 'id', 'image', 'a', 'b'",
    ),
    "no label at all": (lambda f: without(f, "label").read(), "no column can be the label"),
    "list as label": (
        lambda f: f.labels([[1], [2]] * 5, label_column="label"),
        "column 'label': holds list",
    ),
    # the labels
    "no label in any row": (lambda f: f.labels([None] * 9), "column 'label': no row has a label"),
    "one class": (lambda f: f.labels(["cat"] * 9), "every label is 'cat'", "two classes"),
    "ids as labels": (lambda f: f.labels(list(range(9))), "9 classes in 9 labelled rows", "an id"),
    "regression target": (
        lambda f: f.labels([1.0, 2.0, 1.5] * 3),
        "data.parquet, row 3, column 'label': 1.5 looks like a regression target",
    ),
    "infinite label": (lambda f: f.labels([1.0, 2.0, np.inf] * 3), "row 3", "regression target"),
    "too few rows": (lambda f: f.labels(["a", "b", "a"]), "only 3 rows with a label", "at least 5"),
    # the ids
    "id twice": (
        lambda f: f.changed("id", 6, "r2"),
        "data.csv, row 7, column 'id': id 'r2' stands in row 3 too",
        "--id-column",
    ),
    "row without id": (lambda f: f.changed("id", 4, None), "row 5, column 'id': has no id"),
    "decimal ids": (
        lambda f: added(f, score=0.5).read(id_column="score"),
        "data.csv, row 1, column 'score': 0.5 is no id",
        "choose another column with --id-column",
    ),
    "decimals called id": (
        lambda f: added(f, id=[0.0, 1.0, 2.5, *range(3, 10)]).read(),
        "data.csv, row 3, column 'id': 2.5 is no id",
        "--id-column, or rename this one",
    ),
    "decimal ids with a hole": (
        lambda f: added(f, id=[0.0, None, *range(2, 10)]).read(),
        "data.csv, row 2, column 'id': has no id",
    ),
    "decimal ids beyond a double's digits": (
        lambda f: added(f, id=[1e300, *range(9)]).read(),
        "row 1, column 'id': 1e+300 is no id",
    ),
    "decimal ids twice": (
        lambda f: added(f, id=[float(row // 2) for row in range(10)]).read(),
        "row 2, column 'id': id '0' stands in row 1 too",
    ),
    "booleans called id": (
        lambda f: (
            pq.write_table(
                pa.table({"id": [True, False] * 5, "label": LABELS}), f.root / "d.parquet"
            )
            or f.read("d.parquet", features="x.npy")
        ),
        "d.parquet, column 'id': holds bool, not ids",
    ),
    "checked decimals called id": (
        lambda f: f.checked({"id": [0.5, 1.0], "label": CLASSES}, features="x.npy"),
        "clean.csv, row 1, column 'id': 0.5 is no id",
    ),
    "image path twice without ids": (
        lambda f: without(f, "id").changed("image", 9, "0.png"),
        "row 10, column 'image': id '0.png' stands in row 1 too",
    ),
    # the images
    "neither images nor features": (
        lambda f: without(f, "image").read(),
        "data.csv: has no image column and no features were given",
        "--features FILE",
    ),
    "unknown image": (
        lambda f: f.changed("image", 5, "gone5.png"),
        "data.csv, row 6, column 'image': image 'gone5.png' does not exist",
        "relative to",
    ),
    "several unknown images": (
        lambda f: added(f, image=IDS).read(),
        "row 1",
        "nor are 9 more images usable",
    ),
    "row without image": (lambda f: f.changed("image", 2, None), "row 3", "has no image"),
    "backslashes": (lambda f: f.changed("image", 2, "a\\b.png"), "row 3", "forward slashes"),
    "address as image": (
        lambda f: f.changed("image", 2, "https://x.org/a.png"),
        "row 3, column 'image': 'https://x.org/a.png' is an address",
        "download",
    ),
    "folder as image": (lambda f: f.changed("image", 2, "."), "row 3", "is a folder, not an image"),
    "empty image file": (
        lambda f: f.file_decoded("4.png", b""),
        "row 5, column 'image': image '4.png' is empty",
    ),
    "numbers as images": (
        lambda f: added(f, id=range(10)).read(image_column="id"),
        "column 'id': holds int64, not images",
    ),
    "broken image": (
        lambda f: f.file_decoded("4.png", b"not an image"),
        "data.csv, row 5, column 'image': image '4.png' cannot be decoded",
        "no known image format",
        "remove its row",
    ),
    "cut image": (
        lambda f: f.file_decoded("4.png", (f.root / "4.png").read_bytes()[:45]),
        "row 5, column 'image': image '4.png' cannot be decoded",
    ),
    "empty bytes": (lambda f: f.bytes_decoded(lambda image: b""), "row 4", "it is empty"),
    "null bytes": (lambda f: f.bytes_decoded(lambda image: None), "row 4", "it is empty"),
    "broken bytes": (lambda f: f.bytes_decoded(lambda image: b"?"), "data.parquet, row 4"),
    # folders
    "folder without classes": (lambda f: f.classes("a.png"), "photos", "folder named after"),
    "empty folder": (lambda f: f.classes(), "photos: is a folder with no images in it"),
    "folder of tables": (lambda f: f.read("."), "no folders of images", "give the table itself"),
    "folder of splits": (
        lambda f: f.classes("train/cat/a.png", "test/cat/a.png"),
        "holds the splits 'test', 'train', not classes",
        "give one split",
    ),
    "folder with a label column": (
        lambda f: f.classes("cat/a.png", "dog/a.png", label_column="label"),
        "photos: is a folder of classes, so --label-column says nothing",
        "leave --label-column out",
    ),
    # features
    "missing features file": (
        lambda f: f.read(features="y.npy"),
        "y.npy: is neither a file nor a column",
    ),
    "features in another format": (
        lambda f: f.read(features="0.png"),
        "0.png",
        "not a format for features",
    ),
    "features as pickle": (
        lambda f: (f.root / "x.pt").write_bytes(b"x") and f.read(features="x.pt"),
        "x.pt: is not a format for features",
        "numpy.save",
    ),
    "array that is none": (
        lambda f: (f.root / "x.npy").write_bytes(b"x") and f.read(features="x.npy"),
        "x.npy: cannot be read as .npy",
    ),
    "features of the wrong length": (
        lambda f: f.array(f.features[:7]),
        "x.npy: holds 7 rows, but",
        "data.csv holds 10",
    ),
    "features of one dimension": (lambda f: f.array(np.zeros(10)), "has the shape (10,)", "N x D"),
    "features of three": (lambda f: f.array(np.zeros((10, 2, 2))), "(10, 2, 2)", "(10, -1)"),
    "features of objects": (
        lambda f: f.array(np.array([[{}]] * 10, dtype=object)),
        "holds Python objects",
        "astype('float32')",
    ),
    "features of text": (lambda f: f.array(np.array([["a"]] * 10)), "holds <U1, not numbers"),
    "NaN features": (
        lambda f: f.array(nan_at(f.features, 6)),
        "x.npy: features of id 'r6' (row 7) hold NaN or infinity",
    ),
    "features beyond float32": (lambda f: f.array(f.features * 1e300), "NaN or infinity"),
    "constant features": (lambda f: f.array(np.ones((10, 3))), "every row has the same features"),
    "NaN in an array": (
        lambda f: content_keys(nan_at(f.features.astype(np.float16), 6)),
        "row 7: features hold NaN or infinity",
    ),
    "keyed features lack an id": (
        lambda f: f.keyed({"id": IDS[:8], "v": VECTORS[:8]}),
        "keyed.parquet: has no features for id 'r8' (2 such ids)",
    ),
    "keyed features hold an id twice": (
        lambda f: f.keyed({"id": [*IDS, "r3"], "v": [*VECTORS, [0.0, 0.0]]}),
        "keyed.parquet, row 11, column 'id': id 'r3' stands in row 4 too",
    ),
    "keyed features without ids": (
        lambda f: f.keyed({"v": VECTORS}),
        "keyed.parquet: has no id column among 'v'",
    ),
    "keyed features with two lists": (
        lambda f: f.keyed({"id": IDS, "v": VECTORS, "w": VECTORS}),
        "has the list columns 'v', 'w'",
    ),
    "keyed features without numbers": (
        lambda f: f.keyed({"id": IDS, "v": IDS}),
        "has no columns of numbers",
    ),
    "list column of several widths": (
        lambda f: f.embedded([*VECTORS[:6], [1.0], *VECTORS[:3]]),
        "data.parquet, row 7, column 'v': holds 1 features, but row 1 holds 2",
    ),
    "list column with a hole": (
        lambda f: f.embedded([*VECTORS[:9], None]),
        "row 10, column 'v': has no features",
    ),
    "empty lists": (lambda f: f.embedded([[]] * 10), "row 1, column 'v': has no features"),
    "list column with a null": (
        lambda f: f.embedded([*VECTORS[:9], [1.0, None]]),
        "column 'v': features of id '9' (row 10) hold NaN",
    ),
    "list column of text": (
        lambda f: f.embedded([["a"]] * 10, pa.list_(pa.string())),
        "column 'v': holds list",
        "not lists of numbers",
    ),
    "text column as features": (lambda f: f.read(features="id"), "column 'id': holds string"),
    # the clean set
    "clean set is the dataset": (lambda f: f.read(clean="data.csv"), "is the dataset itself"),
    "clean set is a copy of it": (copy_as_clean, "copy.csv: the clean set is the dataset itself"),
    "unknown checked label": (
        lambda f: f.checked({"id": ["r0", "r1", "r2"], "label": ["cat", "dog", "Cta"]}),
        "clean.csv, row 3, column 'label': label 'Cta' is not a class",
        "did you mean 'cat'?",
        "known labels: 'cat', 'dog'",
    ),
    "checked row without image": (
        lambda f: f.checked({"id": ["r0", "r1", "s"], "label": ["cat", "dog", "dog"]}),
        "clean.csv, row 3: id 's' is not in",
        "it has no image",
    ),
    "checked image that is not there": (
        lambda f: f.checked({"id": ["p", "q"], "image": ["p.png", "1.png"], "label": CLASSES}),
        "clean.csv, row 1, column 'image': image 'p.png' does not exist",
    ),
    "array features and a checked row of no id": (
        lambda f: f.checked({"label": CLASSES}, features="x.npy"),
        "clean.csv, row 1",
        "has no id column to match it",
        "column named 'id'",
    ),
    "array features and a strange id": (
        lambda f: f.checked({"id": ["r0", "s"], "label": CLASSES}, features="x.npy"),
        "clean.csv, row 2: id 's' is not in",
        "x.npy holds no features for it",
    ),
    "keyed features lack a checked id": (
        lambda f: f.keyed({"id": IDS, "v": VECTORS}, clean={"id": ["r0", "s"], "label": CLASSES}),
        "keyed.parquet: has no features for id 's'",
    ),
    "checked features of another width": (
        clean_width,
        "clean.parquet, column 'v': features are 1 wide",
    ),
    # test and truth tables
    "unknown test label": (labelled_test, "t.csv, row 1", "label 'doge'", "did you mean 'dog'?"),
    "truth lacks an id": (lambda f: truth(f, ("a", "cat")), "truth.csv: has no row for id 'b'"),
    "truth without ids, of rows in another order": (
        lambda f: (
            pd.DataFrame({"label": CLASSES}).to_csv(f.root / "t.csv", index=False)
            or read_truth(f.root / "t.csv", ids=np.array(["1", "0"], dtype=object), like=CLASSES)
        ),
        "t.csv: has no id column",
        "a column named 'id'",
    ),
    "truth lacks a label": (
        lambda f: truth(f, ("a", "cat"), ("b", None)),
        "truth.csv, row 2, column 'label': has no label",
    ),
}


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.replace(" ", "-"))
def test_a_bad_input_gets_its_one_clear_line_and_status_2(case, tmp_path, monkeypatch, capsys):
    spoil, *words = BAD[case]
    monkeypatch.setattr("labelfix.inputs.read", lambda *_, **__: spoil(Folder(tmp_path)))
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as left:
        main(["purify", "data.csv", "--out", str(out)])
    assert left.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("labelfix: ")
    assert said.err.count("\n") == 1
    assert "; " in said.err
    for word in words:
        assert word in said.err
    assert not out.exists()


def test_the_good_files_are_good(tmp_path):
    folder = Folder(tmp_path)
    dataset = folder.read(clean="clean.csv", features="x.npy")
    assert (dataset.clean >= 0).sum() == 4
    assert len(decode(folder.read(), tmp_path / "p.npy").images) == 10
