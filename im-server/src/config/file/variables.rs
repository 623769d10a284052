//! Reads the variables of the environment that set keys.

use std::ffi::{OsStr, OsString};

use super::{
    FileError, Origin, VARIABLE_PREFIX,
    keys::{KEYS, RawValue},
    partial::PartialConfig,
};

/// Returns the names of the variables that [`super::load`] takes: those that begin with [`VARIABLE_PREFIX`], without those that a
/// container platform sets for services.
pub fn variable_names(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<String> {
    let ours = variables.into_iter().filter(|(name, value)| is_ours(name) && !is_link(name, value));
    ours.map(|(name, _)| name.to_string_lossy().into_owned()).collect()
}

/// Sets the keys of all variables.
pub(super) fn read(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    partial: &mut PartialConfig,
) -> Result<(), FileError> {
    for (name, value) in variables.into_iter().filter(|(name, _)| is_ours(name)) {
        let shown = name.to_string_lossy().into_owned();
        let Some(key) = KEYS.iter().find(|key| name == *key.variable()) else {
            if is_link(&name, &value) {
                tracing::debug!(
                    variable = shown,
                    "variable ignored: it describes a service of the container platform"
                );
                continue;
            }
            return Err(FileError::UnknownVariable(shown));
        };
        let Ok(value) = value.into_string() else { return Err(FileError::VariableNotUtf8(shown)) };
        partial.came_from(key.section, key.path(), Origin::Variable(shown.clone()));
        let wrong = |expected| FileError::WrongVariable { name: shown, expected };
        key.set(partial, RawValue::Variable(value)).map_err(wrong)?;
    }
    Ok(())
}

fn is_ours(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(VARIABLE_PREFIX.as_bytes())
}

/// Returns whether Kubernetes, or Docker for a link, sets this variable in every container beside a service named `im` or `im-...`:
/// `..._SERVICE_HOST`, `..._SERVICE_PORT` with or without the port's name behind it, `..._PORT` with an address such as
/// `tcp://10.0.0.1:7800`, and `..._PORT_7800_TCP` with or without `_PROTO`, `_PORT` or `_ADDR` behind it.
fn is_link(name: &OsStr, value: &OsStr) -> bool {
    let (Some(name), Some(value)) = (name.to_str(), value.to_str()) else { return false };
    if KEYS.iter().any(|key| key.variable() == name) {
        return false;
    }
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && is_address(value))
        || is_port_of_link(name)
}

fn is_address(value: &str) -> bool {
    value.split_once("://").is_some_and(|(protocol, _)| PROTOCOLS.contains(&&*protocol.to_ascii_uppercase()))
}

/// `<service>_PORT_<number>_<protocol>[_<part>]`
fn is_port_of_link(name: &str) -> bool {
    let mut words: Vec<&str> = name.split('_').collect();
    if matches!(words.last(), Some(&("PROTO" | "PORT" | "ADDR"))) {
        words.pop();
    }
    match words[..] {
        [_, .., "PORT", number, protocol] => number.parse::<u16>().is_ok() && PROTOCOLS.contains(&protocol),
        _ => false,
    }
}

const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
