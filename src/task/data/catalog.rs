//! Which files a data set consists of, where they may lie, and the checksums of their decompressed content.

use crate::task::data::cifar::Labels;
use crate::task::data::{Dataset, DatasetName, cifar, digits, idx};
use crate::{Error, Result};
use sha2::{Digest as _, Sha256};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// A file of a data set, as downloaded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DataFile {
    /// Name of the file.
    pub name: &'static str,
    /// sha256 of the decompressed content, in hexadecimal; `None` where it is not known.
    pub sha256: Option<&'static str>,
    /// Where to download it.
    pub mirrors: &'static [&'static str],
}

const MNIST: &[&str] =
    &["https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"];
const FASHION: &[&str] = &["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"];
const CIFAR: &[&str] = &["https://www.cs.toronto.edu/~kriz/"];

const MNIST_FILES: [DataFile; 4] = idx_files(
    MNIST,
    [
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ],
);

const FASHION_FILES: [DataFile; 4] = idx_files(
    FASHION,
    [
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ],
);

const CIFAR10_FILES: [DataFile; 1] = [DataFile { name: "cifar-10-binary.tar.gz", sha256: None, mirrors: CIFAR }];
const CIFAR100_FILES: [DataFile; 1] = [DataFile { name: "cifar-100-binary.tar.gz", sha256: None, mirrors: CIFAR }];

/// sha256 of `train.bin` and `test.bin` in the CIFAR-100 archive.
const CIFAR100_MEMBERS: [&str; 2] = [
    "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29",
    "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a",
];

const CIFAR10_MEMBERS: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];

/// Where the labels stand in a record: bytes in all, which of them, classes.
const CIFAR10_LABELS: Labels = Labels { bytes: 1, used: 0, classes: 10 };
const CIFAR100_COARSE: Labels = Labels { bytes: 2, used: 0, classes: 20 };
const CIFAR100_FINE: Labels = Labels { bytes: 2, used: 1, classes: 100 };

const fn idx_files(mirrors: &'static [&'static str], sha256: [&'static str; 4]) -> [DataFile; 4] {
    [
        DataFile { name: "train-images-idx3-ubyte.gz", sha256: Some(sha256[0]), mirrors },
        DataFile { name: "train-labels-idx1-ubyte.gz", sha256: Some(sha256[1]), mirrors },
        DataFile { name: "t10k-images-idx3-ubyte.gz", sha256: Some(sha256[2]), mirrors },
        DataFile { name: "t10k-labels-idx1-ubyte.gz", sha256: Some(sha256[3]), mirrors },
    ]
}

impl DatasetName {
    /// The files it consists of; none for the embedded digits and the user's own.
    pub fn files(self) -> &'static [DataFile] {
        match self {
            DatasetName::Digits | DatasetName::Csv => &[],
            DatasetName::Mnist => &MNIST_FILES,
            DatasetName::FashionMnist => &FASHION_FILES,
            DatasetName::Cifar10 => &CIFAR10_FILES,
            DatasetName::Cifar100 | DatasetName::Cifar100Coarse => &CIFAR100_FILES,
        }
    }

    /// The folder below the data folder into which it is downloaded.
    pub fn folder(self) -> &'static str {
        match self {
            DatasetName::Cifar10 | DatasetName::Cifar100 | DatasetName::Cifar100Coarse => "",
            other => other.name(),
        }
    }

    /// Folders below the data folder in which its files may lie: ours, torchvision's, the data folder itself.
    fn folders(self) -> &'static [&'static str] {
        match self {
            DatasetName::Digits | DatasetName::Csv => &[],
            DatasetName::Mnist => &["mnist", "MNIST/raw"],
            DatasetName::FashionMnist => &["fashion-mnist", "FashionMNIST/raw"],
            DatasetName::Cifar10 | DatasetName::Cifar100 | DatasetName::Cifar100Coarse => &["", "cifar"],
        }
    }

    /// Where `file` lies below `root`, compressed or not.
    ///
    /// # Errors
    /// [`Error::Data`] naming the first place looked at.
    pub fn find(self, root: &Path, file: &DataFile) -> Result<PathBuf> {
        for folder in self.folders() {
            for name in [file.name, file.name.trim_end_matches(".gz")] {
                let path = root.join(folder).join(name);
                if path.is_file() {
                    return Ok(path);
                }
            }
        }
        let wanted = root.join(self.folder()).join(file.name);
        Err(Error::data(wanted, "not there", "download it, or name the folder that holds it"))
    }
}

/// Read a data set from below `root`, checking everything. Digits need no root.
///
/// # Errors
/// [`Error::Data`] for a file that is missing, truncated, corrupt, of the wrong kind or with the wrong checksum;
/// [`Error::Config`] for `csv`, which [`Table::read`](crate::task::data::Table::read) reads.
pub fn load(name: DatasetName, root: &Path) -> Result<Dataset> {
    let files = name.files();
    match name {
        DatasetName::Digits => digits::load(),
        DatasetName::Mnist | DatasetName::FashionMnist => {
            let part = |i: usize| {
                let (image_path, image_bytes) = read_checked(name, root, &files[i])?;
                let (label_path, label_bytes) = read_checked(name, root, &files[i + 1])?;
                idx::images((&image_path, &image_bytes), (&label_path, &label_bytes), 10)
            };
            Ok(Dataset { name, train: part(0)?, test: Some(part(2)?) })
        }
        DatasetName::Cifar10 => load_cifar10(&name.find(root, &files[0])?),
        DatasetName::Cifar100 | DatasetName::Cifar100Coarse => load_cifar100(name, &name.find(root, &files[0])?),
        DatasetName::Csv => {
            Err(Error::config("task.dataset", "csv is no set of images", "describe the file in [task.csv]"))
        }
    }
}

