//! Configurations with settings laid on them, named as in configuration files.

use lrpilot::env::Formulation;
use lrpilot::settings::{apply_set, from_table, merge};
use lrpilot::{Error, Result, RunConfig};

/// Where settings come from, for messages.
const PLACE: &str = "settings";

/// `base` with `settings` on it, each of them `section.key=value`.
pub fn with_settings(base: &RunConfig, settings: &[String]) -> Result<RunConfig> {
    let mut overlay = toml::Table::new();
    settings.iter().try_for_each(|setting| apply_set(&mut overlay, setting, PLACE))?;
    let base = toml::Table::try_from(base).map_err(|e| Error::Bug(format!("a configuration as a table: {e}")))?;
    let config: RunConfig = from_table(merge(base, overlay), PLACE)?;
    config.check()?;
    Ok(config)
}

/// The formulation of that name.
pub fn formulation(name: &str) -> Result<Formulation> {
    match name {
        "pilot" => Ok(Formulation::Pilot),
        "paper" => Ok(Formulation::Paper),
        other => Err(Error::config("formulation", format!("{other:?}"), "give pilot or paper")),
    }
}
