//! The real MNIST and CIFAR-100, where `LRPILOT_DATA` says that they are; says so and passes without.

use lrpilot::task::data::{DatasetName, load};
use std::path::Path;

/// Sizes as published, and the number of test images of the first class (MNIST: 980 zeros; CIFAR-100: 100 of each).
#[test]
fn real_data_sets_are_read_and_their_checksums_hold() {
    let Some(root) = std::env::var_os("LRPILOT_DATA") else {
        println!("skipped: LRPILOT_DATA does not name a folder with data sets");
        return;
    };
    for (name, train, test, first_class) in
        [(DatasetName::Mnist, 60_000, 10_000, 980), (DatasetName::Cifar100, 50_000, 10_000, 100)]
    {
        if name.files().iter().any(|f| name.find(Path::new(&root), f).is_err()) {
            println!("skipped: no {} in LRPILOT_DATA", name.name());
            continue;
        }
        let dataset = load(name, Path::new(&root)).unwrap();
        let held_back = dataset.test.unwrap();
        assert_eq!((dataset.train.len(), held_back.len()), (train, test), "{}", name.name());
        assert_eq!(held_back.labels.iter().filter(|l| **l == 0).count(), first_class, "{}", name.name());
    }
}
