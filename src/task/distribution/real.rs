//! Real data: small images and tables, read once and shared by all tasks.

use super::data::Pool;
use super::drawn::Sizes;
use super::sampling::rotate;
use super::teacher::{apply, moments};
use crate::nn::Shape;
use crate::rng::Rng;
use crate::task::data::{CsvConfig, DatasetName, Images, Objective, SplitConfig, Splits, Table, Targets, load};
use crate::{Error, Result};
use rand::RngExt as _;
use rand::seq::SliceRandom as _;
use rand::seq::index::sample;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The tables that tasks are drawn from, by the names of their files.
pub const TABLES: [&str; 10] =
    ["banana", "chess", "german", "led7digit", "pima", "ring", "titanic", "twonorm", "vehicle", "wdbc"];

/// A set of small images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageSet {
    /// The embedded digits, 8×8.
    Digits,
    /// MNIST, averaged to 8×8.
    Mnist8,
    /// MNIST, averaged to 12×12.
    Mnist12,
}

impl ImageSet {
    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            ImageSet::Digits => "digits",
            ImageSet::Mnist8 => "mnist-8",
            ImageSet::Mnist12 => "mnist-12",
        }
    }

    /// Pixels along a side.
    pub fn side(self) -> usize {
        match self {
            ImageSet::Digits | ImageSet::Mnist8 => 8,
            ImageSet::Mnist12 => 12,
        }
    }
}

/// How images become the examples of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageDraw {
    /// The images.
    pub set: ImageSet,
    /// Classes into which the ten digits are merged at random, 2 to 10.
    pub classes: usize,
    /// Rows of the rectangle that is kept of each image, at a random place.
    pub rows: usize,
    /// Columns of that rectangle.
    pub columns: usize,
    /// Whether the pixels are rotated at random, so that no input is a pixel any more.
    pub rotated: bool,
}

/// The real data that there are.
#[derive(Debug)]
pub(super) struct RealData {
    digits: Images,
    /// At 8×8 and 12×12.
    mnist: Option<[Images; 2]>,
    tables: Vec<NamedTable>,
}

/// A table that is there.
#[derive(Debug)]
pub(super) struct NamedTable {
    /// Name of its file, without the ending.
    pub name: &'static str,
    /// Inputs of an example.
    pub features: usize,
    /// Number of classes.
    pub classes: usize,
    /// The content.
    pub table: Table,
}

impl NamedTable {
    fn read(name: &'static str, path: &Path) -> Result<Self> {
        let config = CsvConfig {
            path: path.to_owned(),
            separator: ",".into(),
            header: false,
            target: None,
            nominal: Vec::new(),
            missing: Vec::new(),
            ignored: Vec::new(),
            image: None,
        };
        let table = Table::read(path, &config, Objective::Classification)?;
        let first = table.splits(&SplitConfig {
            train_images: 1,
            val_a: 1,
            val_b: 1,
            test: 1,
            label_noise: 0.0,
            data_seed: 0,
        })?;
        let (features, classes) = (first.train.shape.len(), first.train.outputs());
        Ok(NamedTable { name, features, classes, table })
    }
}

impl RealData {
    /// Read what is there below `root`: the digits always, MNIST and the tables if the folder has all of their files.
    ///
    /// # Errors
    /// [`Error::Data`] for a file that is damaged.
    pub fn load(root: Option<&Path>) -> Result<Self> {
        let digits = load(DatasetName::Digits, Path::new(""))?.train;
        let Some(root) = root else { return Ok(RealData { digits, mnist: None, tables: Vec::new() }) };
        let there = DatasetName::Mnist.files().iter().all(|file| DatasetName::Mnist.find(root, file).is_ok());
        let mnist = if there {
            let images = load(DatasetName::Mnist, root)?.train;
            Some([averaged(&images, 3), averaged(&images, 2)])
        } else {
            None
        };
        let path = |name: &str| root.join("tabular").join(format!("{name}.csv"));
        let complete = TABLES.iter().all(|name| path(name).is_file());
        let tables = if complete { &TABLES[..] } else { &[] };
        let tables = tables.iter().map(|name| NamedTable::read(name, &path(name))).collect::<Result<_>>()?;
        Ok(RealData { digits, mnist, tables })
    }

