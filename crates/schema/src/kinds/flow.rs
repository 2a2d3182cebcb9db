//! Flow control: who waits where, and how long.

use tricorn_meta::names;

use super::check::{At, Errors};

const PRECEDENCE_MAX: i64 = 10_000;
const VERBS: [&str; 9] = ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

/// The rules for a flow schema.
pub(super) fn schema(at: &At<'_>, errors: &mut Errors) {
    let spec = at.get("spec");
    let (precedence, level) = (spec.get("matchingPrecedence"), spec.at("priorityLevelConfiguration.name"));
    match precedence.int().unwrap_or(0) {
        n if n <= 0 => precedence.invalid_as(n, "must be a positive value", errors),
        n if n > PRECEDENCE_MAX => precedence.invalid(format!("must not be greater than {PRECEDENCE_MAX}"), errors),
        1 if at.at("metadata.name").text() != "exempt" => {
            precedence.invalid("only the schema named 'exempt' may have matchingPrecedence 1", errors);
        }
        _ => {}
    }
    if spec.get("distinguisherMethod").is_set() {
        let kind = spec.at("distinguisherMethod.type");
        if !["ByNamespace", "ByUser"].contains(&kind.text()) {
            kind.unsupported(&["ByNamespace", "ByUser"], errors);
        }
    }
    if level.is_empty() {
        level.required("must reference a priority level", errors);
    } else {
        level.named(names::dns1123_subdomain, errors);
    }
    for rule in spec.get("rules").items() {
        let (subjects, resources, others) = (rule.get("subjects"), rule.get("resourceRules"), rule.get("nonResourceRules"));
        if subjects.is_empty() {
            subjects.required("subjects must contain at least one value", errors);
        }
        subjects.items().for_each(|s| subject(&s, errors));
        if resources.is_empty() && others.is_empty() {
            rule.required("at least one of resourceRules and nonResourceRules has to be non-empty", errors);
        }
        resources.items().for_each(|r| resource_rule(&r, errors));
        others.items().for_each(|r| other_rule(&r, errors));
    }
}

fn subject(at: &At<'_>, errors: &mut Errors) {
    const FIELDS: [(&str, &str); 3] = [("User", "user"), ("Group", "group"), ("ServiceAccount", "serviceAccount")];
    let kind = at.get("kind").text();
    let Some((_, field)) = FIELDS.iter().find(|(name, _)| *name == kind) else {
        return at.get("kind").unsupported(&["Group", "ServiceAccount", "User"], errors);
    };
    let inner = at.get(field);
    if !inner.is_set() {
        inner.required(&format!("{field} is required when subject kind is '{kind}'"), errors);
    } else {
        let (name, namespace) = (inner.get("name"), inner.get("namespace"));
        name.need(errors);
        if kind == "ServiceAccount" {
            if name.text() != "*" {
                name.maybe_named(names::dns1123_subdomain, errors);
            }
            if namespace.is_empty() {
                namespace.required("must specify namespace for service account", errors);
            } else {
                namespace.named(names::dns1123_label, errors);
            }
        }
    }
    for (name, other) in FIELDS.iter().filter(|(name, other)| *name != kind && at.get(other).is_set()) {
        at.get(other).forbidden(&format!("{other} is forbidden when subject kind is not '{name}'"), errors);
    }
}

/// A list that is not empty, and in which everything stands alone.
fn starred(list: &At<'_>, missing: &str, others: &str, errors: &mut Errors) -> bool {
    let star = list.items().any(|item| item.text() == "*");
    if list.is_empty() {
        list.required(missing, errors);
    } else if star && list.len() > 1 {
        list.invalid(format!("if '*' is present, must not specify other {others}"), errors);
    }
    star
}

fn verbs(list: &At<'_>, errors: &mut Errors) {
    if !starred(list, "verbs must contain at least one value", "verbs", errors) && list.items().any(|v| !VERBS.contains(&v.text())) {
        list.unsupported(&VERBS, errors);
    }
}

fn resource_rule(rule: &At<'_>, errors: &mut Errors) {
    verbs(&rule.get("verbs"), errors);
    starred(&rule.get("apiGroups"), "resource rules must supply at least one api group", "api groups", errors);
    starred(&rule.get("resources"), "resource rules must supply at least one resource", "resources", errors);
    let spaces = rule.get("namespaces");
    if spaces.is_empty() && rule.get("clusterScope").flag() {
        return;
    }
    let words = "resource rules that are not cluster scoped must supply at least one namespace";
    if !starred(&spaces, words, "namespaces", errors) {
        for space in spaces.items() {
            for wrong in names::dns1123_label(space.text()) {
                space.invalid(format!("each member of this list must be '*' or a DNS-1123 label; {wrong}"), errors);
            }
        }
    }
}