/// Check that the files of a data set are there and whole; the same as reading it.
///
/// # Errors
/// As [`load`].
pub fn verify(name: DatasetName, root: &Path) -> Result<()> {
    load(name, root).map(drop)
}

/// Check the content of `file` of the data set `name`, which lies at `path` under whatever name.
///
/// # Errors
/// As [`load`].
pub fn verify_file(name: DatasetName, file: &DataFile, path: &Path) -> Result<()> {
    match (name, file.sha256) {
        (_, Some(sha256)) => check_sha256(path, &decompressed(path, name)?, sha256, name),
        (DatasetName::Cifar10, None) => load_cifar10(path).map(drop),
        (DatasetName::Cifar100 | DatasetName::Cifar100Coarse, None) => load_cifar100(name, path).map(drop),
        (_, None) => Ok(()),
    }
}

fn load_cifar10(path: &Path) -> Result<Dataset> {
    let members = cifar::from_archive(path, open(path, DatasetName::Cifar10)?, &CIFAR10_MEMBERS, 1 << 26)?;
    let mut parts = members
        .iter()
        .zip(CIFAR10_MEMBERS)
        .map(|(content, member)| cifar::records(&path.join(member), content, &CIFAR10_LABELS, 10_000))
        .collect::<Result<Vec<_>>>()?;
    let test = parts.pop();
    let mut train = parts.remove(0);
    for part in parts {
        train.pixels.extend(part.pixels);
        train.labels.extend(part.labels);
    }
    Ok(Dataset { name: DatasetName::Cifar10, train, test })
}

fn load_cifar100(name: DatasetName, path: &Path) -> Result<Dataset> {
    let members = cifar::from_archive(path, open(path, name)?, &["train.bin", "test.bin"], 1 << 28)?;
    for (content, (member, sha256)) in
        members.iter().zip([("train.bin", CIFAR100_MEMBERS[0]), ("test.bin", CIFAR100_MEMBERS[1])])
    {
        check_sha256(&path.join(member), content, sha256, name)?;
    }
    let labels = if name == DatasetName::Cifar100Coarse { CIFAR100_COARSE } else { CIFAR100_FINE };
    let train = cifar::records(&path.join("train.bin"), &members[0], &labels, 50_000)?;
    let test = cifar::records(&path.join("test.bin"), &members[1], &labels, 10_000)?;
    Ok(Dataset { name, train, test: Some(test) })
}

/// The decompressed content of a file, its checksum checked.
fn read_checked(name: DatasetName, root: &Path, file: &DataFile) -> Result<(PathBuf, Vec<u8>)> {
    let path = name.find(root, file)?;
    let content = decompressed(&path, name)?;
    if let Some(sha256) = file.sha256 {
        check_sha256(&path, &content, sha256, name)?;
    }
    Ok((path, content))
}

/// The first two bytes of every gzip file (RFC 1952, §2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Whether a file that begins with `head` is compressed: its content says so, whatever its name.
pub fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(&GZIP)
}

/// The unpacked content of a file, as a stream; for every data set, and whatever [`DatasetName::find`] gave.
pub(super) fn open(path: &Path, name: DatasetName) -> Result<Box<dyn Read>> {
    let file = std::fs::File::open(path).map_err(|e| Error::io(path, e))?;
    let mut file = BufReader::new(file);
    let mut head = Vec::new();
    file.by_ref().take(GZIP.len() as u64).read_to_end(&mut head).map_err(|e| Error::io(path, e))?;
    let whole = std::io::Cursor::new(head.clone()).chain(file);
    if is_gzip(&head) {
        // A gzip file may have several members, one after another (RFC 1952, §2.2).
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(whole)));
    }
    if path.extension().is_some_and(|e| e == "gz") {
        return Err(corrupt(path, name, "it does not begin as one"));
    }
    Ok(Box::new(whole))
}

fn decompressed(path: &Path, name: DatasetName) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path, name)?.read_to_end(&mut content).map_err(|e| corrupt(path, name, &e.to_string()))?;
    Ok(content)
}

fn corrupt(path: &Path, name: DatasetName, why: &str) -> Error {
    let remedy = format!("download {} again", name.name());
    Error::data(path, format!("truncated or corrupt gzip file ({why})"), remedy)
}

fn check_sha256(path: &Path, content: &[u8], expected: &str, name: DatasetName) -> Result<()> {
    let found: String = Sha256::digest(content).iter().map(|b| format!("{b:02x}")).collect();
    if found == expected {
        return Ok(());
    }
    let message = format!("wrong checksum: sha256 of the content is {found} instead of {expected}");
    Err(Error::data(path, message, format!("download {} again", name.name())))
}
