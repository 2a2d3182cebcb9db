//! Field selectors: which fields of a kind can be selected by, and what they hold.

use serde_json::Value;
use tricorn_meta::json::{flag, get, list, text};

const META: [&str; 2] = ["metadata.name", "metadata.namespace"];

/// The fields a kind can be selected by.
pub fn supported(group: &str, kind: &str) -> &'static [&'static str] {
    match (group, kind) {
        ("", "Pod") => &[
            "metadata.name",
            "metadata.namespace",
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        ("", "Node") => &["metadata.name", "metadata.namespace", "spec.unschedulable"],
        ("", "Namespace") => &["metadata.name", "metadata.namespace", "status.phase", "name"],
        ("", "Secret") => &["metadata.name", "metadata.namespace", "type"],
        ("", "Service") => &["metadata.name", "metadata.namespace", "spec.clusterIP", "spec.type"],
        ("", "ReplicationController") | ("apps", "ReplicaSet") => &["metadata.name", "metadata.namespace", "status.replicas"],
        ("batch", "Job") => &["metadata.name", "metadata.namespace", "status.successful"],
        ("", "PersistentVolume" | "PersistentVolumeClaim") => &["metadata.name", "metadata.namespace", "name"],
        ("certificates.k8s.io", "CertificateSigningRequest") => &["metadata.name", "metadata.namespace", "spec.signerName"],
        ("networking.k8s.io", "IPAddress") => &["metadata.name", "metadata.namespace"],
        ("resource.k8s.io", "ResourceSlice") => &["metadata.name", "metadata.namespace", "spec.nodeName", "spec.driver"],
        ("events.k8s.io", "Event") => &[
            "metadata.name",
            "metadata.namespace",
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingController",
            "type",
        ],
        ("", "Event") => &[
            "metadata.name",
            "metadata.namespace",
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        _ => &META,
    }
}

/// What a field holds as field selectors compare it: empty where it is not set. `None` when the kind cannot be selected by it.
pub fn value(group: &str, kind: &str, object: &Value, path: &str) -> Option<String> {
    if !supported(group, kind).contains(&path) {
        return None;
    }
    Some(match (kind, path) {
        ("Node", "spec.unschedulable") | ("Pod", "spec.hostNetwork") => flag(object, path).to_string(),
        ("Pod", "status.podIPs") => {
            let ips: Vec<&str> = list(object, path).iter().map(|ip| text(ip, "ip")).collect();
            ips.join(",")
        }
        ("ReplicationController" | "ReplicaSet", "status.replicas") => number(object, path),
        ("Job", "status.successful") => number(object, "status.succeeded"),
        ("Event", "source") => {
            let component = text(object, "source.component");
            let component = if component.is_empty() { text(object, "deprecatedSource.component") } else { component };
            if component.is_empty() { text(object, "reportingComponent").to_owned() } else { component.to_owned() }
        }
        (_, "name") => text(object, "metadata.name").to_owned(),
        _ => match get(object, path) {
            Some(Value::String(s)) => s.clone(),
            None | Some(Value::Null) => String::new(),
            Some(other) => other.to_string(),
        },
    })
}

fn number(object: &Value, path: &str) -> String {
    get(object, path).and_then(Value::as_i64).unwrap_or(0).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_are_compared_as_text() {
        let pod = json!({"metadata": {"name": "a"}, "status": {"podIPs": [{"ip": "1.2.3.4"}, {"ip": "::1"}]}});
        assert_eq!(value("", "Pod", &pod, "spec.nodeName").as_deref(), Some(""));
        assert_eq!(value("", "Pod", &pod, "status.podIPs").as_deref(), Some("1.2.3.4,::1"));
        assert_eq!(value("", "Node", &json!({}), "spec.unschedulable").as_deref(), Some("false"));
        assert_eq!(value("batch", "Job", &json!({"status": {"succeeded": 2}}), "status.successful").as_deref(), Some("2"));
        assert_eq!(value("", "Pod", &pod, "spec.color"), None);
    }
}
