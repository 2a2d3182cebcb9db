//! `/etc/tricorn/config.yaml`: a key for every flag, below flags and variables in rank.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Command;

/// Where the file is, unless `TRICORN_CONFIG` says otherwise.
const FILE: &str = "/etc/tricorn/config.yaml";

/// Puts the file's values under the flags of the same name, in `command` and all its subcommands.
pub fn apply(command: Command) -> Result<Command> {
    let named = std::env::var_os("TRICORN_CONFIG");
    let path = named.as_ref().map_or(Path::new(FILE), Path::new);
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => return Ok(command),
        Err(error) => return Err(error).with_context(|| format!("read the configuration {}", path.display())),
    };
    under(command, &text).with_context(|| format!("use the configuration {}", path.display()))
}

fn under(command: Command, text: &str) -> Result<Command> {
    let file: BTreeMap<String, serde_yaml_ng::Value> =
        if text.trim().is_empty() { BTreeMap::new() } else { serde_yaml_ng::from_str(text).context("it is no YAML mapping")? };
    let mut values = BTreeMap::new();
    for (key, value) in file {
        values.insert(key.clone(), plain(&value).with_context(|| format!("key {key}"))?);
    }
    let known = flags(&command);
    if let Some(unknown) = values.keys().find(|key| !known.contains(key)) {
        bail!("key {unknown}: no subcommand has a flag --{unknown}");
    }
    Ok(with_defaults(command, &values))
}

/// The values of a key as a flag takes them.
fn plain(value: &serde_yaml_ng::Value) -> Result<Vec<String>> {
    use serde_yaml_ng::Value;
    Ok(match value {
        Value::Bool(value) => vec![value.to_string()],
        Value::Number(value) => vec![value.to_string()],
        Value::String(value) => vec![value.clone()],
        Value::Sequence(values) => values.iter().map(plain).collect::<Result<Vec<_>>>()?.concat(),
        _ => bail!("want a word, a number, true or false, or a list of them"),
    })
}

fn flags(command: &Command) -> Vec<String> {
    let own = command.get_arguments().filter_map(|flag| flag.get_long().map(str::to_owned));
    own.chain(command.get_subcommands().flat_map(flags)).collect()
}

fn with_defaults(command: Command, values: &BTreeMap<String, Vec<String>>) -> Command {
    let command = command.mut_args(|flag| match flag.get_long().and_then(|name| values.get(name)) {
        // A flag that the file sets is no longer asked for.
        Some(found) => flag.default_values(found.clone()).required(false),
        None => flag,
    });
    command.mut_subcommands(|sub| with_defaults(sub, values))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::{Arg, ArgAction};

    fn command() -> Command {
        let server = Command::new("server")
            .arg(Arg::new("name").long("name").env("TRICORN_TEST_NAME_THAT_NOBODY_SETS"))
            .arg(Arg::new("tls-san").long("tls-san").action(ArgAction::Append))
            .arg(Arg::new("cluster-init").long("cluster-init").action(ArgAction::SetTrue));
        Command::new("tricorn").subcommand(server)
    }

    #[test]
    fn flags_stand_above_the_file() {
        let text = "name: s1\ncluster-init: true\ntls-san: [a, b]\n";
        let matches = under(command(), text).unwrap().get_matches_from(["tricorn", "server", "--name", "s2"]);
        let server = matches.subcommand().unwrap().1;
        assert_eq!(server.get_one::<String>("name").unwrap(), "s2");
        assert!(server.get_flag("cluster-init"));
        assert_eq!(server.get_many::<String>("tls-san").unwrap().collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_key_that_nothing_takes_is_an_error() {
        assert!(format!("{:#}", under(command(), "nam: s1").unwrap_err()).contains("no subcommand has a flag --nam"));
        assert!(format!("{:#}", under(command(), "- a").unwrap_err()).contains("no YAML mapping"));
        assert!(format!("{:#}", under(command(), "name: {a: b}").unwrap_err()).contains("key name"));
        under(command(), "").unwrap();
    }
}