fn other_rule(rule: &At<'_>, errors: &mut Errors) {
    verbs(&rule.get("verbs"), errors);
    let urls = rule.get("nonResourceURLs");
    if starred(&urls, "nonResourceURLs must contain at least one value", "non-resource URLs", errors) {
        return;
    }
    for url in urls.items() {
        let text = url.text();
        let stars = text.matches('*').count();
        match text {
            "" => url.invalid("must not be empty", errors),
            "/" => {}
            _ if !text.starts_with('/') => url.invalid("must start with slash", errors),
            _ if text.contains(' ') => url.invalid("must not contain white-space", errors),
            _ if text.contains("//") => url.invalid("must not contain double slash", errors),
            _ if stars > 1 || (stars == 1 && !text.ends_with("/*")) => url.invalid("wildcard can only do suffix matching", errors),
            _ => {}
        }
    }
}

/// The rules for a priority level.
pub(super) fn level(at: &At<'_>, errors: &mut Errors) {
    let spec = at.get("spec");
    let (kind, limited, exempt) = (spec.get("type"), spec.get("limited"), spec.get("exempt"));
    if (at.at("metadata.name").text() == "exempt") != (kind.text() == "Exempt") {
        kind.invalid_as(kind.text(), "type must be 'Exempt' if and only if name is 'exempt'", errors);
    }
    match kind.text() {
        "Exempt" if limited.is_set() => limited.forbidden("must be nil if the type is not Limited", errors),
        "Exempt" => shares(&exempt, errors),
        "Limited" if exempt.is_set() => exempt.forbidden("must be nil if the type is Limited", errors),
        "Limited" if !limited.is_set() => limited.required("must not be empty when type is Limited", errors),
        "Limited" => {
            shares(&limited, errors);
            let lent = limited.get("borrowingLimitPercent");
            if lent.int().is_some_and(|n| n < 0) {
                lent.invalid("if specified, must be a non-negative integer", errors);
            }
            response(&limited.get("limitResponse"), errors);
        }
        _ => kind.unsupported(&["Exempt", "Limited"], errors),
    }
}

fn shares(at: &At<'_>, errors: &mut Errors) {
    let (shares, lendable) = (at.get("nominalConcurrencyShares"), at.get("lendablePercent"));
    if shares.int().is_some_and(|n| n < 0) {
        shares.invalid("must be a non-negative integer", errors);
    }
    lendable.within(0, 100, errors);
}

const QUEUES_MAX: i64 = 10_000_000;
const ENTROPY_MAX_BITS: f64 = 60.0;

fn response(at: &At<'_>, errors: &mut Errors) {
    let queuing = at.get("queuing");
    match at.get("type").text() {
        "Reject" if queuing.is_set() => queuing.forbidden("must be nil if limited.limitResponse.type is not Limited", errors),
        "Reject" => {}
        "Queue" if !queuing.is_set() => queuing.required("must not be empty if limited.limitResponse.type is Limited", errors),
        "Queue" => {
            let [queues, hand, length] = ["queues", "handSize", "queueLengthLimit"].map(|key| queuing.get(key));
            for number in [&queues, &hand, &length].into_iter().filter(|n| n.int().is_some_and(|n| n <= 0)) {
                number.invalid("must be positive", errors);
            }
            let (Some(deck), Some(cards)) = (queues.int().filter(|n| *n > 0), hand.int().filter(|n| *n > 0)) else { return };
            let bits = ((deck as f64).log2() * cards as f64).ceil();
            if deck > QUEUES_MAX {
                queues.invalid(format!("must not be greater than {QUEUES_MAX}"), errors);
            }
            if cards > deck {
                hand.invalid(format!("should not be greater than queues ({deck})"), errors);
            } else if bits > ENTROPY_MAX_BITS {
                let words =
                    format!("required entropy bits of deckSize {deck} and handSize {cards} should not be greater than {ENTROPY_MAX_BITS}");
                hand.invalid(words, errors);
            }
        }
        _ => at.get("type").unsupported(&["Queue", "Reject"], errors),
    }
}
