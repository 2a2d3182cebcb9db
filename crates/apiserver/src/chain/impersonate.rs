//! Acting as somebody else, where one may.

use crate::context::Context;
use crate::server::Server;
use http::HeaderMap;
use std::collections::BTreeMap;
use std::sync::Arc;
use tricorn_authz::Attributes;
use tricorn_meta::{Status, UserInfo};

const EXTRA_PREFIX: &str = "impersonate-extra-";

/// The user that the request wants to be, if the one it comes from may be that user; `None`: it wants to be nobody else.
pub(crate) fn impersonated(server: &Server, context: &Context) -> Result<Option<Arc<UserInfo>>, Status> {
    let Some(wanted) = wanted(&context.headers)? else { return Ok(None) };
    let authorizer = server.authorizer.read();
    let allowed = |group: &str, resource: &str, namespace: &str, subresource: &str, name: &str| {
        let attributes = Attributes { namespace, subresource, name, ..Attributes::resource(&context.user, "impersonate", group, resource) };
        let decision = authorizer.authorize(&attributes);
        if decision.allowed() { Ok(()) } else { Err(attributes.forbidden(decision.reason())) }
    };
    match service_account(&wanted.name) {
        Some((namespace, name)) => allowed("", "serviceaccounts", namespace, "", name)?,
        None => allowed("", "users", "", "", &wanted.name)?,
    }
    for group in &wanted.groups {
        allowed("", "groups", "", "", group)?;
    }
    if !wanted.uid.is_empty() {
        allowed("authentication.k8s.io", "uids", "", "", &wanted.uid)?;
    }
    for (key, values) in &wanted.extra {
        for value in values {
            allowed("authentication.k8s.io", "userextras", "", key, value)?;
        }
    }
    Ok(Some(Arc::new(completed(wanted))))
}

fn service_account(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("system:serviceaccount:")?.split_once(':')
}

fn wanted(headers: &HeaderMap) -> Result<Option<UserInfo>, Status> {
    let one = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let groups: Vec<String> =
        headers.get_all("impersonate-group").iter().filter_map(|value| value.to_str().ok().map(str::to_owned)).collect();
    let mut extra = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in headers {
        if let (Some(key), Ok(value)) = (name.as_str().strip_prefix(EXTRA_PREFIX), value.to_str()) {
            let key = percent_encoding::percent_decode_str(key).decode_utf8_lossy().into_owned();
            extra.entry(key).or_default().push(value.to_owned());
        }
    }
    let (name, uid) = (one("impersonate-user"), one("impersonate-uid"));
    if name.is_empty() {
        if groups.is_empty() && extra.is_empty() && uid.is_empty() {
            return Ok(None);
        }
        return Err(Status::bad_request("requested impersonation of groups, uid or extra without impersonating a user"));
    }
    Ok(Some(UserInfo { name, uid, groups, extra }))
}

/// Adds the groups that a real login would have brought.
fn completed(mut user: UserInfo) -> UserInfo {
    if user.groups.is_empty()
        && let Some((namespace, name)) = service_account(&user.name)
    {
        user.groups = UserInfo::service_account(namespace, name).groups;
    }
    let group = if user.name == "system:anonymous" { "system:unauthenticated" } else { "system:authenticated" };
    if !user.in_group(group) {
        user.groups.push(group.to_owned());
    }
    user
}
