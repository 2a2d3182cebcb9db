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
    let excluded = context.query.all("exclude");
    let mut report = String::new();
    let mut fine = true;
    for (name, passes) in checks {
        if only.is_some_and(|only| only != name) || excluded.iter().any(|excluded| excluded == name) {
            continue;
        }
        fine &= passes;
        report += &if passes { format!("[+]{name} ok\n") } else { format!("[-]{name} failed: reason withheld\n") };
    }
    if only.is_some() && report.is_empty() {
        return Err(Status::path_not_found());
    }
    Ok(if !fine {
        respond::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{report}{endpoint} check failed\n"))
    } else if context.query.get("verbose").is_some() || context.query.flag("verbose") {
        respond::text(StatusCode::OK, format!("{report}{endpoint} check passed\n"))
    } else {
        respond::text(StatusCode::OK, "ok")
    })
}
