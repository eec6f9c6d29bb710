//! The policies that come with the crate.

use super::Generalist;
use crate::{Error, Result};
use std::path::Path;

/// The newest of the policies that come with the crate.
pub const NEWEST: &str = "lrpilot-2";

/// Names and files of the policies that come with the crate; their cards are in `pretrained/` beside them.
const POLICIES: [(&str, &[u8]); 2] = [
    ("lrpilot-1", include_bytes!("../../pretrained/lrpilot-1.safetensors")),
    ("lrpilot-2", include_bytes!("../../pretrained/lrpilot-2.safetensors")),
];

impl Generalist {
    /// A policy that comes with the crate: [`NEWEST`], or an older one by its name. It needs no learning rate and no tuning.
    ///
    /// ```
    /// use lrpilot_core::generalist::{Generalist, NEWEST};
    /// assert_eq!(Generalist::pretrained(NEWEST)?.policy().outputs(), 1);
    /// assert!(Generalist::pretrained("lrpilot-0").is_err());
    /// # Ok::<(), lrpilot_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] for a name that no policy has, listing those there are.
    pub fn pretrained(name: &str) -> Result<Self> {
        Generalist::from_bytes(Generalist::pretrained_file(name)?, Path::new(name))
    }

    /// The content of the file of a policy that comes with the crate, as [`Generalist::from_bytes`] reads it.
    ///
    /// # Errors
    /// As [`Generalist::pretrained`].
    pub fn pretrained_file(name: &str) -> Result<&'static [u8]> {
        let Some((_, bytes)) = POLICIES.iter().find(|(known, _)| *known == name) else {
            let names = POLICIES.map(|(name, _)| name).join(", ");
            let message = format!("there is no pretrained policy {name:?}");
            return Err(Error::config("policy", message, format!("use one of: {names}")));
        };
        Ok(bytes)
    }

    /// The names that [`Generalist::pretrained`] knows.
    pub fn names() -> impl Iterator<Item = &'static str> {
        POLICIES.iter().map(|(name, _)| *name)
    }
}
