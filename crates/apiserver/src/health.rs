//! `/healthz`, `/livez`, `/readyz`: one line a check.

use crate::Answer;
use crate::context::Context;
use crate::respond;
use crate::server::Server;
use http::StatusCode;
use tricorn_meta::Status;

/// One check and what it says.
type Check = (&'static str, bool);

fn live_checks() -> Vec<Check> {
    vec![("ping", true), ("log", true)]
}

fn ready_checks(server: &Server) -> Vec<Check> {
    let has_leader = server.registry.store().leadership().borrow().leader.is_some();
    vec![
        ("ping", true),
        ("etcd", has_leader),
        ("etcd-readiness", has_leader),
        ("informer-sync", server.authorizer_ready.is_ready()),
        ("shutdown", !server.is_draining()),
    ]
}

/// Whether every check of `/readyz` passes.
pub(crate) fn is_ready(server: &Server) -> bool {
    ready_checks(server).iter().all(|(_, fine)| *fine)
}

/// Whether the path is one of these.
pub(crate) fn is_health_path(path: &str) -> bool {
    ["healthz", "livez", "readyz"].iter().any(|name| path.trim_start_matches('/').split('/').next() == Some(name))
}

pub(crate) fn serve(server: &Server, context: &Context) -> Answer {
    let mut parts = context.info.path.trim_matches('/').splitn(2, '/');
    let endpoint = parts.next().unwrap_or_default();
    let only = parts.next();
    let checks = if endpoint == "livez" { live_checks() } else { ready_checks(server) };
    if let Some(only) = only {
        return one(only, &checks);
    }
    let excluded: Vec<String> = context.query.all("exclude").into_iter().filter(|name| !name.is_empty()).collect();
    let (fine, report) = report(endpoint, &checks, &excluded);
    let verbose = !context.query.all("verbose").is_empty();
    let code = if fine { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    Ok(respond::text(code, if fine && !verbose { "ok".to_owned() } else { report }))
}

/// A check by its own path.
fn one(name: &str, checks: &[Check]) -> Answer {
    match checks.iter().find(|(known, _)| *known == name) {
        None => Err(Status::path_not_found()),
        Some((_, true)) => Ok(respond::text(StatusCode::OK, "ok")),
        Some((_, false)) => Ok(respond::text(StatusCode::INTERNAL_SERVER_ERROR, "internal server error: reason withheld\n".to_owned())),
    }
}

/// Whether all that are not excluded pass, and a line for each.
fn report(endpoint: &str, checks: &[Check], excluded: &[String]) -> (bool, String) {
    let (mut report, mut fine) = (String::new(), true);
    for (name, passes) in checks {
        if excluded.iter().any(|excluded| excluded == name) {
            report += &format!("[+]{name} excluded: ok\n");
            continue;
        }
        fine &= passes;
        report += &if *passes { format!("[+]{name} ok\n") } else { format!("[-]{name} failed: reason withheld\n") };
    }
    let unknown: Vec<String> =
        excluded.iter().filter(|name| !checks.iter().any(|(known, _)| known == name)).map(|name| format!("{name:?}")).collect();
    if !unknown.is_empty() {
        report += &format!("warn: some health checks cannot be excluded: no matches for {}\n", unknown.join(", "));
    }
    report += &format!("{endpoint} check {}\n", if fine { "passed" } else { "failed" });
    (fine, report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_has_its_line() {
        let checks = [("ping", true), ("etcd", false)];
        for (excluded, expected) in [
            (vec![], (false, "[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed\n")),
            (vec!["etcd"], (true, "[+]ping ok\n[+]etcd excluded: ok\nreadyz check passed\n")),
            (
                vec!["etcd", "a"],
                (
                    true,
                    "[+]ping ok\n[+]etcd excluded: ok\nwarn: some health checks cannot be excluded: no matches for \"a\"\nreadyz check passed\n",
                ),
            ),
        ] {
            let excluded: Vec<String> = excluded.into_iter().map(str::to_owned).collect();
            let (fine, text) = report("readyz", &checks, &excluded);
            assert_eq!((fine, text.as_str()), expected);
        }
    }
}
