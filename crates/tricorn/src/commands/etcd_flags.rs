//! How etcd's flags reach `tricorn etcd`: written with one dash or two, unknown ones passed over, or from etcd's configuration file.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::CommandFactory;
use serde_yaml_ng::{Mapping, Value};

/// Where etcd's configuration file is named when no flag does.
const VARIABLE: &str = "ETCD_CONFIG_FILE";
const FLAG: &str = "config-file";
/// Sections of the file, and what stands before their keys' names in the flags that they stand for.
const SECTIONS: [(&str, &str); 2] = [("client-transport-security", ""), ("peer-transport-security", "peer-")];

/// A command line as the parser takes it.
pub struct Line {
    /// The arguments, the program's name first.
    pub arguments: Vec<OsString>,
    /// They come from a file, and variables do not count.
    pub from_file: bool,
}

/// The command line with what etcd knows and this program does not taken out of `tricorn etcd`, each with a warning, and with etcd's
/// `-flag` written as `--flag`; or with what its configuration file says in the place of it all. Other command lines stay as they are.
pub fn tolerant(arguments: impl Iterator<Item = OsString>) -> Result<Line> {
    let all: Vec<OsString> = arguments.collect();
    if all.get(1).is_none_or(|verb| verb != "etcd") {
        return Ok(Line { arguments: all, from_file: false });
    }
    if all.iter().skip(2).any(|argument| argument == "--version" || argument == "-version") {
        println_version();
        std::process::exit(0);
    }
    let command = crate::cli::Cli::command();
    let etcd = command.find_subcommand("etcd");
    let takes_value = |name: &str| {
        let flag = etcd.into_iter().flat_map(clap::Command::get_arguments).find(|flag| flag.get_long() == Some(name));
        flag.map(|flag| flag.get_action().takes_values())
    };
    let warn = |unknown: &str| eprintln!("tricorn: etcd's flag {unknown} is not known here and passed over");
    let Some(file) = value_of(&all, FLAG).or_else(|| std::env::var_os(VARIABLE)) else {
        return Ok(Line { arguments: filter(&all, takes_value, warn), from_file: false });
    };
    let path = Path::new(&file);
    let text = std::fs::read_to_string(path).with_context(|| format!("read etcd's configuration {}", path.display()))?;
    let flags = read(&text).with_context(|| format!("use etcd's configuration {}", path.display()))?;
    let given: Vec<OsString> = all.iter().take(2).cloned().chain(flags.into_iter().map(OsString::from)).collect();
    Ok(Line { arguments: filter(&given, takes_value, warn), from_file: true })
}

#[allow(clippy::print_stdout)]
fn println_version() {
    println!("etcd Version: {}\nTricorn Version: {}", tricorn_etcd_api::ETCD_VERSION, crate::cli::VERSION);
}

/// What a flag is given on the command line, if it is.
fn value_of(all: &[OsString], wanted: &str) -> Option<OsString> {
    let mut rest = all.iter().skip(2);
    while let Some(argument) = rest.next() {
        let text = argument.to_string_lossy();
        let Some(flag) = text.strip_prefix('-') else { continue };
        let flag = flag.trim_start_matches('-');
        match flag.split_once('=') {
            Some((name, value)) if name == wanted => return Some(value.into()),
            None if flag == wanted => return rest.next().cloned(),
            _ => {}
        }
    }
    None
}

/// The flags that a configuration file stands for.
fn read(text: &str) -> Result<Vec<String>> {
    let file: Mapping =
        if text.trim().is_empty() { Mapping::new() } else { serde_yaml_ng::from_str(text).context("it is no YAML mapping")? };
    let mut flags = Vec::new();
    for (key, value) in &file {
        let key = key.as_str().context("a key is no word")?;
        match SECTIONS.iter().find(|(section, _)| *section == key) {
            Some((_, before)) => {
                for (inner, value) in value.as_mapping().with_context(|| format!("key {key}: want a mapping"))? {
                    let inner = inner.as_str().with_context(|| format!("key {key}: a key is no word"))?;
                    flags.extend(flag(&format!("{before}{inner}"), value).with_context(|| format!("key {key}.{inner}"))?);
                }
            }
            None => flags.extend(flag(key, value).with_context(|| format!("key {key}"))?),
        }
    }
    Ok(flags)
}

