//! The messages: which tag is which field of the JSON, and of what type. Read from `tables/protobuf`, which `cargo xtask schema-tables`
//! generates.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::catalog::definition_name;

/// How a message becomes JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As an object of its fields.
    Object,
    /// As the value of the last of its fields that is there: Go types that write themselves as something simpler.
    Bare,
    /// `{1: seconds, 2: nanos}`, as text of whole seconds.
    Time,
    /// The same, with microseconds.
    MicroTime,
    /// `{1: which, 2: number, 3: text}`.
    IntOrString,
}

/// The type of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    String,
    /// Bytes that are base64 in JSON.
    Bytes,
    /// Bytes that are JSON.
    Json,
    Bool,
    Int32,
    Int64,
    Double,
    /// By its place in the table.
    Message(usize),
}

/// How often a value is there, and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    One,
    List,
    Map,
    /// A message whose fields belong to the object around it.
    Inline,
}

/// One field of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) tag: u32,
    /// What JSON calls it.
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) of: Type,
    /// Whether JSON leaves it out when it is empty, false or 0.
    pub(super) omit_zero: bool,
}

/// One type of message.
#[derive(Debug)]
pub(super) struct Message {
    /// As OpenAPI calls it.
    pub(super) name: &'static str,
    pub(super) form: Form,
    /// By tag.
    fields: Box<[Field]>,
}

impl Message {
    /// The name without its package.
    pub(super) fn short_name(&self) -> &'static str {
        self.name.rsplit('.').next().unwrap_or(self.name)
    }

    pub(super) fn field(&self, tag: u32) -> Option<&Field> {
        self.fields.binary_search_by_key(&tag, |field| field.tag).ok().and_then(|at| self.fields.get(at))
    }

    pub(super) fn fields(&self) -> &[Field] {
        &self.fields
    }
}

/// What is answered in the place of objects; none of it is ever a request's body.
const BESIDE_OBJECTS: [&str; 7] =
    ["APIGroup", "APIGroupList", "APIResourceList", "APIVersions", "PartialObjectMetadata", "PartialObjectMetadataList", "Status"];

/// All messages.
#[derive(Debug)]
pub(super) struct Table {
    messages: Vec<Message>,
    by_name: HashMap<&'static str, usize>,
}

/// The messages of the built-in kinds.
pub(super) fn table() -> &'static Table {
    static TABLE: LazyLock<Table> = LazyLock::new(|| Table::read(include_str!("../../tables/protobuf")));
    &TABLE
}

impl Table {
    /// The message of a kind that can be a request's body.
    pub(super) fn kind(&self, api_version: &str, kind: &str) -> Option<&Message> {
        let (group, version) = tricorn_meta::gvk::split_api_version(api_version);
        let name = match kind {
            // Registered in every group and version, and sent under that of the resource.
            "DeleteOptions" => "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions".to_owned(),
            _ => definition_name(group, version, kind),
        };
        let message = self.messages.get(*self.by_name.get(name.as_str())?)?;
        let whole = kind == "DeleteOptions" || message.fields.iter().any(|field| field.name == "metadata");
        whole.then_some(message)
    }

    /// The message of a kind that can be an answer: an object, or what is answered in the place of one, whatever its version is.
    pub(super) fn answer(&self, api_version: &str, kind: &str) -> Option<&Message> {
        if let Some(message) = self.kind(api_version, kind) {
            return Some(message);
        }
        if !BESIDE_OBJECTS.contains(&kind) {
            return None;
        }
        let name = format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}");
        self.messages.get(*self.by_name.get(name.as_str())?)
    }

    /// The metadata of every list.
    pub(super) fn list_metadata(&self) -> Option<&Message> {
        self.messages.get(*self.by_name.get("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta")?)
    }

    pub(super) fn message(&self, at: usize) -> Option<&Message> {
        self.messages.get(at)
    }

    #[cfg(test)]
    pub(super) fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Reads the table. Lines that cannot be read are passed over: a test shows that there are none.
    fn read(text: &'static str) -> Self {
        let lines = || text.lines().filter(|line| !line.starts_with('#'));
        let heads = || lines().filter(|line| !line.starts_with(' '));
        let name_of = |line: &'static str| line.split(' ').next().unwrap_or_default();
        let by_name: HashMap<&str, usize> = heads().enumerate().map(|(at, line)| (name_of(line), at)).collect();
        let mut messages: Vec<Message> = Vec::with_capacity(by_name.len());
        let mut fields = Vec::new();
        for line in lines() {
            if let Some(line) = line.strip_prefix(' ') {
                let package = messages.last().map_or("", |message| package_of(message.name));
                fields.extend(read_field(line, package, &by_name));
                continue;
            }
            close(&mut messages, &mut fields);
            let (name, form) = line.split_once(' ').unwrap_or((line, ""));
            messages.push(Message { name, form: read_form(form), fields: Box::default() });
        }
        close(&mut messages, &mut fields);
        Self { messages, by_name }
    }
}

fn close(messages: &mut [Message], fields: &mut Vec<Field>) {
    fields.sort_by_key(|field| field.tag);
    if let Some(last) = messages.last_mut() {
        last.fields = std::mem::take(fields).into_boxed_slice();
    }
}

fn package_of(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(package, _)| package)
}

fn read_form(word: &str) -> Form {
    match word {
        "bare" => Form::Bare,
        "time" => Form::Time,
        "micro-time" => Form::MicroTime,
        "int-or-string" => Form::IntOrString,
        _ => Form::Object,
    }
}

/// Reads `TAG NAME TYPE`, as the head of the table explains them.
fn read_field(line: &'static str, package: &str, by_name: &HashMap<&str, usize>) -> Option<Field> {
    let mut words = line.split(' ');
    let (tag, name, word) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
    let between = |open, close| word.strip_prefix(open).and_then(|word| word.strip_suffix(close));
    let (shape, word) = match (between('[', ']'), between('{', '}')) {
        (Some(word), _) => (Shape::List, word),
        (_, Some(word)) => (Shape::Map, word),
        _ if name == "=" => (Shape::Inline, word),
        _ => (Shape::One, word),
    };
    let (word, omit_zero) = word.strip_suffix('?').map_or((word, false), |word| (word, true));
    let of = match word {
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "json" => Type::Json,
        "bool" => Type::Bool,
        "int32" => Type::Int32,
        "int64" => Type::Int64,
        "double" => Type::Double,
        near if near.starts_with('.') => Type::Message(*by_name.get(format!("{package}{near}").as_str())?),
        far => Type::Message(*by_name.get(far)?),
    };
    Some(Field { tag, name, shape, of, omit_zero })
}
