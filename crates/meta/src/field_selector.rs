//! Field selectors: `spec.nodeName=w1,status.phase!=Running`.

use std::fmt;

/// One condition on a field: its path, its value, and whether the field must or must not have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldRequirement {
    /// The field, such as `metadata.name`.
    pub path: String,
    /// The value.
    pub value: String,
    /// Whether the field must have the value (true) or must not (false).
    pub equal: bool,
}

/// Conditions that all have to be fulfilled; none at all matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    /// The conditions.
    pub requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// A selector that matches everything.
    pub fn everything() -> Self {
        Self::default()
    }

    /// Reads the form of query strings; `\,`, `\=` and `\\` in a value stand for themselves.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut requirements = Vec::new();
        for term in split_terms(text) {
            if term.is_empty() {
                continue;
            }
            let (path, equal, value) =
                split_operator(&term).ok_or_else(|| format!("invalid selector: '{text}'; can't understand '{term}'"))?;
            requirements.push(FieldRequirement { path: path.to_owned(), value: unescape(value)?, equal });
        }
        Ok(Self { requirements })
    }

    /// Whether the selector matches everything.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The value that a field must have, when the selector asks for one: a watch of one object asks for `metadata.name`.
    pub fn exact(&self, path: &str) -> Option<&str> {
        self.requirements.iter().find(|r| r.equal && r.path == path).map(|r| r.value.as_str())
    }

    /// Whether fields, looked up by `get`, fulfil all conditions; a field that is not there is empty.
    pub fn matches_by(&self, get: impl Fn(&str) -> Option<String>) -> bool {
        self.requirements.iter().all(|r| (get(&r.path).unwrap_or_default() == r.value) == r.equal)
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, r) in self.requirements.iter().enumerate() {
            let value = r.value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
            write!(f, "{}{}{}{value}", if index > 0 { "," } else { "" }, r.path, if r.equal { "=" } else { "!=" })?;
        }
        Ok(())
    }
}

/// Splits at commas that are not escaped; escapes stay.
fn split_terms(text: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        if c == ',' && !escaped {
            terms.push(String::new());
            continue;
        }
        escaped = c == '\\' && !escaped;
        if let Some(term) = terms.last_mut() {
            term.push(c);
        }
    }
    terms
}

/// Splits a term at its operator.
fn split_operator(term: &str) -> Option<(&str, bool, &str)> {
    let at = term.find(['=', '!'])?;
    let (path, rest) = term.split_at(at);
    let (equal, value) = if let Some(value) = rest.strip_prefix("!=") {
        (false, value)
    } else {
        (true, rest.strip_prefix("==").or_else(|| rest.strip_prefix('='))?)
    };
    Some((path, equal, value))
}

fn unescape(value: &str) -> Result<String, String> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                other => {
                    return Err(format!(
                        "invalid field selector: invalid escape sequence: \\{}",
                        other.map(String::from).unwrap_or_default()
                    ));
                }
            },
            ',' | '=' => return Err(format!("invalid field selector: unescaped character in value: {c}")),
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_compared() {
        let get = |path: &str| (path == "spec.nodeName").then(|| "w1".to_owned());
        for (text, expected) in [
            ("", true),
            ("spec.nodeName=w1", true),
            ("spec.nodeName==w1", true),
            ("spec.nodeName!=w1", false),
            ("other=", true),
            ("other!=", false),
            ("spec.nodeName=w1,other=x", false),
        ] {
            assert_eq!(FieldSelector::parse(text).map(|s| s.matches_by(get)), Ok(expected), "{text}");
        }
        assert_eq!(FieldSelector::parse("a=b\\,c\\=d").map(|s| s.exact("a").map(str::to_owned)), Ok(Some("b,c=d".to_owned())));
        assert_eq!(FieldSelector::parse("a=b\\,c").map(|s| s.to_string()), Ok("a=b\\,c".to_owned()));
        for bad in ["a", "a=b=c", "a=\\x"] {
            assert!(FieldSelector::parse(bad).is_err(), "{bad}");
        }
    }
}
