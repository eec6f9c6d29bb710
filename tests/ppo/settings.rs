//! PPO's settings out of range.

use lrpilot::agent::{Ppo, PpoConfig};
use lrpilot::env::Space;

/// The ranges are those of the table above [`PpoConfig`].
#[test]
fn settings_out_of_range_are_refused_by_name() {
    type Set = fn(&mut PpoConfig, f64);
    let floats: [(&str, Set, &[f64], &[f64]); 11] = [
        ("learning_rate", |c, v| c.learning_rate = v, &[0.0, -1e-3], &[1e-9, 2.0]),
        ("gamma", |c, v| c.gamma = v, &[-0.01, 1.01], &[0.0, 1.0]),
        ("gae_lambda", |c, v| c.gae_lambda = v, &[-0.01, 1.01], &[0.0, 1.0]),
        ("clip_range", |c, v| c.clip_range = v, &[0.0, -0.2], &[0.1, 2.0]),
        ("clip_range_vf", |c, v| c.clip_range_vf = Some(v), &[0.0, -0.2], &[0.1, 2.0]),
        ("ent_coef", |c, v| c.ent_coef = v, &[-0.01], &[0.0, 0.1]),
        ("vf_coef", |c, v| c.vf_coef = v, &[-0.01], &[0.0, 0.5]),
        ("max_grad_norm", |c, v| c.max_grad_norm = v, &[0.0, -1.0], &[0.1, 10.0]),
        ("target_kl", |c, v| c.target_kl = Some(v), &[0.0, -0.01], &[0.01]),
        ("log_std_init", |c, v| c.log_std_init = v, &[], &[-2.0, 0.0, 1.0]),
        ("policy_gain", |c, v| c.policy_gain = v, &[0.0, -0.01], &[0.01, 1.0]),
    ];
    for (name, set, outside, inside) in floats {
        let with = |value| {
            let mut config = PpoConfig::default();
            set(&mut config, value);
            config
        };
        for value in outside.iter().copied().chain([f64::NAN, f64::INFINITY, f64::NEG_INFINITY]) {
            refused(name, &with(value));
        }
        inside.iter().for_each(|value| with(*value).check().unwrap());
    }
    refused("n_steps", &PpoConfig { n_steps: 0, ..PpoConfig::default() });
    refused("batch_size", &PpoConfig { batch_size: 0, ..PpoConfig::default() });
    refused("n_epochs", &PpoConfig { n_epochs: 0, ..PpoConfig::default() });
    refused("hidden", &PpoConfig { hidden: vec![64, 0], ..PpoConfig::default() });
    PpoConfig::default().check().unwrap();
    // Every float of the settings is in the list: those of the defaults, and the two that have none.
    let defaults = toml::Table::try_from(PpoConfig::default()).unwrap();
    let listed = |key: &str| floats.iter().any(|f| f.0 == key);
    assert!(defaults.iter().all(|(key, value)| !value.is_float() || listed(key)), "{defaults}");
}

#[track_caller]
fn refused(name: &str, config: &PpoConfig) {
    let message = config.check().unwrap_err().to_string();
    assert!(message.starts_with(&format!("ppo.{name}: ")), "{name}: {message}");
    let error = Ppo::new(config.clone(), 2, &Space::Discrete(2), 0).map(|_| ()).unwrap_err();
    assert_eq!((error.exit_code(), error.to_string()), (78, message));
}