/// One key as a flag; none when nothing is set.
fn flag(name: &str, value: &Value) -> Result<Option<String>> {
    let text = match value {
        Value::Null => return Ok(None),
        Value::Bool(value) => value.to_string(),
        Value::Number(value) => value.to_string(),
        Value::String(value) if value.is_empty() => return Ok(None),
        Value::String(value) => value.clone(),
        Value::Sequence(values) => {
            let words: Option<Vec<&str>> = values.iter().map(Value::as_str).collect();
            words.context("want a list of words")?.join(",")
        }
        _ => bail!("want a word, a number, true or false, or a list of words"),
    };
    Ok(Some(format!("--{name}={text}")))
}

/// `takes_value` tells of a flag by its name whether it takes a value; nothing for one that is not known.
fn filter(all: &[OsString], takes_value: impl Fn(&str) -> Option<bool>, mut warn: impl FnMut(&str)) -> Vec<OsString> {
    let mut kept: Vec<OsString> = all.iter().take(2).cloned().collect();
    let mut rest = all.iter().skip(2).peekable();
    while let Some(argument) = rest.next() {
        let text = argument.to_string_lossy();
        let Some(flag) = text.strip_prefix('-').filter(|flag| flag.len() > 1) else {
            kept.push(argument.clone());
            continue;
        };
        let flag = flag.trim_start_matches('-');
        let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
        match takes_value(name) {
            _ if name == "help" || name == "h" => kept.push("--help".into()),
            // etcd takes --flag=false.
            Some(false) if value == Some("false") => {}
            Some(false) => kept.push(format!("--{name}").into()),
            Some(true) => kept.push(format!("--{flag}").into()),
            None => {
                warn(&format!("--{name}"));
                if value.is_none() && rest.peek().is_some_and(|next| !next.to_string_lossy().starts_with('-')) {
                    rest.next();
                }
            }
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn takes_value(name: &str) -> Option<bool> {
        match name {
            "name" | "data-dir" | "cert-file" | "peer-cert-file" => Some(true),
            "client-cert-auth" | "peer-client-cert-auth" => Some(false),
            _ => None,
        }
    }

    #[test]
    fn unknown_flags_are_named_and_passed_over() {
        let line = "tricorn etcd -name a --unheard-of 7 --data-dir=/x --client-cert-auth=true --peer-client-cert-auth=false --odd=1 -debug";
        let all: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let mut unknown = Vec::new();
        let kept = filter(&all, takes_value, |flag| unknown.push(flag.to_owned()));
        assert_eq!(kept, ["tricorn", "etcd", "--name", "a", "--data-dir=/x", "--client-cert-auth"].map(OsString::from));
        assert_eq!(unknown, ["--unheard-of", "--odd", "--debug"]);
    }

    #[test]
    fn the_file_of_etcd_stands_for_its_flags() {
        let text = "name: a\nquota-backend-bytes: 0\nlisten-client-urls: http://1:2379,http://2:2379\ninitial-cluster:\ndiscovery: ''\n\
                    client-transport-security:\n  cert-file: c.pem\n  client-cert-auth: true\npeer-transport-security:\n  cert-file: p.pem\n";
        let expected = [
            "--name=a",
            "--quota-backend-bytes=0",
            "--listen-client-urls=http://1:2379,http://2:2379",
            "--cert-file=c.pem",
            "--client-cert-auth=true",
            "--peer-cert-file=p.pem",
        ];
        assert_eq!(read(text).unwrap(), expected);
        assert_eq!(read("").unwrap(), Vec::<String>::new());
        for (wrong, named) in
            [("- a", "mapping"), ("name: {a: b}", "key name"), ("client-transport-security: 7", "client-transport-security")]
        {
            let refused = format!("{:#}", read(wrong).unwrap_err());
            assert!(refused.contains(named), "{refused}");
        }
    }

    #[test]
    fn a_flag_is_found_however_it_is_written() {
        for line in ["tricorn etcd --config-file f", "tricorn etcd -config-file=f", "tricorn etcd --name a --config-file=f"] {
            let all: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(value_of(&all, FLAG).unwrap(), "f", "{line}");
        }
        assert_eq!(value_of(&["tricorn".into(), "etcd".into()], FLAG), None);
    }
}