    /// The image sets that there are.
    pub fn image_sets(&self) -> &'static [ImageSet] {
        match self.mnist {
            Some(_) => &[ImageSet::Digits, ImageSet::Mnist8, ImageSet::Mnist12],
            None => &[ImageSet::Digits],
        }
    }

    /// The tables that there are.
    pub fn tables(&self) -> &[NamedTable] {
        &self.tables
    }

    /// Number of images in a set that is there.
    pub fn image_count(&self, set: ImageSet) -> usize {
        self.set(set).map_or(0, Images::len)
    }

    fn set(&self, set: ImageSet) -> Option<&Images> {
        match set {
            ImageSet::Digits => Some(&self.digits),
            ImageSet::Mnist8 => self.mnist.as_ref().map(|sizes| &sizes[0]),
            ImageSet::Mnist12 => self.mnist.as_ref().map(|sizes| &sizes[1]),
        }
    }

    /// Random images of `draw`, standardised by all pixels of the training part.
    pub fn images(&self, rng: &mut Rng, draw: ImageDraw, sizes: Sizes) -> Result<Pool> {
        let name = draw.set.name();
        let images = self.set(draw.set).ok_or_else(|| not_there(name))?;
        enough(name, images.len(), sizes)?;
        let side = draw.set.side();
        let (top, left) = (rng.random_range(0..=side - draw.rows), rng.random_range(0..=side - draw.columns));
        let mut class_of: Vec<u32> = (0..images.classes as u32).map(|digit| digit % draw.classes as u32).collect();
        class_of.shuffle(rng);
        let (features, mut x) = (draw.rows * draw.columns, Vec::new());
        let mut labels = Vec::with_capacity(sizes.total());
        x.reserve_exact(sizes.total() * features);
        for i in sample(rng, images.len(), sizes.total()) {
            let image = &images.pixels[i * side * side..][..side * side];
            for row in image.chunks_exact(side).skip(top).take(draw.rows) {
                x.extend(row[left..left + draw.columns].iter().map(|p| f32::from(*p)));
            }
            labels.push(class_of[usize::from(images.labels[i])]);
        }
        let pixels = moments(&x[..sizes.train * features], 1);
        apply(&mut x, &pixels);
        if draw.rotated {
            rotate(rng, &mut x, features);
        }
        Ok(Pool { features, x, targets: Targets::Classes { count: draw.classes, labels } })
    }

    /// Random rows of a table, cut up and standardised as those of a configured task.
    pub fn table(&self, name: &str, config: &SplitConfig) -> Result<Splits> {
        let found = self.tables.iter().find(|table| table.name == name).ok_or_else(|| not_there(name))?;
        found.table.splits(config)
    }
}

fn not_there(name: &str) -> Error {
    Error::config("distribution", format!("the data set {name} is not there"), "name the folder that holds it")
}

fn enough(name: &str, there: usize, sizes: Sizes) -> Result<()> {
    if sizes.total() <= there {
        return Ok(());
    }
    let message = format!("{} examples are asked for; {name} has {there}", sizes.total());
    Err(Error::config("distribution", message, "make the parts smaller"))
}

/// The middle 24×24 pixels of 28×28 images, averaged over blocks of `block` × `block`.
fn averaged(images: &Images, block: usize) -> Images {
    const EDGE: usize = 2;
    let (width, side) = (images.shape.width, (images.shape.width - 2 * EDGE) / block);
    let mut pixels = Vec::with_capacity(images.len() * side * side);
    for image in images.pixels.chunks_exact(images.shape.len()) {
        for (row, column) in (0..side * side).map(|i| (EDGE + i / side * block, EDGE + i % side * block)) {
            let rows = (row..row + block).map(|r| &image[r * width + column..][..block]);
            let sum: u32 = rows.flatten().map(|p| u32::from(*p)).sum();
            pixels.push((sum / (block * block) as u32) as u8);
        }
    }
    Images { shape: Shape::image(1, side, side), classes: images.classes, pixels, labels: images.labels.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_averaged_from_the_second_pixel_on() {
        // Each pixel is its column, so that a block of columns c, c+1, c+2 has the average c+1.
        let pixels: Vec<u8> = (0..28 * 28).map(|i| (i % 28) as u8).collect();
        let images = Images { shape: Shape::image(1, 28, 28), classes: 10, pixels, labels: vec![3] };
        let small = averaged(&images, 3);
        assert_eq!((small.shape, small.labels), (Shape::image(1, 8, 8), vec![3]));
        assert_eq!(small.pixels[..8], [3, 6, 9, 12, 15, 18, 21, 24]);
        assert_eq!(small.pixels[56..], small.pixels[..8]);
    }
}
