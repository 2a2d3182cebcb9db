//! What a request is about, read from its method and URL alone.

use http::Method;
use std::collections::BTreeMap;

/// What a request is about. Text that does not apply is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestInfo {
    /// Whether it is about a resource at all.
    pub is_resource: bool,
    /// The Kubernetes verb, or the lower-case method for paths that are no resource.
    pub verb: String,
    pub group: String,
    pub version: String,
    pub namespace: String,
    pub resource: String,
    pub subresource: String,
    pub name: String,
    /// What follows the subresource: the path behind a proxy.
    pub rest: String,
    pub path: String,
}

/// The decoded query; the first value of each name counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    first: BTreeMap<String, String>,
    pub raw: String,
}

impl Query {
    pub(crate) fn parse(raw: &str) -> Self {
        let mut first = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(raw.as_bytes()) {
            first.entry(name.into_owned()).or_insert_with(|| value.into_owned());
        }
        Self { first, raw: raw.to_owned() }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.first.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.first.get(name).is_some_and(|value| !matches!(value.as_str(), "false" | "0" | "False"))
    }

    /// Every value of a name, in order.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        form_urlencoded::parse(self.raw.as_bytes()).filter(|(found, _)| found == name).map(|(_, value)| value.into_owned()).collect()
    }
}

/// Subresources of namespaces; whatever else follows a namespace's name is a resource in it.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

impl RequestInfo {
    pub(crate) fn parse(method: &Method, path: &str, query: &Query) -> Self {
        let mut info = Self { verb: method.as_str().to_lowercase(), path: path.to_owned(), ..Self::default() };
        let mut parts: Vec<String> = path.trim_matches('/').split('/').map(decode).collect();
        let fixed = match parts.first().map(String::as_str) {
            Some("api") if parts.len() >= 3 => 2,
            Some("apis") if parts.len() >= 4 => 3,
            _ => return info,
        };
        info.is_resource = true;
        info.version = parts[fixed - 1].clone();
        if fixed == 3 {
            info.group = parts[1].clone();
        }
        info.verb = match *method {
            Method::POST => "create",
            Method::GET | Method::HEAD => "get",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "",
        }
        .to_owned();
        let mut rest: Vec<String> = parts.split_off(fixed);
        if rest.len() > 1 && rest[0] == "watch" {
            rest.remove(0);
            info.verb = "watch".to_owned();
        }
        info.locate(rest);
        if info.name.is_empty() && info.verb == "get" {
            info.verb = if query.flag("watch") { "watch" } else { "list" }.to_owned();
        } else if info.name.is_empty() && info.verb == "delete" {
            info.verb = "deletecollection".to_owned();
        } else if info.verb == "get" && info.subresource.is_empty() && query.flag("watch") {
            info.verb = "watch".to_owned();
        }
        info
    }

    fn locate(&mut self, mut rest: Vec<String>) {
        if rest.first().is_some_and(|part| part == "namespaces") && rest.len() > 1 {
            self.namespace = rest[1].clone();
            if rest.len() > 2 && !NAMESPACE_SUBRESOURCES.contains(&rest[2].as_str()) {
                rest.drain(..2);
            }
        }
        let mut rest = rest.into_iter();
        self.resource = rest.next().unwrap_or_default();
        self.name = rest.next().unwrap_or_default();
        self.subresource = rest.next().unwrap_or_default();
        self.rest = rest.collect::<Vec<_>>().join("/");
    }

    /// Whether the request may last as long as it likes.
    pub(crate) fn is_long_running(&self, query: &Query) -> bool {
        self.verb == "watch"
            || matches!(self.subresource.as_str(), "exec" | "attach" | "portforward" | "proxy")
            || (self.subresource == "log" && query.flag("follow"))
    }

    /// Whether the request changes something.
    pub(crate) fn is_mutating(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch" | "head" | "options")
    }
}

fn decode(part: &str) -> String {
    percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: Method, url: &str) -> String {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let info = RequestInfo::parse(&method, path, &Query::parse(query));
        let RequestInfo { verb, group, version, namespace, resource, subresource, name, rest, .. } = info;
        format!("{verb} {group}/{version} {namespace}/{resource}/{name}/{subresource}/{rest}")
    }

    #[test]
    fn requests_are_read_as_upstream_reads_them() {
        let cases = [
            (Method::GET, "/api/v1/pods", "list /v1 /pods///"),
            (Method::GET, "/api/v1/namespaces/a/pods?watch=true", "watch /v1 a/pods///"),
            (Method::GET, "/api/v1/namespaces/a/pods/b/log", "get /v1 a/pods/b/log/"),
            (Method::GET, "/api/v1/namespaces/a", "get /v1 a/namespaces/a//"),
            (Method::PUT, "/api/v1/namespaces/a/finalize", "update /v1 a/namespaces/a/finalize/"),
            (Method::DELETE, "/apis/apps/v1/namespaces/a/deployments", "deletecollection apps/v1 a/deployments///"),
            (Method::PATCH, "/apis/apps/v1/namespaces/a/deployments/d/scale", "patch apps/v1 a/deployments/d/scale/"),
            (Method::GET, "/api/v1/nodes/n/proxy/a/b", "get /v1 /nodes/n/proxy/a/b"),
            (Method::GET, "/api/v1/watch/namespaces/a/pods", "watch /v1 a/pods///"),
            (Method::GET, "/api/v1/namespaces?watch=0", "list /v1 /namespaces///"),
        ];
        for (method, url, expected) in cases {
            assert_eq!(parse(method, url), expected, "{url}");
        }
        assert!(!RequestInfo::parse(&Method::GET, "/api/v1", &Query::default()).is_resource);
        assert!(!RequestInfo::parse(&Method::GET, "/apis/apps/v1", &Query::default()).is_resource);
        assert!(!RequestInfo::parse(&Method::GET, "/healthz", &Query::default()).is_resource);
    }
}
